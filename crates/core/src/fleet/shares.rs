//! Shares of drives by the value of a counter: a histogram of bounded size.

use serde::{Deserialize, Serialize};

/// Values below this have a bucket each.
const N_EXACT: usize = 16;
/// Buckets for each doubling above.
const PER_OCTAVE: f64 = 4.0;
/// Number of buckets: up to 2^32, and one for what is above.
const N_BUCKETS: usize = N_EXACT + 28 * PER_OCTAVE as usize + 1;

/// Histogram of the newest value of each drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shares {
    counts: Vec<u32>,
    n_drives: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Self { counts: vec![0; N_BUCKETS], n_drives: 0 }
    }
}

impl Shares {
    /// Counts a drive that was not there.
    pub(super) fn add(&mut self, value: f64) {
        let count = &mut self.counts[bucket(value)];
        *count = count.saturating_add(1);
        self.n_drives = self.n_drives.saturating_add(1);
    }

    /// Removes a drive that was counted with this value.
    pub(super) fn remove(&mut self, value: f64) {
        let count = &mut self.counts[bucket(value)];
        *count = count.saturating_sub(1);
        self.n_drives = self.n_drives.saturating_sub(1);
    }

    /// Returns the number of drives with at least as much, and of all drives; a drive that is counted with `own` is left
    /// out.
    pub(super) fn at_least(&self, value: f64, own: Option<f64>) -> (f64, f64) {
        let first = bucket(value);
        let n_above: u64 = self.counts[first..].iter().map(|count| u64::from(*count)).sum();
        let is_own_above = own.is_some_and(|own| bucket(own) >= first);
        let n_others = self.n_drives.saturating_sub(u32::from(own.is_some()));
        (n_above.saturating_sub(u64::from(is_own_above)) as f64, f64::from(n_others))
    }
}

fn bucket(value: f64) -> usize {
    if value < N_EXACT as f64 {
        return value.max(0.0) as usize;
    }
    let above = (value / N_EXACT as f64).log2() * PER_OCTAVE;
    (N_EXACT + above as usize).min(N_BUCKETS - 1)
}
