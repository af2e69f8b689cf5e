//! Device beside its own past: requests that take twice as long as usual for ten minutes with values although there are no
//! more of them. It needs no peers, and a spike of the latency, however high, is no level. Latency and load agree here: latency
//! alone follows the load.
//!
//! Measured (docs/judgement.md): without a fault, the level of a device reaches 1.4 times the usual on a real cluster and
//! in simulated fleets, and mostly with more load.

use serde::{Deserialize, Serialize};

use crate::judge::events::LATENCY_RAISED;
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Metric that must rise, then those of the load, which must not.
const METRICS: [&str; 4] = ["Latency", "IOPs", "ReadThroughput", "WriteThroughput"];
/// Longest gap within a window, in minutes: what was before it says nothing of what follows.
const MAX_GAP: i64 = 60;
/// Age in minutes up to which the level of a load is the present one.
const LOAD_KEPT: i64 = 10;
/// Minutes with values over which a level is taken: the least of latency, the mean of load.
const WINDOW: usize = 10;
/// Minutes with values after which a level is known as usual.
const MIN_MINUTES: u32 = 60;
/// Minutes over which the usual level is learnt: two days.
const MEMORY_MINUTES: u32 = 2_880;
/// Largest step, in logarithms, that one minute teaches.
const MAX_STEP: f32 = 1.0;
/// Logarithm of the ratio to the usual latency from which on a device is slow: twice. Below [`FAST`] it is no longer.
const SLOW: f32 = std::f32::consts::LN_2;
const FAST: f32 = 0.3;
/// Logarithms of the ratio to the usual load between which the load explains nothing. A device that is nearly idle waits
/// for single requests, which say little.
const LOAD: std::ops::RangeInclusive<f32> = -2.0..=0.2;
/// Share of the usual rate at which suspicious minutes teach: slowness does not become usual within two weeks.
const SUSPICIOUS_RATE: f32 = 0.1;
/// Smallest value, so that a logarithm exists.
const LEAST: f64 = 1e-3;

/// Levels of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct OwnPast {
    levels: [Level; METRICS.len()],
    /// Minutes of the latencies in the window, as a ring.
    minutes: [i64; WINDOW],
    is_slow: bool,
    /// Time of the last event about it.
    pub(in crate::judge) changed: Option<Timestamp>,
}

/// Level of one metric, in logarithms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Level {
    n_minutes: u32,
    usual: f32,
    /// Last minutes, as a ring, how many of them have no gap, and the newest.
    recent: [f32; WINDOW],
    n_recent: u8,
    newest: i64,
}

/// Change of a device beside its own past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::judge) enum Change {
    /// Slow from now on: latency of the last `minutes` and usual latency, both in the unit of the latency.
    Slow { level: f64, usual: f64, minutes: i64 },
    /// As usual again.
    Usual,
}

impl OwnPast {
    /// Returns the metrics that are read, latency first.
    pub(in crate::judge) const fn metrics() -> [&'static str; METRICS.len()] {
        METRICS
    }

    /// Takes a change back that must not be said yet: what lasts is found again.
    pub(in crate::judge) fn unsay(&mut self, change: Change) {
        self.is_slow = change == Change::Usual;
    }

    /// Takes the replacement of the drive, whose past is another.
    pub(in crate::judge) fn replace(&mut self, at: Timestamp) {
        *self = Self { changed: Some(at), ..Self::default() };
    }

    /// Takes an event of another run of the detector about the device. It names the usual latency, which cannot be learnt
    /// while the device is slow.
    pub(in crate::judge) fn adopt(&mut self, event: &Event, at: Timestamp) {
        if self.changed.is_some_and(|changed| changed >= at) {
            return;
        }
        self.changed = Some(at);
        let was_slow = std::mem::replace(&mut self.is_slow, event.event_type.as_str() == LATENCY_RAISED);
        let usual = event.label("expected").and_then(|text| text.parse::<f64>().ok());
        if let Some(usual) = usual.filter(|usual| usual.is_finite() && *usual > 0.0)
            && self.is_slow
            && !was_slow
            && !self.levels[0].is_known()
        {
            let usual = usual.max(LEAST).ln() as f32;
            self.levels[0] = Level { n_minutes: MIN_MINUTES, usual, ..Level::default() };
        }
    }

    /// Takes a hole: the minutes before it are no longer those just before. Slowness lasts until minutes show its end.
    pub(in crate::judge) fn skip(&mut self) {
        self.levels.iter_mut().for_each(|level| level.n_recent = 0);
    }

    /// Returns the logarithm of the ratio of the present load to the usual one, the highest over its metrics; `None` before
    /// that is known.
    pub(in crate::judge) fn load(&self, minute: i64) -> Option<f32> {
        let of_load = self.levels[1..].iter().filter(|level| level.is_present(minute));
        of_load.map(Level::mean).reduce(f32::max)
    }

    /// Returns the logarithm of the present number of requests, in the metric's unit; `None` if it is not known.
    pub(in crate::judge) fn requests(&self, minute: i64) -> Option<f32> {
        let level = &self.levels[1];
        level.is_present(minute).then(|| level.mean() + level.usual)
    }

    /// Takes the values of one minute, counted from the epoch, in the order of [`Self::metrics`]; returns a change. Nothing
    /// is judged without a latency and a load.
    pub(in crate::judge) fn push(&mut self, minute: i64, values: [Option<f64>; METRICS.len()]) -> Option<Change> {
        let latency = values[0].filter(|latency| *latency > 0.0 && latency.is_finite())?;
        let is_suspicious = self.is_slow || self.levels[0].excess() > FAST;
        let rate = if is_suspicious { SUSPICIOUS_RATE } else { 1.0 };
        self.minutes[self.levels[0].ring_place()] = minute;
        self.levels[0].push(minute, latency, rate);
        for (level, value) in self.levels.iter_mut().zip(values).skip(1) {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                level.push(minute, value, rate);
            }
        }
        if !self.levels[0].is_known() || !self.levels[0].is_whole() {
            return None;
        }
        let excess = self.levels[0].excess();
        if self.is_slow {
            self.is_slow = excess >= FAST;
            return (!self.is_slow).then_some(Change::Usual);
        }
        let load = self.load(minute)?;
        self.is_slow = excess >= SLOW && LOAD.contains(&load);
        let usual = self.levels[0].usual;
        let level = f64::from(usual + excess).exp();
        let oldest = self.minutes.iter().copied().min().unwrap_or(minute);
        let minutes = minute.saturating_sub(oldest) + 1;
        self.is_slow.then_some(Change::Slow { level, usual: f64::from(usual).exp(), minutes })
    }
}

impl Level {
    fn ring_place(&self) -> usize {
        self.n_minutes as usize % WINDOW
    }

    fn push(&mut self, minute: i64, value: f64, rate: f32) {
        let value = value.max(LEAST).ln() as f32;
        if self.n_minutes == 0 {
            self.usual = value;
        }
        if minute.saturating_sub(self.newest) > MAX_GAP {
            self.n_recent = 0;
        }
        self.recent[self.ring_place()] = value;
        self.newest = minute;
        self.n_recent = self.n_recent.saturating_add(1).min(WINDOW as u8);
        self.n_minutes = self.n_minutes.saturating_add(1);
        let step = (value - self.usual).clamp(-MAX_STEP, MAX_STEP);
        self.usual += step * rate / self.n_minutes.min(MEMORY_MINUTES) as f32;
    }

    fn is_known(&self) -> bool {
        self.n_minutes >= MIN_MINUTES
    }

    /// Returns `true` if the window holds no gap.
    fn is_whole(&self) -> bool {
        usize::from(self.n_recent) >= WINDOW
    }

    /// Returns `true` if the level is that of the present load.
    fn is_present(&self, minute: i64) -> bool {
        self.is_known() && self.is_whole() && minute.saturating_sub(self.newest) <= LOAD_KEPT
    }

    /// Returns by how much the least of the last minutes exceeds the usual; 0 before that is known.
    fn excess(&self) -> f32 {
        let least = self.recent.iter().copied().fold(f32::INFINITY, f32::min);
        if self.is_known() && self.is_whole() { least - self.usual } else { 0.0 }
    }

    /// Returns by how much the mean of the last minutes exceeds the usual.
    fn mean(&self) -> f32 {
        self.recent.iter().sum::<f32>() / WINDOW as f32 - self.usual
    }
}

#[cfg(test)]
mod tests;
