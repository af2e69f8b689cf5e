//! Device beside its own past: requests that take twice as long as usual for ten minutes although there are no more of
//! them. It needs no peers, and a spike of the latency, however high, is no level. Latency and load agree here: latency
//! alone follows the load.
//!
//! Measured (docs/judgement.md): without a fault, the level of a device reaches 1.4 times the usual on a real cluster and
//! in simulated fleets, and mostly with more load.

use serde::{Deserialize, Serialize};

/// Metric that must rise, then those of the load, which must not.
const METRICS: [&str; 4] = ["Latency", "IOPs", "ReadThroughput", "WriteThroughput"];
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
    is_slow: bool,
}

/// Level of one metric, in logarithms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Level {
    n_minutes: u32,
    usual: f32,
    /// Last minutes, as a ring.
    recent: [f32; WINDOW],
}

/// Change of a device beside its own past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::judge) enum Change {
    /// Slow from now on: latency of the last minutes and usual latency, both in the unit of the latency.
    Slow { level: f64, usual: f64 },
    /// As usual again.
    Usual,
}

impl OwnPast {
    /// Returns the metrics that are read, latency first.
    pub(in crate::judge) const fn metrics() -> [&'static str; METRICS.len()] {
        METRICS
    }

    /// Takes a change back that must not be said yet: what lasts is found again.
    pub(in crate::judge) fn unsay(&mut self) {
        self.is_slow = false;
    }

    /// Takes a hole: the minutes before it are no longer those just before. Slowness lasts until minutes show its end.
    pub(in crate::judge) fn skip(&mut self) {
        if !self.is_slow {
            self.levels.iter_mut().for_each(|level| level.recent = [level.usual; WINDOW]);
        }
    }

    /// Takes the values of one minute in the order of [`Self::metrics`]; returns a change. Nothing is judged without a
    /// latency and a load.
    pub(in crate::judge) fn push(&mut self, values: [Option<f64>; METRICS.len()]) -> Option<Change> {
        let latency = values[0].filter(|latency| *latency > 0.0 && latency.is_finite())?;
        let is_suspicious = self.levels[0].excess() > FAST;
        let rate = if is_suspicious { SUSPICIOUS_RATE } else { 1.0 };
        self.levels[0].push(latency, rate);
        for (level, value) in self.levels.iter_mut().zip(values).skip(1) {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                level.push(value, rate);
            }
        }
        let excess = self.levels[0].excess();
        if self.is_slow {
            self.is_slow = excess >= FAST;
            return (!self.is_slow).then_some(Change::Usual);
        }
        let load = self.levels[1..].iter().filter(|level| level.is_known()).map(Level::mean).reduce(f32::max)?;
        self.is_slow = excess >= SLOW && LOAD.contains(&load);
        let Level { usual, .. } = self.levels[0];
        let level = f64::from(usual + excess).exp();
        self.is_slow.then_some(Change::Slow { level, usual: f64::from(usual).exp() })
    }
}

impl Level {
    fn push(&mut self, value: f64, rate: f32) {
        let value = value.max(LEAST).ln() as f32;
        if self.n_minutes == 0 {
            self.usual = value;
        }
        self.recent[self.n_minutes as usize % WINDOW] = value;
        self.n_minutes = self.n_minutes.saturating_add(1);
        let step = (value - self.usual).clamp(-MAX_STEP, MAX_STEP);
        self.usual += step * rate / self.n_minutes.min(MEMORY_MINUTES) as f32;
    }

    fn is_known(&self) -> bool {
        self.n_minutes >= MIN_MINUTES
    }

    /// Returns by how much the least of the last minutes exceeds the usual; 0 before that is known.
    fn excess(&self) -> f32 {
        let least = self.recent.iter().copied().fold(f32::INFINITY, f32::min);
        if self.is_known() { least - self.usual } else { 0.0 }
    }

    /// Returns by how much the mean of the last minutes exceeds the usual.
    fn mean(&self) -> f32 {
        self.recent.iter().sum::<f32>() / WINDOW as f32 - self.usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes minutes with this latency and load; returns the changes.
    fn push(past: &mut OwnPast, minutes: usize, latency: f64, iops: f64) -> Vec<Change> {
        let noise = |minute: usize| 1.0 + 0.05 * ((minute * 7) % 11) as f64 / 11.0;
        (0..minutes).filter_map(|n| past.push([Some(latency * noise(n)), Some(iops), None, None])).collect()
    }

    #[test]
    fn twice_the_latency_without_more_load_is_slow_until_it_is_over() {
        let mut past = OwnPast::default();
        assert_eq!(push(&mut past, 300, 5.0, 100.0), []);
        let found = push(&mut past, 12, 11.5, 60.0);
        let [Change::Slow { level, usual }] = found[..] else { panic!("{found:?}") };
        assert!(level > 11.0 && (4.9..5.3).contains(&usual), "{level} {usual}");
        assert_eq!(push(&mut past, 600, 11.5, 60.0), []);
        assert!(past.is_slow);
        assert_eq!(push(&mut past, 12, 5.0, 100.0), [Change::Usual]);
    }

    #[test]
    fn load_spikes_and_a_first_hour_explain_slowness() {
        let usual = || {
            let mut past = OwnPast::default();
            push(&mut past, 300, 5.0, 100.0);
            past
        };
        assert_eq!(push(&mut usual(), 60, 12.0, 180.0), [], "more load");
        assert_eq!(push(&mut usual(), 60, 12.0, 1.0), [], "idle");
        let mut past = usual();
        for _ in 0..10 {
            assert_eq!(push(&mut past, 5, 2_000.0, 60.0), [], "spike");
            assert_eq!(push(&mut past, 5, 5.0, 100.0), []);
        }
        let mut young = OwnPast::default();
        assert_eq!(push(&mut young, 20, 5.0, 100.0), []);
        assert_eq!(push(&mut young, 20, 15.0, 100.0), [], "too young");
        let mut alone = OwnPast::default();
        let latency_only =
            (0..300).filter_map(|n| alone.push([Some(if n < 200 { 5.0 } else { 50.0 }), None, None, None]));
        assert_eq!(latency_only.count(), 0, "no load known");
    }

    #[test]
    fn values_of_any_kind_do_no_harm() {
        let mut past = OwnPast::default();
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE] {
            for _ in 0..100 {
                past.push([Some(value), Some(value), None, Some(value)]);
                assert!(past.levels.iter().all(|level| level.usual.is_finite()));
            }
        }
    }
}
