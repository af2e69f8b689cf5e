//! Judgement of drives over their history, online: each row is judged by itself and by the rows before it.
//!
//! The evidence is added up in nats (natural logarithms of odds): how rare a counter's value is among the drives of the
//! same model, how much it rose lately, and how often the model fails. State per drive and per model is bounded. Values
//! that are missing or not understood are no evidence of health.

mod history;
mod models;
mod reasons;
mod risk;
mod shares;
mod signals;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::advice::Finding;
use crate::health::Health;
use crate::timestamp::Timestamp;

use history::{DriveHistory, Track};
use models::Models;
use risk::Terms;
use signals::{N_SIGNALS, Observed, SIGNALS};

/// Days after which a drive that no longer reports is forgotten.
const MAX_ABSENCE_DAYS: i64 = 90;
/// Most drives; those beyond are not judged.
const MAX_DRIVES: usize = 1_000_000;
/// Power-on hours by which a counter must fall to be that of another drive.
const OTHER_DRIVE_HOURS: f64 = 100.0;

/// Values of a drive at one time.
#[derive(Clone, Copy, Debug)]
pub struct DriveRow<'a> {
    /// Name under which its history is kept.
    pub device: &'a str,
    /// Model; empty if unknown.
    pub model: &'a str,
    /// Serial number, if known: another one under the same name is another drive.
    pub serial: Option<&'a str>,
    /// Time of measurement.
    pub time: Timestamp,
    /// Metric types and stored values, in any order. Unknown metric types are ignored.
    pub values: &'a [(&'a str, f64)],
}

/// Verdict on a drive.
#[derive(Clone, Debug, PartialEq)]
pub struct DriveVerdict {
    /// Evidence in nats, comparable over drives, models and days: 0 for none, below that for a model that fails seldom.
    pub risk: f64,
    /// From 100 for no evidence down to 0; `None` if nothing was understood.
    pub score: Option<u8>,
    /// Health.
    pub health: Health,
    /// Most important first.
    pub reasons: Vec<DriveReason>,
    /// Advice for the first reason that needs one, as an imperative sentence.
    pub advice: Option<&'static str>,
}

/// Reason of a verdict, with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct DriveReason {
    /// Finding.
    pub finding: Finding,
    /// Metric type; empty if the finding rests on none.
    pub metric: &'static str,
    /// Decoded value.
    pub value: Option<f64>,
    /// Part of the risk, in nats.
    pub points: f64,
    /// Expected value, as text: "0 on 94.1 % of 2,013 drives of this model".
    pub expected: String,
    /// Change, as text: "rose by 3 in 24 h"; empty without one.
    pub trend: String,
    /// Day since when, at its start.
    pub since: Option<Timestamp>,
}

/// Drives and models seen so far. Serialised and restored, it continues exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriveFleet {
    drives: BTreeMap<String, DriveHistory>,
    models: Models,
    /// Known drives that failed on the newest day.
    failed: BTreeSet<String>,
    /// Newest day of any row: days since the epoch.
    today: Option<i64>,
}

impl DriveFleet {
    /// Judges a row, then learns from it. Rows should come in order of time; a late row is taken as one of the current
    /// day.
    pub fn judge(&mut self, row: &DriveRow<'_>) -> DriveVerdict {
        let day = self.begin_day(row.time);
        let hours = signals::first_value(&signals::HOURS, row.values);
        let observed: [Observed; N_SIGNALS] = std::array::from_fn(|index| SIGNALS[index].observe(row.values));
        self.enter(row, day, hours);
        let Some(drive) = self.drives.get_mut(row.device) else { return reasons::nothing() };
        if drive.last_day < day || drive.is_new {
            self.models.count_day(drive.model);
            drive.is_new = false;
        }
        let absent_days = (day - drive.last_day - 1).max(0);
        drive.last_day = day;
        drive.hours = hours.or(drive.hours);
        for (signal, observed) in observed.iter().enumerate() {
            let Observed::Value(value, _) = observed else { continue };
            match &mut drive.tracks[signal] {
                Some(track) => track.push(day, *value),
                empty @ None => *empty = Some(Track::new(day, *value)),
            }
        }
        let temperature = signals::first_value(&signals::TEMPERATURES, row.values);
        let terms = Terms::weigh(drive, &self.models, &observed, temperature, day);
        let verdict = reasons::verdict(&terms, drive, absent_days, day);
        learn(&mut self.models, drive);
        if let Some(celsius) = temperature {
            self.models.count_temperature(drive.model, celsius);
        }
        verdict
    }

    /// Records that a drive failed at this time. It becomes known on the next day: until then it counts as one of its
    /// model's drives, and no failure.
    pub fn fail(&mut self, device: &str, time: Timestamp) {
        let day = time.day();
        if self.today.is_some_and(|today| day < today) {
            self.count_failure(device);
        } else if self.drives.contains_key(device) {
            self.failed.insert(device.to_owned());
        }
    }

    /// Records that another drive has taken the place of one: the history ends, and a failure of it counts at once.
    pub fn replace(&mut self, device: &str) {
        if self.failed.remove(device) {
            self.count_failure(device);
        } else if let Some(drive) = self.drives.remove(device) {
            forget(&mut self.models, &drive);
        }
    }

    fn count_failure(&mut self, device: &str) {
        if let Some(drive) = self.drives.remove(device) {
            self.models.count_failure(drive.model);
            forget(&mut self.models, &drive);
        }
    }

    /// Returns the day of a row, not before the newest one; forgets drives that are long gone when a day begins.
    fn begin_day(&mut self, time: Timestamp) -> i64 {
        let day = time.day();
        match self.today {
            Some(today) if day <= today => return today,
            Some(_) | None => {}
        }
        self.today = Some(day);
        self.models.begin_day();
        for device in std::mem::take(&mut self.failed) {
            self.count_failure(&device);
        }
        let models = &mut self.models;
        self.drives.retain(|_, drive| {
            let is_kept = drive.last_day >= day - MAX_ABSENCE_DAYS;
            if !is_kept {
                forget(models, drive);
            }
            is_kept
        });
        day
    }

    /// Enters a drive that is new, or another one under a known name.
    fn enter(&mut self, row: &DriveRow<'_>, day: i64, hours: Option<f64>) {
        let mut replaced_on = None;
        let is_full = self.drives.len() >= MAX_DRIVES;
        if let Some(known) = self.drives.get(row.device) {
            let is_other_serial = matches!((&known.serial, row.serial), (Some(old), Some(new)) if old != new);
            let is_younger = matches!((known.hours, hours), (Some(old), Some(new)) if new < old - OTHER_DRIVE_HOURS);
            if !is_other_serial && !is_younger {
                return;
            }
            forget(&mut self.models, known);
            replaced_on = Some(day);
        } else if is_full {
            return;
        }
        let drive = DriveHistory {
            model: self.models.index(row.model),
            serial: row.serial.map(str::to_owned),
            first_day: day,
            last_day: day,
            hours,
            is_new: true,
            replaced_on,
            tracks: Default::default(),
            counted: [None; N_SIGNALS],
        };
        self.drives.insert(row.device.to_owned(), drive);
    }
}

/// Returns `true` if [`DriveFleet::judge`] reads a metric.
pub fn is_read(metric_type: &str) -> bool {
    let is_signal = SIGNALS.iter().any(|signal| signal.metrics.contains(&metric_type));
    is_signal || is_temperature(metric_type) || is_clock(metric_type)
}

/// Returns `true` for a temperature that [`DriveFleet::judge`] reads.
pub fn is_temperature(metric_type: &str) -> bool {
    signals::TEMPERATURES.contains(&metric_type)
}

/// Returns `true` for a time in operation that [`DriveFleet::judge`] reads.
pub fn is_clock(metric_type: &str) -> bool {
    signals::HOURS.contains(&metric_type)
}

/// Counts the newest values of a drive in the shares of its model.
fn learn(models: &mut Models, drive: &mut DriveHistory) {
    for (signal, track) in drive.tracks.iter().enumerate() {
        let newest = track.as_ref().map(Track::value);
        if drive.counted[signal] != newest {
            models.count_value(drive.model, signal, drive.counted[signal], newest);
            drive.counted[signal] = newest;
        }
    }
}

/// Takes a drive out of the shares of its model.
fn forget(models: &mut Models, drive: &DriveHistory) {
    for (signal, counted) in drive.counted.iter().enumerate() {
        models.count_value(drive.model, signal, *counted, None);
    }
}
