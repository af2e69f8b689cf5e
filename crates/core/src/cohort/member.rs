//! One device beside its peers: usual ratio, noise, and the windows over which it has been slower than usual.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::onset::Onset;
use crate::timestamp::Timestamp;

/// Window over which an excess has to be kept up.
struct SlowWindow {
    minutes: usize,
    /// Usual distance of the soft minimum below the mean; added to the soft minimum, it estimates the shift of the mean.
    depth: f64,
    /// Shift that makes a score of 1.
    level: f64,
    /// The same for the step: the shift less [`STEP_SHARE`] of the mean excess of the minutes before the window.
    step: f64,
}

/// Windows in order of length. Shifts are in standard deviations of a minute. Larger factors are found sooner by
/// [`Onset`]. Steps are looked for in short windows only: a drive that turns slow does so at once, while a healthy one
/// drifts into a burst. `INFINITY` where a test would add false alarms and find nothing sooner.
const WINDOWS: [SlowWindow; 6] = [
    SlowWindow { minutes: 20, depth: 0.71, level: f64::INFINITY, step: 2.55 },
    SlowWindow { minutes: 22, depth: 0.72, level: f64::INFINITY, step: 2.5 },
    SlowWindow { minutes: 25, depth: 0.74, level: 2.8, step: f64::INFINITY },
    SlowWindow { minutes: 30, depth: 0.77, level: 2.6, step: f64::INFINITY },
    SlowWindow { minutes: 60, depth: 0.88, level: 1.85, step: f64::INFINITY },
    SlowWindow { minutes: 180, depth: 1.03, level: 1.25, step: f64::INFINITY },
];
const LONGEST: usize = WINDOWS[WINDOWS.len() - 1].minutes;
/// Minutes before a window that predict it, and the share of their mean that carries over into it.
const BEFORE_MINUTES: usize = 20;
/// Time without a value, in seconds, after which the minutes before it do not predict those after it.
const GAP_SECONDS: f64 = 600.0;
const STEP_SHARE: f64 = 0.5;
/// Factor by which a score of 1 exceeds what the limits ask for. They leave the highest healthy drive of the fail-slow data
/// at 0.98, and another cluster has others.
const MARGIN: f64 = 1.05;
/// Temperature of the soft minimum over a window, in standard deviations. Near 0 it is the minimum, far above 1 the mean.
/// A burst of a healthy drive has gaps, a drive that turned slow has none: the minimum tells them apart.
const SOFTNESS: f64 = 0.3;
/// Largest logarithm of a ratio that is taken for usual. No healthy drive of the fail-slow data has a day's median above
/// 1.22 times its host's; what exceeds that is slow from the beginning.
const MAX_USUAL: f64 = 0.2;
/// Smallest rate at which the usual ratio and the noise are learnt, per minute: about a day and a half.
const RATE: f64 = 1.0 / 2000.0;
/// Pseudo-minutes with a usual ratio of 1 before the first value: a drive that is slow from the beginning is found before
/// its slowness is learnt.
const PRIOR_RATIO_MINUTES: f64 = 120.0;
/// Pseudo-minutes with the noise of the first minute's peers before the first value.
const PRIOR_NOISE_MINUTES: f64 = 100.0;
/// Noise of a minute, as a standard deviation of the logarithm: least assumed at the start, and least ever.
const PRIOR_NOISE: f64 = 0.11;
const MIN_NOISE: f64 = 0.05;

/// State of a device, about 1 KiB.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Member {
    n_minutes: f64,
    /// Logarithm of the usual ratio to the peers.
    bias: f64,
    variance: f64,
    /// Excess of the last minutes in standard deviations, newest last.
    recent: VecDeque<f32>,
    last: Timestamp,
    /// Minutes with data since the last gap, the newest not counted.
    n_since_gap: usize,
    onset: Onset,
    score: f64,
    alarm: bool,
}

/// Result of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Suspicion {
    pub(super) score: f64,
    pub(super) alarm: bool,
    pub(super) window_minutes: usize,
}

impl Member {
    /// Returns the logarithm of the usual ratio to the peers.
    pub(super) fn usual(&self) -> f64 {
        self.bias.clamp(-MAX_USUAL, MAX_USUAL)
    }

    /// Judges the logarithm of the ratio to the peers in the minute that begins at `at`. `spread` is the noise of the
    /// cohort in this minute.
    pub(super) fn push(&mut self, at: Timestamp, log_ratio: f64, spread: f64) -> Suspicion {
        if self.n_minutes == 0.0 {
            self.variance = spread.clamp(PRIOR_NOISE, 1.0).powi(2);
        }
        let noise = self.variance.sqrt().max(MIN_NOISE);
        let excess = ((log_ratio - self.usual()) / noise).clamp(-6.0, 12.0);
        self.n_since_gap += 1;
        if at.seconds_since(self.last) > GAP_SECONDS {
            self.n_since_gap = 0;
            self.onset.interrupt();
        }
        self.last = at;
        if self.recent.len() >= LONGEST {
            self.recent.pop_front();
        }
        self.recent.push_back(excess as f32);
        let sudden = self.onset.push(excess, noise, self.n_since_gap);
        let lasting = self.worst_window();
        let (score, window_minutes) = if sudden.0 > lasting.0 { sudden } else { lasting };
        let score = score / MARGIN;
        self.score = score;
        self.alarm = score >= 1.0 || (self.alarm && score >= 0.5);
        self.learn(log_ratio, excess, noise);
        Suspicion { score, alarm: self.alarm, window_minutes }
    }

    /// Returns the highest score over the windows that have been filled, and the length of that window.
    fn worst_window(&self) -> (f64, usize) {
        let mut worst = (0.0, 0);
        let mut newest_first = self.recent.iter().rev();
        let (mut sum, mut n_summed) = (0.0, 0);
        for window in &WINDOWS {
            if self.recent.len() < window.minutes {
                break;
            }
            let more = newest_first.by_ref().take(window.minutes - n_summed);
            sum += more.map(|excess| (-f64::from(*excess) / SOFTNESS).exp()).sum::<f64>();
            n_summed = window.minutes;
            let soft_minimum = -SOFTNESS * (sum / n_summed as f64).ln();
            let shift = soft_minimum + window.depth;
            let before = self.mean_before(window.minutes);
            let step_score = before.map_or(0.0, |before| (shift - STEP_SHARE * before) / window.step);
            let score = (shift / window.level).max(step_score);
            if score > worst.0 {
                worst = (score, window.minutes);
            }
        }
        worst
    }

    /// Returns the mean excess of the [`BEFORE_MINUTES`] before the last `minutes`; `None` if there were not as many. Those
    /// before a gap count as usual.
    fn mean_before(&self, minutes: usize) -> Option<f64> {
        const CLIP: f64 = 3.0;
        if self.recent.len() < minutes + BEFORE_MINUTES {
            return None;
        }
        let n_before = (self.n_since_gap + 1).saturating_sub(minutes).min(BEFORE_MINUTES);
        let before = self.recent.iter().rev().skip(minutes).take(n_before);
        Some(before.map(|excess| f64::from(*excess).clamp(-CLIP, CLIP)).sum::<f64>() / BEFORE_MINUTES as f64)
    }

    /// Learns the usual ratio and the noise, the less the more suspicious the device is: slowness must not become usual.
    fn learn(&mut self, log_ratio: f64, excess: f64, noise: f64) {
        self.n_minutes += 1.0;
        let trust = (1.0 - self.score).clamp(0.0, 1.0).powi(2);
        let step = (log_ratio - self.bias).clamp(-2.0 * noise, 2.0 * noise);
        self.bias += trust * (1.0 / (self.n_minutes + PRIOR_RATIO_MINUTES)).max(RATE) * step;
        let rate = (1.0 / (self.n_minutes + PRIOR_NOISE_MINUTES)).max(RATE);
        // A step is clipped at two standard deviations; the factor makes up for what the clipping takes away.
        self.variance += trust * rate * (1.2 * step * step - self.variance);
        self.onset.learn(excess, trust * rate, self.n_since_gap);
    }
}
