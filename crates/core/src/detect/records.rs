//! Record votes: a stream votes when it exceeds the second or third-largest peak that it has ever shown.
//!
//! Free of any distribution: for exchangeable values the chance of such a record at row N is about 2/N or 3/N, so one
//! threshold fits all series.

use super::state::State;

/// Rows before the first vote.
const WARM_ROWS: u32 = 100;

/// The largest peaks of a stream, of which it keeps three more than it compares with.
///
/// `GAP` is the number of rows within which maxima are one peak: only the newest one can still grow.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Records<const PEAKS: usize, const GAP: u32> {
    peaks: [f64; PEAKS],
    /// Row of the newest peak, and its place.
    row: u32,
    place: u8,
    used: u8,
    /// Place of the peak to exceed, among those used.
    bar: u8,
}

impl<const PEAKS: usize, const GAP: u32> Default for Records<PEAKS, GAP> {
    fn default() -> Self {
        Self { peaks: [0.0; PEAKS], row: 0, place: 0, used: 0, bar: Self::RANK as u8 - 1 }
    }
}

impl<const PEAKS: usize, const GAP: u32> State for Records<PEAKS, GAP> {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.peaks.put(bytes);
        self.row.put(bytes);
        self.place.put(bytes);
        self.used.put(bytes);
    }
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        self.peaks.take(bytes)?;
        self.row.take(bytes)?;
        self.place.take(bytes)?;
        self.used.take(bytes)?;
        self.bar = self.ranked();
        Some(())
    }
}

impl<const PEAKS: usize, const GAP: u32> Records<PEAKS, GAP> {
    /// Rank of the peak to exceed.
    const RANK: usize = PEAKS - 3;

    /// Adds a value of the stream; returns true if it exceeds the peak by the factor `margin`.
    pub(super) fn push(&mut self, value: f64, row: u32, margin: f64) -> bool {
        // A damaged state must not index out of bounds.
        let (used, newest) = (usize::from(self.used).min(PEAKS), usize::from(self.place) % PEAKS);
        let bar = if used < Self::RANK { 0.0 } else { self.peaks[usize::from(self.bar) % PEAKS] };
        let is_record = row >= WARM_ROWS && bar > 0.0 && value > bar * margin;
        let is_growing = newest < used && row.saturating_sub(self.row) < GAP;
        let place = if is_growing {
            if value <= self.peaks[newest] {
                return is_record;
            }
            newest
        } else if used < PEAKS {
            self.used = used as u8 + 1;
            used
        } else {
            let lowest = (0..PEAKS).min_by(|a, b| self.peaks[*a].total_cmp(&self.peaks[*b])).unwrap_or(0);
            if value < self.peaks[lowest] {
                return is_record;
            }
            lowest
        };
        (self.peaks[place], self.row, self.place) = (value, row, place as u8);
        self.bar = self.ranked();
        is_record
    }

    /// Returns the place of the peak to exceed; unused places hold 0 and rank last.
    fn ranked(&self) -> u8 {
        let mut places: [u8; PEAKS] = std::array::from_fn(|place| place as u8);
        places.sort_by(|a, b| self.peaks[usize::from(*b)].total_cmp(&self.peaks[usize::from(*a)]));
        places[Self::RANK - 1]
    }
}
