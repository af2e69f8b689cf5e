//! Usual value at each half hour of the day, and what the day of the week adds to it.

use crate::Timestamp;

use super::state::state;
use super::week::Week;

const BINS: usize = 48;
const DAY_NS: i64 = 86_400_000_000_000;
/// Weight of a new row in the usual value of a bin that has seen many.
const RATE: f64 = 0.05;
/// A row moves the usual value by at most this many mean residuals.
const CLIP: f64 = 3.0;
/// A residual counts in the mean residual by at most this many of it.
const SCALE_CLIP: f64 = 5.0;
const SCALE_RATE: f64 = 0.001;
const UNCLIPPED_ROWS: u32 = 100;

/// Daily profile of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile {
    usual: [f64; BINS],
    counts: [u16; BINS],
    mean: f64,
    scale: f64,
    week: Week,
}

state!(Profile { usual, counts, mean, scale, week });

impl Default for Profile {
    fn default() -> Self {
        Self { usual: [0.0; BINS], counts: [0; BINS], mean: 0.0, scale: 0.0, week: Week::default() }
    }
}

impl Profile {
    /// Returns the usual value at a time of the day and week; the mean while that time is unknown.
    pub(super) fn usual_at(&self, at: Timestamp) -> f64 {
        self.usual_of_day(at) + self.week.excess_at(at)
    }

    /// Returns `true` while the usual value depends on the day of the week.
    pub(super) fn is_week_in_use(&self) -> bool {
        self.week.is_in_use()
    }

    fn usual_of_day(&self, at: Timestamp) -> f64 {
        let bin = bin(at);
        if self.counts[bin] == 0 { self.mean } else { self.usual[bin] }
    }

    /// Learns a value; returns its residual.
    pub(super) fn push(&mut self, at: Timestamp, value: f64, row: u32) -> f64 {
        let age = 1.0 / (f64::from(row) + 1.0);
        self.mean += (value - self.mean) * age;
        let of_day = self.usual_of_day(at);
        let residual = value - of_day - self.week.excess_at(at);
        self.week.push(at, value - of_day);
        let is_clipped = row > UNCLIPPED_ROWS;
        let limit = if is_clipped && self.scale > 0.0 { CLIP * self.scale } else { f64::MAX };
        let moved = residual.clamp(-limit, limit);
        let most = if is_clipped { SCALE_CLIP * self.scale } else { f64::MAX };
        self.scale += (residual.abs().min(most) - self.scale) * age.max(SCALE_RATE);
        let bin = bin(at);
        self.counts[bin] = self.counts[bin].saturating_add(1);
        if self.counts[bin] == 1 {
            self.usual[bin] = value;
        } else {
            self.usual[bin] += moved * (1.0 / f64::from(self.counts[bin])).max(RATE);
        }
        residual
    }
}

fn bin(at: Timestamp) -> usize {
    (at.as_ns().rem_euclid(DAY_NS) / (DAY_NS / BINS as i64)) as usize % BINS
}
