//! Verdict on a device beside its peers at the same time: the slow drive of an evenly loaded shelf is found, the nightly
//! scrub that slows every drive of it is not reported. `docs/judgement.md` has the measurements behind the constants.
//!
//! Input: one value (latency) of each device a minute. For each minute and cohort (see [`Minutes`]), the excess of a
//! device is the logarithm of its value, less the median of its peers and less its own usual ratio to them. A device is
//! suspicious while its excess stays up over one of several windows: 4 minutes for a device twice as slow, hours for one
//! 15 % slower. Scores are in units of the device's own noise, so they compare across devices and clusters.
//!
//! Uses earlier minutes only. State is bounded: about 1 KiB a device, at most [`MAX_DEVICES`] devices, each forgotten
//! after [`FORGET_AFTER`].

mod member;
mod minutes;
mod onset;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::DeviceName;
use crate::timestamp::Timestamp;
use member::Member;
pub use minutes::{Minutes, PeerSample, PeerSamples};

/// Fewest peers that support a verdict: with two, the median is as odd as either of them.
pub const MIN_PEERS: usize = 3;
/// Largest time between two findings of one cause in an enclosure. Two drives of one shelf that fail on their own within ten
/// minutes are rarer than a shelf with a bad power supply, cable or expander.
pub const TOGETHER_WITHIN: Duration = Duration::from_secs(600);
/// Maximum number of devices; those beyond get no verdict.
pub const MAX_DEVICES: usize = 100_000;
/// Time without a value after which the history of a device is dropped.
pub const FORGET_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// History of all devices beside their peers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cohorts {
    devices: BTreeMap<DeviceName, Tracked>,
    /// Time of the last search for devices to forget.
    pub(crate) swept: Timestamp,
}

/// Device with its cohort. A device that moves to another cohort starts a new history.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tracked {
    cohort: String,
    seen: Timestamp,
    member: Member,
}

/// Verdict on one device in one minute.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerVerdict {
    /// Device.
    pub device: DeviceName,
    /// Suspicion: 0 is usual, 1 and above starts an alarm. Higher is slower, or slower for longer.
    pub score: f64,
    /// `true` from a score of 1 until it has fallen below one half.
    pub alarm: bool,
    /// Value in this minute.
    pub value: f64,
    /// Value that the peers and the device's usual ratio to them predict, in the unit of the value.
    pub expected: f64,
    /// Number of peers compared with.
    pub n_peers: usize,
    /// Minutes over which the device was slow enough for `score`; 0 without suspicion.
    pub window_minutes: usize,
}

impl Cohorts {
    /// Judges the values of one minute, which must not be earlier than those pushed before. Returns a verdict on each
    /// device with [`MIN_PEERS`] peers, in order of device. Values that are not positive and finite are ignored.
    pub fn push(&mut self, at: Timestamp, samples: &PeerSamples) -> Vec<PeerVerdict> {
        self.forget(at);
        let mut cohorts: BTreeMap<&str, Vec<(&DeviceName, f64)>> = BTreeMap::new();
        for (device, sample) in samples {
            if sample.value > 0.0 && sample.value.is_finite() && self.admit(at, device, &sample.cohort) {
                cohorts.entry(&sample.cohort).or_default().push((device, sample.value));
            }
        }
        let mut verdicts: Vec<_> = cohorts.values().flat_map(|values| self.judge(at, values)).collect();
        verdicts.sort_by(|a, b| a.device.cmp(&b.device));
        verdicts
    }

    /// Returns the number of devices with a history.
    pub fn n_devices(&self) -> usize {
        self.devices.len()
    }

    /// Returns the saved history of a device; `None` if it has none.
    ///
    /// # Errors
    /// [`postcard::Error`] if it cannot be serialised.
    pub(crate) fn history(&self, device: &DeviceName) -> Option<postcard::Result<Vec<u8>>> {
        self.devices.get(device).map(postcard::to_stdvec)
    }

    /// Drops the history of a device.
    pub(crate) fn remove(&mut self, device: &DeviceName) {
        self.devices.remove(device);
    }

    /// Enters the history of a device that [`Self::history`] saved.
    ///
    /// # Errors
    /// [`postcard::Error`] if it is none.
    pub(crate) fn enter(&mut self, device: DeviceName, history: &[u8]) -> postcard::Result<()> {
        self.devices.insert(device, postcard::from_bytes(history)?);
        Ok(())
    }

    /// Makes room for a device and notes that it was seen; `false` if there is no room.
    fn admit(&mut self, at: Timestamp, device: &DeviceName, cohort: &str) -> bool {
        let full = self.devices.len() >= MAX_DEVICES;
        match self.devices.get_mut(device) {
            Some(tracked) => {
                tracked.seen = at;
                if tracked.cohort != cohort {
                    tracked.cohort = cohort.to_owned();
                    tracked.member = Member::default();
                }
            }
            None if full => return false,
            None => {
                let tracked = Tracked { cohort: cohort.to_owned(), seen: at, member: Member::default() };
                self.devices.insert(device.clone(), tracked);
            }
        }
        true
    }

    fn judge(&mut self, at: Timestamp, values: &[(&DeviceName, f64)]) -> Vec<PeerVerdict> {
        if values.len() <= MIN_PEERS {
            return Vec::new();
        }
        let usual: Vec<f64> = values
            .iter()
            .map(|(device, value)| value.ln() - self.devices.get(*device).map_or(0.0, |known| known.member.usual()))
            .collect();
        let mut sorted = usual.clone();
        sorted.sort_by(f64::total_cmp);
        let spread = median_distance(&sorted);
        let mut verdicts = Vec::with_capacity(values.len());
        for ((device, value), own) in values.iter().zip(usual) {
            let Some(tracked) = self.devices.get_mut(*device) else { continue };
            let peers = median_without(&sorted, own);
            let expected = (peers + tracked.member.usual()).exp();
            let suspicion = tracked.member.push(at, value.ln() - peers, spread);
            verdicts.push(PeerVerdict {
                device: (*device).clone(),
                score: suspicion.score,
                alarm: suspicion.alarm,
                value: *value,
                expected,
                n_peers: values.len() - 1,
                window_minutes: suspicion.window_minutes,
            });
        }
        verdicts
    }

    /// Drops the devices that have not been seen for [`FORGET_AFTER`]; looks once a day.
    fn forget(&mut self, at: Timestamp) {
        if at.seconds_since(self.swept) < 86_400.0 {
            return;
        }
        self.swept = at;
        self.devices.retain(|_, tracked| at.seconds_since(tracked.seen) <= FORGET_AFTER.as_secs_f64());
    }
}

/// Returns the median of `sorted` (two values or more) without one occurrence of `own`.
fn median_without(sorted: &[f64], own: f64) -> f64 {
    let position = sorted.partition_point(|value| value.total_cmp(&own).is_lt());
    let at = |rank: usize| sorted[rank + usize::from(rank >= position)];
    let n = sorted.len() - 1;
    (at((n - 1) / 2) + at(n / 2)) / 2.0
}

/// Returns the median distance from the median (MAD) of `sorted`, scaled to the standard deviation of a normal
/// distribution.
fn median_distance(sorted: &[f64]) -> f64 {
    const NORMAL: f64 = 1.4826;
    let middle = sorted[sorted.len() / 2];
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
    distances.sort_by(f64::total_cmp);
    distances[distances.len() / 2] * NORMAL
}
