//! Rarity of a magnitude among all of its past: the same scale for every stream of every series.

use super::state::state;

const BINS: usize = 256;
/// Bits of the mantissa in the number of a bin: 4 bins an octave.
const FRACTION_BITS: u32 = 2;
/// Counts are halved at this total, so that they fit and old rows fade.
const MAX_TOTAL: u32 = 60_000;

/// Histogram of magnitudes with logarithmic bins, 64 octaves wide.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rarity {
    counts: [u16; BINS],
    total: u32,
    /// Number of the bin that `counts[1]` holds; `counts[0]` is for zero and below.
    base: i32,
}

state!(Rarity { counts, total, base });

impl Default for Rarity {
    fn default() -> Self {
        Self { counts: [0; BINS], total: 0, base: i32::MIN }
    }
}

impl Rarity {
    /// Adds a magnitude; returns -ln of the share of earlier ones that were at least as large.
    pub(super) fn push(&mut self, magnitude: f64) -> f64 {
        let (bin, within) = self.bin(magnitude);
        let above: u32 = self.counts[bin + 1..].iter().map(|count| u32::from(*count)).sum();
        let above = f64::from(above) + f64::from(self.counts[bin]) * (1.0 - within);
        let rarity = -((above + 1.0) / (f64::from(self.total) + 2.0)).ln();
        self.count(bin);
        rarity
    }

    /// Returns the bin of a magnitude, and its place in the bin from 0 to 1.
    fn bin(&mut self, magnitude: f64) -> (usize, f64) {
        if magnitude.is_nan() || magnitude <= 0.0 {
            return (0, 0.5);
        }
        let shift = 52 - FRACTION_BITS;
        let bits = magnitude.to_bits();
        let number = (bits >> shift) as i32;
        if self.base == i32::MIN {
            self.base = number - BINS as i32 / 2;
        }
        let within = (bits & ((1 << shift) - 1)) as f64 / (1_u64 << shift) as f64;
        match number.saturating_sub(self.base) {
            under if under < 0 => (1, 0.0),
            over if over > BINS as i32 - 2 => (BINS - 1, 1.0),
            bin => (bin as usize + 1, within),
        }
    }

    fn count(&mut self, bin: usize) {
        self.counts[bin] = self.counts[bin].saturating_add(1);
        self.total = self.total.saturating_add(1);
        let count = u32::from(self.counts[bin]);
        if bin == BINS - 1 && count > 8 + self.total / 16 {
            self.shift_up();
        } else if bin == 1 && count > 8 + self.total / 2 {
            self.shift_down();
        }
        if self.total >= MAX_TOTAL {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// Moves the range half its width up: the series has larger magnitudes than it began with.
    fn shift_up(&mut self) {
        let half = BINS / 2;
        let lowest = self.counts[1..=half].iter().fold(0_u16, |sum, count| sum.saturating_add(*count));
        self.counts.copy_within(half + 1.., 1);
        self.counts[BINS - half..].fill(0);
        self.counts[1] = self.counts[1].saturating_add(lowest);
        self.base = self.base.saturating_add(half as i32);
    }

    /// Moves the range half its width down.
    fn shift_down(&mut self) {
        let half = BINS / 2;
        let highest = self.counts[BINS - half..].iter().fold(0_u16, |sum, count| sum.saturating_add(*count));
        self.counts.copy_within(1..BINS - half, half + 1);
        self.counts[1..=half].fill(0);
        self.counts[BINS - 1] = self.counts[BINS - 1].saturating_add(highest);
        self.base = self.base.saturating_sub(half as i32);
    }
}
