//! Giving numbers, as Spindle's daemon does: two counters per device, one for metrics and one for events.
//!
//! Two, since the two travel apart: an event overtakes the metrics that wait. Within each the publisher keeps the
//! order all the way into the stream, so what a kill takes away is the end of a run and no hole in it. (A kill in the
//! moment in which a lost connection is mended, under load, can still leave one: those readings are lost, after all.)
//!
//! A *life* of a sender is the time for which it knows its counters. What is new in a life begins with the life's
//! own two runs. A sender that stopped in order [keeps](Sequencer::keep) its counters and goes on with them in the
//! next life, so that nothing it lost in between stays unseen. One that was killed cannot know what it had sent: each
//! of its devices begins anew, in runs that no life had before.
//!
//! Pure: the clock is an argument, and writing down which lives were begun is the caller's part. It must be on
//! disk before the life's first number is given.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{SEQUENCES_PER_EPOCH, epoch_of, number_of, seq_of};
use crate::name::DeviceName;
use crate::timestamp::Timestamp;
use crate::wire::Batch;

/// Devices that are numbered at most, some 100 bytes each. What others say carries no number, which is counted.
pub const MAX_DEVICES: usize = 200_000;

/// 2024-01-01T00:00:00Z: lives are counted from here.
const FIRST_DAY_NS: i64 = 1_704_067_200_000_000_000;
/// Fine enough that two lives in a row differ by their clock alone; coarse enough to last until 2041.
const NS_PER_LIFE: i64 = 2_000_000_000;
/// With 28 bits for the life, one for the lane and 24 for the number, a `seq` stays below 2^53: what every
/// reader of JSON keeps exactly.
const N_LIVES: u32 = 1 << 28;

/// A life of a sender, see [the module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerEpoch(u32);

impl ProducerEpoch {
    /// A life that begins now, later than the one before, whatever the clock says. The clock alone
    /// keeps lives apart where nothing is known of those before. `None` when there are no more.
    pub fn begin(now: Timestamp, before: Option<Self>) -> Option<Self> {
        let by_clock = now.as_ns().saturating_sub(FIRST_DAY_NS).div_euclid(NS_PER_LIFE);
        let by_clock = by_clock.clamp(0, i64::from(N_LIVES - 1)) as u32;
        let next = before.map_or(0, |before| before.0.saturating_add(1));
        Some(Self(by_clock.max(next))).filter(|life| life.0 < N_LIVES)
    }

    fn run(self, lane: Lane) -> u64 {
        u64::from(self.0) * 2 + lane as u64
    }
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Metrics = 0,
    Events = 1,
}

/// What a sender must know to go on: with devices after it stopped in order, without while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The newest life that was begun.
    pub life: ProducerEpoch,
    /// The next `seq` of metrics and that of events, where there were any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<DeviceName, (Option<u64>, Option<u64>)>,
}

/// Readings that were left without a number, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unnumbered {
    /// Events from before this life: a source may tell them again, and they are stored once.
    pub n_before: u64,
    /// More than [`MAX_DEVICES`] devices.
    pub n_devices_full: u64,
    /// A counter was used up, and no new life could be begun.
    pub n_no_life: u64,
}

/// The counters of a sender.
#[derive(Debug)]
pub struct Sequencer {
    life: ProducerEpoch,
    began_at: Timestamp,
    devices: HashMap<DeviceName, [Counter; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    /// Nothing was counted in this life.
    Unused,
    /// The next `seq`.
    Next(u64),
    /// The run has no more numbers.
    UsedUp,
}

/// Why there is no number.
enum Refusal {
    DevicesFull,
    NoLife,
}

impl Sequencer {
    /// Goes on from what was kept, in a new life. What cannot have been kept by a life before is left out.
    pub fn new(life: ProducerEpoch, kept: Option<Kept>, now: Timestamp) -> Self {
        let devices = kept.map(|kept| kept.devices).unwrap_or_default();
        let counter = |seq: Option<u64>, lane: Lane| {
            let is_ours = |seq: &u64| epoch_of(*seq) < life.run(Lane::Metrics) && epoch_of(*seq) % 2 == lane as u64;
            seq.filter(is_ours).map_or(Counter::Unused, Counter::Next)
        };
        let counters = |(metrics, events)| [counter(metrics, Lane::Metrics), counter(events, Lane::Events)];
        let devices = devices.into_iter().take(MAX_DEVICES).map(|(name, next)| (name, counters(next))).collect();
        Self { life, began_at: now, devices }
    }

    /// Gives each reading of the batch its number, in order. `renew` begins a new life: a run that is used up is
    /// followed by one of that.
    pub fn number(&mut self, batch: &mut Batch, mut renew: impl FnMut() -> Option<ProducerEpoch>) -> Unnumbered {
        let mut unnumbered = Unnumbered::default();
        for metric in &mut batch.metrics {
            match self.next(&metric.source_device, Lane::Metrics, &mut renew) {
                Ok(seq) => metric.seq = Some(seq),
                Err(refusal) => unnumbered.count(&refusal),
            }
        }
        for event in &mut batch.events {
            if event.timestamp < self.began_at {
                unnumbered.n_before += 1;
                continue;
            }
            match self.next(&event.source_device, Lane::Events, &mut renew) {
                Ok(seq) => event.seq = Some(seq),
                Err(refusal) => unnumbered.count(&refusal),
            }
        }
        unnumbered
    }

    /// The counters, for the next life. Give no number afterwards.
    pub fn keep(&self) -> Kept {
        let next = |counter: Counter| match counter {
            Counter::Next(seq) => Some(seq),
            Counter::Unused | Counter::UsedUp => None,
        };
        let devices = self.devices.iter();
        let devices =
            devices.map(|(name, [metrics, events])| (name.clone(), (next(*metrics), next(*events)))).collect();
        Kept { life: self.life, devices }
    }

    fn next(
        &mut self,
        device: &DeviceName,
        lane: Lane,
        renew: &mut impl FnMut() -> Option<ProducerEpoch>,
    ) -> Result<u64, Refusal> {
        if !self.devices.contains_key(device) {
            if self.devices.len() >= MAX_DEVICES {
                return Err(Refusal::DevicesFull);
            }
            self.devices.insert(device.clone(), [Counter::Unused; 2]);
        }
        let counters = self.devices.get_mut(device).ok_or(Refusal::DevicesFull)?;
        let counter = &mut counters[lane as usize];
        let seq = match *counter {
            Counter::Next(seq) => seq,
            Counter::Unused => seq_of(self.life.run(lane), 0),
            Counter::UsedUp => {
                self.life = renew().filter(|life| *life > self.life).ok_or(Refusal::NoLife)?;
                seq_of(self.life.run(lane), 0)
            }
        };
        let is_last = number_of(seq) == SEQUENCES_PER_EPOCH - 1;
        *counter = if is_last { Counter::UsedUp } else { Counter::Next(seq + 1) };
        Ok(seq)
    }
}

impl Unnumbered {
    fn count(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::DevicesFull => self.n_devices_full += 1,
            Refusal::NoLife => self.n_no_life += 1,
        }
    }
}
