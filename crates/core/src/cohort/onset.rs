//! Sudden slowness: the likelihood that a drive turned slower by a known factor some minutes ago, against that it did not.
//!
//! The excess of a healthy drive drifts: a half of its variance is predicted by the minutes before. What the prediction
//! leaves is judged, so that minutes count by how little they were to be expected. The ratio is that of Student's
//! distribution (10 minutes in 100,000 lie outside four standard deviations), the wider the higher the prediction.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Factor of slowness that is looked for.
struct Slowness {
    /// Logarithm of the factor.
    shift: f64,
    /// Longest time since the onset, in minutes; longer ones are found by the windows of [`Member`](super::member::Member).
    minutes: usize,
    /// Logarithm of the likelihood ratio that makes a score of 1.
    limit: f64,
}

/// Factors of 1.5 and 2. Smaller ones take longer than bursts of healthy drives last.
const SLOWNESSES: [Slowness; 2] =
    [Slowness { shift: 0.405, minutes: 12, limit: 12.5 }, Slowness { shift: 0.693, minutes: 6, limit: 11.0 }];
/// Most that one minute adds or takes away: two odd minutes are no alarm.
const MOST: f64 = 4.0;
/// Forecast of the next minute: rates of two exponential means of the excess, and their weights, by least squares on the
/// fail-slow data; fitted to the hosts of even or odd numbers, they are the same within 0.02.
const RATES: [f64; 2] = [0.6, 0.15];
const WEIGHTS: [f64; 2] = [0.479, 0.313];
/// Degrees of freedom of Student's distribution, and growth of its width with the forecast.
const FREEDOM: f64 = 20.0;
const WIDENING: f64 = 0.11;
/// Variance of what the forecast leaves, in units of that of a minute, before it is learnt.
const PRIOR_VARIANCE: f64 = 0.64;

/// State of the search for an onset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Onset {
    means: [f64; 2],
    variance: f64,
    /// For each slowness the sum for an onset in each of the last minutes, oldest first.
    sums: [VecDeque<f32>; SLOWNESSES.len()],
}

impl Default for Onset {
    fn default() -> Self {
        Self { means: [0.0; 2], variance: PRIOR_VARIANCE, sums: Default::default() }
    }
}

impl Onset {
    /// Forgets the minutes before a gap as a basis of forecasts.
    pub(super) fn interrupt(&mut self) {
        self.means = [0.0; 2];
    }

    /// Returns the score of the next minute, and the minutes since the likeliest onset. `excess` is in units of `noise`;
    /// `n_since_gap` counts the minutes before this one without a gap.
    pub(super) fn push(&mut self, excess: f64, noise: f64, n_since_gap: usize) -> (f64, usize) {
        let forecast = self.forecast();
        let width = self.variance.sqrt().clamp(0.5, 1.2);
        let usual = log_density(excess - forecast, forecast, width);
        let mut worst = (0.0, 0);
        for (slowness, sums) in SLOWNESSES.iter().zip(&mut self.sums) {
            let shift = slowness.shift / noise;
            sums.push_back(0.0);
            if sums.len() > slowness.minutes {
                sums.pop_front();
            }
            let n_sums = sums.len();
            for (index, sum) in sums.iter_mut().enumerate() {
                let age = n_sums - 1 - index;
                // Part of the shift that the forecast does not contain yet, and the forecast without the other part.
                let left = unforeseen(age.min(n_since_gap));
                let without = forecast - shift * (1.0 - left);
                let slow = log_density(excess - forecast - shift * left, without, width);
                *sum += (slow - usual).clamp(-MOST, MOST) as f32;
                let score = f64::from(*sum) / slowness.limit;
                if score > worst.0 {
                    worst = (score, age + 1);
                }
            }
        }
        worst
    }

    /// Learns from the minute that was judged; `rate` is how much.
    pub(super) fn learn(&mut self, excess: f64, rate: f64, n_since_gap: usize) {
        const CLIP: f64 = 2.0;
        if n_since_gap > 0 {
            let left = (excess - self.forecast()).clamp(-CLIP, CLIP);
            // The factor makes up for what the clipping takes away.
            self.variance += rate * (1.06 * left * left - self.variance);
        }
        for (mean, rate) in self.means.iter_mut().zip(RATES) {
            *mean += rate * (excess.clamp(-4.0, 5.0) - *mean);
        }
    }

    fn forecast(&self) -> f64 {
        self.means.iter().zip(WEIGHTS).map(|(mean, weight)| mean * weight).sum()
    }
}

/// Returns the part of a lasting shift that the forecast does not contain after some minutes.
fn unforeseen(minutes: usize) -> f64 {
    let foreseen = |(rate, weight): (f64, f64)| weight * (1.0 - (1.0 - rate).powi(minutes as i32));
    1.0 - RATES.into_iter().zip(WEIGHTS).map(foreseen).sum::<f64>()
}

/// Returns the logarithm of the density of what a forecast leaves, up to a constant.
fn log_density(left: f64, forecast: f64, width: f64) -> f64 {
    let width = width * (WIDENING * forecast.clamp(-2.5, 3.0)).exp();
    let ratio = left / width;
    -(FREEDOM + 1.0) / 2.0 * (ratio * ratio / FREEDOM).ln_1p() - width.ln()
}
