//! Record votes: a stream votes when it exceeds the second or third-largest peak that it has ever shown.
//!
//! Free of any distribution: for exchangeable values the chance of such a record at row N is about 2/N or 3/N, so one
//! threshold fits all series.

use super::state::State;

/// Rows before the first vote.
const WARM_ROWS: u32 = 100;

/// The largest peaks of a stream, of which it keeps three more than it compares with.
///
/// `GAP` is the number of rows within which maxima are one peak.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Records<const PEAKS: usize, const GAP: u32> {
    peaks: [f64; PEAKS],
    rows: [u32; PEAKS],
    used: u8,
    /// The peak to exceed; 0 while there are too few.
    bar: f64,
}

impl<const PEAKS: usize, const GAP: u32> Default for Records<PEAKS, GAP> {
    fn default() -> Self {
        Self { peaks: [0.0; PEAKS], rows: [0; PEAKS], used: 0, bar: 0.0 }
    }
}

impl<const PEAKS: usize, const GAP: u32> State for Records<PEAKS, GAP> {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.peaks.put(bytes);
        self.rows.put(bytes);
        self.used.put(bytes);
    }
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        self.peaks.take(bytes)?;
        self.rows.take(bytes)?;
        self.used.take(bytes)?;
        self.bar = self.ranked();
        Some(())
    }
}

impl<const PEAKS: usize, const GAP: u32> Records<PEAKS, GAP> {
    /// Adds a value of the stream; returns true if it exceeds the peak by the factor `margin`.
    pub(super) fn push(&mut self, value: f64, row: u32, margin: f64) -> bool {
        let is_record = row >= WARM_ROWS && self.bar > 0.0 && value > self.bar * margin;
        let used = usize::from(self.used).min(PEAKS);
        let recent = (0..used)
            .filter(|i| row.saturating_sub(self.rows[*i]) < GAP)
            .max_by(|a, b| self.peaks[*a].total_cmp(&self.peaks[*b]));
        let place = match recent {
            Some(place) if value > self.peaks[place] => place,
            Some(_) => return is_record,
            None if used < PEAKS => {
                self.used += 1;
                used
            }
            None => {
                let lowest = (0..PEAKS).min_by(|a, b| self.peaks[*a].total_cmp(&self.peaks[*b])).unwrap_or(0);
                if value < self.peaks[lowest] {
                    return is_record;
                }
                lowest
            }
        };
        (self.peaks[place], self.rows[place]) = (value, row);
        self.bar = self.ranked();
        is_record
    }

    fn ranked(&self) -> f64 {
        let mut falling = self.peaks;
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        let rank = PEAKS - 3;
        if usize::from(self.used) < rank { 0.0 } else { falling[rank - 1] }
    }
}
