//! Record votes: a stream votes when it exceeds the third-largest peak that it has ever shown.
//!
//! Free of any distribution: for exchangeable values the chance of such a record at row N is about 3/N, so one
//! threshold fits all series.

use super::state::state;

/// Peaks kept; the vote compares with the one of [`RANK`].
const PEAKS: usize = 6;
/// Rank of the peak to exceed.
const RANK: usize = 3;
/// Rows within which maxima are one peak.
const GAP_ROWS: u32 = 100;
/// Factor by which a record exceeds the peak.
const MARGIN: f64 = 1.1;
/// Rows before the first vote.
const WARM_ROWS: u32 = 100;

/// The largest peaks of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Records {
    peaks: [f64; PEAKS],
    rows: [u32; PEAKS],
    used: u8,
    /// The peak of [`RANK`]; 0 while there are fewer.
    bar: f64,
}

state!(Records { peaks, rows, used, bar });

impl Records {
    /// Adds a value of the stream; returns true if it is a record.
    pub(super) fn push(&mut self, value: f64, row: u32) -> bool {
        let is_record = row >= WARM_ROWS && self.bar > 0.0 && value > self.bar * MARGIN;
        let used = usize::from(self.used).min(PEAKS);
        let recent = (0..used)
            .filter(|i| row.saturating_sub(self.rows[*i]) < GAP_ROWS)
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
        if usize::from(self.used) < RANK { 0.0 } else { falling[RANK - 1] }
    }
}
