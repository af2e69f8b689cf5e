//! History of one drive, bounded: changes of its counters, not their values day by day.

use serde::{Deserialize, Serialize};

use super::signals::N_SIGNALS;

/// Most changes kept of a counter; when there are more, the oldest go.
const MAX_STEPS: usize = 16;

/// History of a counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Track {
    /// Value when the drive was first seen.
    pub(super) first: f64,
    /// Changes, oldest first: the day, and the value from then on.
    steps: Vec<(i64, f64)>,
}

impl Track {
    pub(super) fn new(day: i64, value: f64) -> Self {
        Self { first: value, steps: vec![(day, value)] }
    }

    /// Returns the newest value.
    pub(super) fn value(&self) -> f64 {
        self.steps.last().map_or(self.first, |(_, value)| *value)
    }

    /// Returns the value on a day, or the oldest known one.
    pub(super) fn on(&self, day: i64) -> f64 {
        let newest = self.steps.iter().rev().find(|(since, _)| *since <= day);
        newest.or(self.steps.first()).map_or(self.first, |(_, value)| *value)
    }

    /// Returns the day of the first rise after a day.
    pub(super) fn first_rise_after(&self, day: i64) -> Option<i64> {
        let pairs = self.steps.windows(2);
        pairs.filter(|pair| pair[1].0 > day && pair[1].1 > pair[0].1).map(|pair| pair[1].0).next()
    }

    pub(super) fn push(&mut self, day: i64, value: f64) {
        if self.value() == value {
            return;
        }
        let is_first = self.steps.len() == 1;
        match self.steps.last_mut() {
            // Of several values of a day the newest counts, except on the first day: its value is the one to compare with.
            Some(last) if last.0 == day && !is_first => last.1 = value,
            Some(_) | None => self.steps.push((day, value)),
        }
        if self.steps.len() > MAX_STEPS {
            self.steps.remove(0);
        }
    }
}

/// History of a drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DriveHistory {
    /// Index of its model.
    pub(super) model: usize,
    /// Serial number, if it is known beside the name.
    pub(super) serial: Option<String>,
    pub(super) first_day: i64,
    pub(super) last_day: i64,
    /// `true` until its first day is counted.
    pub(super) is_new: bool,
    /// Power-on hours, the last known.
    pub(super) hours: Option<f64>,
    /// Day on which another drive took its name.
    pub(super) replaced_on: Option<i64>,
    pub(super) tracks: [Option<Track>; N_SIGNALS],
    /// Values with which it is counted in the shares of its model.
    pub(super) counted: [Option<f64>; N_SIGNALS],
}
