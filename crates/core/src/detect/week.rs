//! What the day of the week adds to the usual value of a time of day: weekends, Monday's backup.

use crate::Timestamp;

use super::state::state;

/// Blocks of four hours in a week.
const BLOCKS: usize = 42;
const BLOCK_NS: i64 = 4 * 3_600_000_000_000;
/// Weight of a new week in the excess of a block that has seen many.
const RATE: f32 = 0.3;
/// Weight of a block in the mean errors: a month.
const ERROR_RATE: f32 = 1.0 / 168.0;
/// The week counts from a mean error below this share of the error without it, until it is no longer the smaller one.
const BETTER: f32 = 0.5;

/// Excess over the usual value of the day at each block of the week.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Week {
    excess: [f32; BLOCKS],
    weeks: [u8; BLOCKS],
    /// Block in the making, counted from the epoch, with the sum and number of its rows.
    block: i64,
    sum: f64,
    n_rows: u32,
    /// Blocks predicted so far, and the mean errors of the day alone and with the week.
    n_predicted: u32,
    error_of_day: f32,
    error_of_week: f32,
    in_use: u8,
}

state!(Week { excess, weeks, block, sum, n_rows, n_predicted, error_of_day, error_of_week, in_use });

impl Default for Week {
    fn default() -> Self {
        let (excess, weeks) = ([0.0; BLOCKS], [0; BLOCKS]);
        Self {
            excess,
            weeks,
            block: 0,
            sum: 0.0,
            n_rows: 0,
            n_predicted: 0,
            error_of_day: 0.0,
            error_of_week: 0.0,
            in_use: 0,
        }
    }
}

impl Week {
    /// Returns the excess at a time of the week; 0 until the week has predicted better than the day for a week.
    pub(super) fn excess_at(&self, at: Timestamp) -> f64 {
        if self.is_in_use() { f64::from(self.excess[index(block(at))]) } else { 0.0 }
    }

    /// Returns `true` while the week predicts better than the day alone.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_use == 1
    }

    /// Learns by how much a value exceeds the usual value of its time of day.
    pub(super) fn push(&mut self, at: Timestamp, excess: f64) {
        let block = block(at);
        if self.n_rows > 0 && block != self.block {
            self.close();
        }
        self.block = block;
        self.sum += excess;
        self.n_rows = self.n_rows.saturating_add(1);
    }

    fn close(&mut self) {
        let index = index(self.block);
        let mean = (self.sum / f64::from(self.n_rows)) as f32;
        (self.sum, self.n_rows) = (0.0, 0);
        if !mean.is_finite() {
            return;
        }
        if self.weeks[index] > 0 {
            self.n_predicted = self.n_predicted.saturating_add(1);
            let rate = (1.0 / self.n_predicted as f32).max(ERROR_RATE);
            let (day, week) = (mean.abs(), (mean - self.excess[index]).abs());
            // One block must not decide which of the two is better for a month.
            let most = if self.n_predicted as usize > BLOCKS / 2 {
                4.0 * self.error_of_day.max(self.error_of_week)
            } else {
                f32::MAX
            };
            self.error_of_day += (day.min(most) - self.error_of_day) * rate;
            self.error_of_week += (week.min(most) - self.error_of_week) * rate;
            let share = if self.in_use == 1 { 1.0 } else { BETTER };
            let is_better = self.error_of_week < share * self.error_of_day;
            self.in_use = u8::from(self.n_predicted as usize >= 2 * BLOCKS && is_better);
        }
        self.weeks[index] = self.weeks[index].saturating_add(1);
        // The first weeks count half: they may hold what never comes again.
        let rate = (1.0 / (f32::from(self.weeks[index]) + 1.0)).max(RATE);
        self.excess[index] += (mean - self.excess[index]) * rate;
    }
}

fn block(at: Timestamp) -> i64 {
    at.as_ns().div_euclid(BLOCK_NS)
}

fn index(block: i64) -> usize {
    block.rem_euclid(BLOCKS as i64) as usize
}
