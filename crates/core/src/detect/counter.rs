//! Counters: a series that only rises is judged by its rate.

use crate::Timestamp;

use super::state::state;

/// Rows that decide about a series.
const TRIAL_ROWS: u32 = 64;
/// Rises among them that make it a counter if it never fell.
const MIN_RISES: u32 = 48;
/// Falls to more than half of a value that show that it is not one.
const MAX_FALLS: u32 = 3;
const PLAIN: u8 = 0;
const COUNTER: u8 = 1;
const NEVER: u8 = 2;

/// Knowledge of a series as a counter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counter {
    mode: u8,
    rows: u32,
    rises: u32,
    falls: u32,
    last: f64,
    last_ns: i64,
    /// Seconds from the value before to the newest.
    seconds: f64,
    /// The value before the newest.
    base: f64,
}

state!(Counter { mode, rows, rises, falls, last, last_ns, seconds, base });

/// Value to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measured {
    /// The value, or the rate of a counter.
    Value(f64),
    /// Nothing: a counter has no rate between two values of one time.
    Nothing,
    /// The series turned out to be a counter, or not to be one: what was learnt is void.
    Changed,
}

impl Counter {
    /// Takes a value of the series.
    pub(super) fn push(&mut self, at: Timestamp, value: f64) -> Measured {
        let (before, seconds) = (self.last, at.seconds_since(Timestamp::from_ns(self.last_ns)));
        let is_first = self.rows == 0;
        self.rows = self.rows.saturating_add(1);
        if self.mode == COUNTER && seconds <= 0.0 {
            return Measured::Nothing;
        }
        (self.last, self.last_ns) = (value, at.as_ns());
        match self.mode {
            // A counter that starts again has counted for an unknown part of the time.
            COUNTER if value <= before / 2.0 && value < before => Measured::Nothing,
            COUNTER if value < before => self.fall(),
            COUNTER => {
                (self.base, self.seconds) = (before, seconds);
                Measured::Value((value - before) / seconds)
            }
            PLAIN => self.try_value(is_first, before, value),
            _ => Measured::Value(value),
        }
    }

    /// Returns a range of the judged quantity as a range of the series itself.
    pub(super) fn range(&self, (low, high): (f64, f64)) -> (f64, f64) {
        match self.mode {
            COUNTER => (self.base + low.max(0.0) * self.seconds, self.base + high.max(0.0) * self.seconds),
            _ => (low, high),
        }
    }

    fn try_value(&mut self, is_first: bool, before: f64, value: f64) -> Measured {
        if !is_first {
            self.rises = self.rises.saturating_add(u32::from(value > before));
            if value < before {
                self.mode = NEVER;
            }
        }
        if self.mode == PLAIN && self.rows >= TRIAL_ROWS {
            self.mode = if self.rises >= MIN_RISES { COUNTER } else { NEVER };
            if self.mode == COUNTER {
                return Measured::Changed;
            }
        }
        Measured::Value(value)
    }

    fn fall(&mut self) -> Measured {
        self.falls = self.falls.saturating_add(1);
        if self.falls > MAX_FALLS {
            self.mode = NEVER;
            return Measured::Changed;
        }
        Measured::Nothing
    }
}
