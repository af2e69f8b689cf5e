//! Weights: what each piece of evidence adds to the risk of a drive.

use super::history::{DriveHistory, Track};
use super::models::{Models, Rarity};
use super::signals::{Cause, N_SIGNALS, Observed, SIGNALS};

/// Risk in nats from which on a drive needs attention.
pub(super) const WARNING_RISK: f64 = 4.0;
/// Risk in nats from which on a person is called.
pub(super) const CRITICAL_RISK: f64 = 14.0;
/// Days over which a rise counts: a drive seldom lasts longer once its counters move.
pub(super) const RISE_DAYS: i64 = 14;
/// Nats for each factor e of a rise; what rose is rare as well, and counted as such.
const RISE_WEIGHT: f64 = 0.5;
/// Weight of a rise that points to the surroundings of the drive.
const SURROUNDINGS_WEIGHT: f64 = 0.2;
/// Nats for each degree above the usual temperature of the model.
const NATS_PER_DEGREE: f64 = 0.05;
/// Largest contribution of heat: it makes a failure likelier and is none.
const MAX_HEAT: f64 = 1.5;

/// Evidence of one signal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// Index of the signal.
    pub(super) signal: usize,
    pub(super) metric: &'static str,
    pub(super) value: f64,
    pub(super) rarity: Rarity,
    /// Rise in [`RISE_DAYS`].
    pub(super) rise: f64,
    /// Nats.
    pub(super) points: f64,
}

/// All evidence on a drive.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) signals: Vec<Term>,
    /// Signals that are not understood, with the reason.
    pub(super) unclear: Vec<(usize, String)>,
    /// `true` if at least one signal of this row was understood.
    pub(super) is_understood: bool,
    /// Failure rate of the model over the fleet's.
    pub(super) relative_rate: f64,
    pub(super) temperature: Option<f64>,
    /// Nats for the temperature.
    pub(super) heat: f64,
}

impl Terms {
    /// Weighs the history of a drive, whose newest values are in it already. A signal that is absent or not understood
    /// keeps its last known value: silence does not heal.
    pub(super) fn weigh(
        drive: &DriveHistory,
        models: &Models,
        observed: &[Observed; N_SIGNALS],
        temperature: Option<f64>,
        day: i64,
    ) -> Self {
        let mut terms = Self {
            signals: Vec::new(),
            unclear: Vec::new(),
            is_understood: observed.iter().any(|observed| matches!(observed, Observed::Value(..))),
            relative_rate: models.relative_failure_rate(drive.model),
            temperature,
            heat: temperature.map_or(0.0, |celsius| heat(celsius - models.usual_celsius(drive.model))),
        };
        for (index, observed) in observed.iter().enumerate() {
            if let Observed::Unclear(reason) = observed {
                terms.unclear.push((index, reason.clone()));
            }
            if let Some(track) = drive.tracks[index].as_ref().filter(|track| track.value() > 0.0) {
                let metric = match observed {
                    Observed::Value(_, metric) => metric,
                    Observed::Absent | Observed::Unclear(_) => SIGNALS[index].metrics[0],
                };
                let rarity = models.rarity(drive.model, index, track.value(), drive.counted[index]);
                terms.signals.push(term(index, metric, track, rarity, day));
            }
        }
        terms
    }

    /// Returns the sum of the evidence in nats; below 0 for a model that fails less than the fleet. Nothing outweighs the
    /// drive's own verdict.
    pub(super) fn risk(&self) -> f64 {
        let (mut sum, mut unreadable, mut own) = (0.0, 0.0_f64, f64::NEG_INFINITY);
        for term in &self.signals {
            match SIGNALS[term.signal].cause {
                Cause::Drive | Cause::Surroundings => sum += term.points,
                Cause::UnreadableSectors => unreadable = unreadable.max(term.points),
                Cause::OwnVerdict { .. } => {
                    sum += term.points;
                    own = own.max(term.points);
                }
            }
        }
        (sum + unreadable + self.heat + self.relative_rate.ln()).max(own)
    }
}

fn term(signal: usize, metric: &'static str, track: &Track, rarity: Rarity, day: i64) -> Term {
    let value = track.value();
    let rise = (value - track.on(day - RISE_DAYS)).max(0.0);
    let risen = RISE_WEIGHT * rise.ln_1p();
    let points = match SIGNALS[signal].cause {
        Cause::Drive | Cause::UnreadableSectors => -rarity.share.ln() + risen,
        Cause::Surroundings => SURROUNDINGS_WEIGHT * risen,
        Cause::OwnVerdict { is_failing: true } => CRITICAL_RISK,
        Cause::OwnVerdict { is_failing: false } => WARNING_RISK,
    };
    Term { signal, metric, value, rarity, rise, points }
}

fn heat(excess_degrees: f64) -> f64 {
    (excess_degrees * NATS_PER_DEGREE).clamp(0.0, MAX_HEAT)
}
