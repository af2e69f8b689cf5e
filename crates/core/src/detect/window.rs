//! Recent values and what follows from them in constant time: means of windows, running mean and deviation.

use super::state::state;

/// Values that [`Windows`] keeps: two windows of 64, and two rows more for the steps of a window of 128.
const KEPT: usize = 130;
/// Ratio of a value that leaves a sum to the sum, above which the sum has lost too many digits and is added up again.
const LOSS: f64 = 1e6;

/// The last `N` values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ring<const N: usize> {
    values: [f64; N],
    next: u32,
    len: u32,
}

state!(Ring<const N> { values, next, len });

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self { values: [0.0; N], next: 0, len: 0 }
    }
}

impl<const N: usize> Ring<N> {
    pub(super) fn push(&mut self, value: f64) {
        // A damaged state must not index out of bounds.
        let next = self.next as usize % N;
        self.values[next] = value;
        self.next = if next + 1 == N { 0 } else { next as u32 + 1 };
        self.len = self.len.saturating_add(1).min(N as u32);
    }

    /// Returns the value `rows` before the newest; 0 if there was none.
    pub(super) fn back(&self, rows: usize) -> f64 {
        debug_assert!(rows < N, "a ring keeps its length");
        let at = self.next as usize % N + N - 1 - rows;
        self.values[if at >= N { at - N } else { at }]
    }

    /// Moves the sum of the values from `from` to `to` rows back by the row that was just pushed.
    pub(super) fn slide(&self, sum: &mut f64, from: usize, to: usize) {
        let leaving = self.back(to);
        *sum += self.back(from) - leaving;
        if self.next == 0 || leaving.abs() > LOSS * sum.abs() {
            *sum = (from..to).map(|rows| self.back(rows)).sum();
        }
    }
}

/// Windows over the values of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Windows {
    recent: Ring<KEPT>,
    n: f64,
    mean: f64,
    /// Sum of squared distances to the mean.
    spread: f64,
    /// Sums of the last 4, 16 and 64 values, and of the 4, 16 and 64 before them.
    sums: [[f64; 2]; 3],
}

state!(Windows { recent, n, mean, spread, sums });

/// Lengths of the windows.
pub(super) const LENGTHS: [usize; 3] = [4, 16, 64];

impl Windows {
    pub(super) fn push(&mut self, value: f64) {
        self.recent.push(value);
        self.n += 1.0;
        let distance = value - self.mean;
        self.mean += distance / self.n;
        self.spread += distance * (value - self.mean);
        for (sums, length) in self.sums.iter_mut().zip(LENGTHS) {
            self.recent.slide(&mut sums[0], 0, length);
            self.recent.slide(&mut sums[1], length, 2 * length);
        }
    }

    /// Returns the value `rows` before the newest.
    pub(super) fn back(&self, rows: usize) -> f64 {
        self.recent.back(rows)
    }

    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns the standard deviation of all values, above zero.
    pub(super) fn deviation(&self) -> f64 {
        (self.spread / self.n.max(1.0)).sqrt().max(1e-9 * self.mean.abs()).max(1e-12)
    }

    /// Returns the distance of the mean of a window (index into [`LENGTHS`]) to the mean of all values.
    pub(super) fn distance_to_mean(&self, window: usize) -> f64 {
        let n = self.n.min(LENGTHS[window] as f64).max(1.0);
        (self.sums[window][0] / n - self.mean).abs()
    }

    /// Returns the distance of the means of a window and the one before it; 0 until both are full.
    pub(super) fn distance_to_before(&self, window: usize) -> f64 {
        let length = LENGTHS[window] as f64;
        let [recent, before] = self.sums[window];
        if self.n < 2.0 * length + 1.0 { 0.0 } else { ((recent - before) / length).abs() }
    }
}
