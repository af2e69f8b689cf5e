//! Distribution of recent values and of recent steps, compared with that of all.

use super::state::state;
use super::window::Windows;

const BINS: usize = 16;
const SHORT: usize = 32;
const LONG: usize = 128;

/// Histograms of the normalised values of the last [`SHORT`] and [`LONG`] rows and of all rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    bins: [u8; LONG],
    next: u8,
    short: [u8; BINS],
    long: [u8; BINS],
    all: [u32; BINS],
    rows: u32,
    /// Sums of squared steps over the last [`SHORT`] and [`LONG`] rows, and the mean of all.
    steps: [f64; 2],
    mean_step: f64,
}

state!(Shape { bins, next, short, long, all, rows, steps, mean_step });

impl Default for Shape {
    fn default() -> Self {
        Self {
            bins: [0; LONG],
            next: 0,
            short: [0; BINS],
            long: [0; BINS],
            all: [0; BINS],
            rows: 0,
            steps: [0.0; 2],
            mean_step: 0.0,
        }
    }
}

impl Shape {
    /// Adds the newest value; returns the distances of the recent histograms to that of all.
    pub(super) fn push(&mut self, windows: &Windows) -> [f64; 2] {
        let normal = (windows.back(0) - windows.mean()) / windows.deviation();
        let bin = ((normal + 3.0) / 6.0 * BINS as f64).clamp(0.0, BINS as f64 - 1.0) as usize;
        let place = usize::from(self.next) % LONG;
        if self.rows as usize >= SHORT {
            leave(&mut self.short, self.bins[(place + LONG - SHORT) % LONG]);
        }
        if self.rows as usize >= LONG {
            leave(&mut self.long, self.bins[place]);
        }
        self.bins[place] = bin as u8;
        self.next = ((place + 1) % LONG) as u8;
        self.short[bin] = self.short[bin].saturating_add(1);
        self.long[bin] = self.long[bin].saturating_add(1);
        self.all[bin] = self.all[bin].saturating_add(1);
        self.rows = self.rows.saturating_add(1);
        let n = f64::from(self.rows);
        [(&self.short, SHORT), (&self.long, LONG)].map(|(recent, length)| {
            let (of_recent, of_all) = (1.0 / n.min(length as f64), 1.0 / n);
            let distance = |(a, b): (&u8, &u32)| (f64::from(*a) * of_recent - f64::from(*b) * of_all).abs();
            recent.iter().zip(&self.all).map(distance).sum()
        })
    }

    /// Returns |ln| of the mean squared step of the last rows over that of all, for both lengths.
    pub(super) fn steps(&mut self, windows: &Windows) -> [f64; 2] {
        if self.rows > 1 {
            let squared = |rows: usize| (windows.back(rows) - windows.back(rows + 1)).powi(2);
            let newest = squared(0);
            for (sum, length) in self.steps.iter_mut().zip([SHORT, LONG]) {
                let leaving = if self.rows as usize > length + 1 { squared(length) } else { 0.0 };
                *sum = (*sum + newest - leaving).max(0.0);
                if leaving > 1e6 * *sum || usize::from(self.next) % length == 0 {
                    let known = length.min(self.rows as usize - 1);
                    *sum = (0..known).map(squared).sum();
                }
            }
            self.mean_step += (newest - self.mean_step) / f64::from(self.rows);
        }
        let n = f64::from(self.rows.max(1));
        [SHORT, LONG].map(|length| {
            let sum = self.steps[usize::from(length == LONG)];
            let recent = sum / n.min(length as f64);
            ((recent + 1e-6 * self.mean_step + 1e-300) / (self.mean_step + 1e-300)).ln().abs()
        })
    }
}

fn leave(counts: &mut [u8; BINS], bin: u8) {
    let count = &mut counts[usize::from(bin) % BINS];
    *count = count.saturating_sub(1);
}
