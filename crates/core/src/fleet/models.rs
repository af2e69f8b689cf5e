//! Knowledge of models, learnt from the drives seen so far: the usual values of each counter, and the failure rate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::shares::Shares;
use super::signals::{N_SIGNALS, SIGNALS};

/// Most models; further ones share the last place.
const MAX_MODELS: usize = 4_096;
/// Weight of the fleet in the shares of a model, in drives.
const FLEET_DRIVES: f64 = 10.0;
/// Weight of [`super::signals::Signal::usual_share`] in the shares of a model and of the fleet, in drives: the first rows
/// of a file may all be of failing drives.
const USUAL_DRIVES: f64 = 100.0;
/// Failures at the fleet's rate that each model is assumed to have had.
const PRIOR_FAILURES: f64 = 2.0;

/// Rows over which the usual temperature of a model is averaged; the seasons move it.
const TEMPERATURES: f64 = 10_000.0;
/// Usual temperature before a model has shown its own, in °C, and its weight in rows.
const PRIOR_CELSIUS: f64 = 30.0;
const PRIOR_TEMPERATURES: f64 = 100.0;

/// Drives of one model, or all drives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Group {
    shares: [Shares; N_SIGNALS],
    /// Mean temperature of the last [`TEMPERATURES`] rows, and the number of rows in it.
    celsius: f64,
    n_temperatures: f64,
    n_failures: f64,
    n_drive_days: f64,
    /// Drives of the current day, which count from the next one on.
    n_drives_today: f64,
}

/// All models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Models {
    by_name: BTreeMap<String, usize>,
    models: Vec<Group>,
    fleet: Group,
}

/// Share of drives with at least some value of a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rarity {
    /// Share, estimated from model, fleet and prior.
    pub(super) share: f64,
    /// Other drives of the model with as much.
    pub(super) n_as_much: f64,
    /// Other drives of the model that report it.
    pub(super) n_drives: f64,
}

impl Models {
    /// Returns the index of a model.
    pub(super) fn index(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        if self.models.len() < MAX_MODELS {
            self.models.push(Group::default());
            self.by_name.insert(name.to_owned(), self.models.len() - 1);
        }
        self.models.len() - 1
    }

    /// Begins a day: the drive days of the one before count from now on.
    pub(super) fn begin_day(&mut self) {
        for group in self.models.iter_mut().chain([&mut self.fleet]) {
            group.n_drive_days += std::mem::take(&mut group.n_drives_today);
        }
    }

    /// Counts a day of a drive.
    pub(super) fn count_day(&mut self, model: usize) {
        self.models[model].n_drives_today += 1.0;
        self.fleet.n_drives_today += 1.0;
    }

    /// Counts a failure.
    pub(super) fn count_failure(&mut self, model: usize) {
        self.models[model].n_failures += 1.0;
        self.fleet.n_failures += 1.0;
    }

    /// Counts a temperature.
    pub(super) fn count_temperature(&mut self, model: usize, celsius: f64) {
        let model = &mut self.models[model];
        model.n_temperatures = (model.n_temperatures + 1.0).min(TEMPERATURES);
        model.celsius += (celsius - model.celsius) / model.n_temperatures;
    }

    /// Returns the usual temperature of a model in °C.
    pub(super) fn usual_celsius(&self, model: usize) -> f64 {
        let model = &self.models[model];
        let sum = model.celsius * model.n_temperatures + PRIOR_CELSIUS * PRIOR_TEMPERATURES;
        sum / (model.n_temperatures + PRIOR_TEMPERATURES)
    }

    /// Replaces the value with which a drive is counted.
    pub(super) fn count_value(&mut self, model: usize, signal: usize, old: Option<f64>, new: Option<f64>) {
        for shares in [&mut self.models[model].shares[signal], &mut self.fleet.shares[signal]] {
            if let Some(old) = old {
                shares.remove(old);
            }
            if let Some(new) = new {
                shares.add(new);
            }
        }
    }

    /// Returns the share of a model's other drives with at least `value`, drawn towards the fleet's and the usual one as
    /// long as few drives are known. `own` is the value with which the drive itself is counted.
    pub(super) fn rarity(&self, model: usize, signal: usize, value: f64, own: Option<f64>) -> Rarity {
        let usual = SIGNALS[signal].usual_share / value.max(1.0);
        let (n_fleet_above, n_fleet) = self.fleet.shares[signal].at_least(value, own);
        let of_fleet = (n_fleet_above + USUAL_DRIVES * usual) / (n_fleet + USUAL_DRIVES);
        let (n_as_much, n_drives) = self.models[model].shares[signal].at_least(value, own);
        let assumed = FLEET_DRIVES * of_fleet + USUAL_DRIVES * usual;
        let share = (n_as_much + assumed) / (n_drives + FLEET_DRIVES + USUAL_DRIVES);
        Rarity { share, n_as_much, n_drives }
    }

    /// Returns the failures of a model over those that it would have at the fleet's rate, drawn towards 1 as long as few
    /// are known.
    pub(super) fn relative_failure_rate(&self, model: usize) -> f64 {
        if self.fleet.n_drive_days == 0.0 {
            return 1.0;
        }
        let model = &self.models[model];
        let fleet_rate = self.fleet.n_failures / self.fleet.n_drive_days;
        (model.n_failures + PRIOR_FAILURES) / (model.n_drive_days * fleet_rate + PRIOR_FAILURES)
    }
}
