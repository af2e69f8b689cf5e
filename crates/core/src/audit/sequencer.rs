//! Assigns sequence numbers, as Spindle's daemon does: per device, one counter for metrics and one for events.
//!
//! Two counters, because metrics and events travel separately: an event overtakes metrics that wait. The publisher
//! keeps the order within each all the way into the stream, so a kill cuts off the end of an epoch and leaves no gap
//! in it. (A kill while a lost connection is being restored under load can still leave one: that data is lost.)
//!
//! A *producer epoch* is the period for which a sender knows its counters; it owns two epochs of sequences, one for
//! metrics and one for events. A sender that shuts down in order [saves](Sequencer::keep) its counters and continues
//! them in its next producer epoch, so that losses in between stay visible. A killed sender cannot know what it had
//! sent: all its devices start over, in epochs never used before.
//!
//! Pure: the clock is an argument. The caller persists the producer epoch, and must have it on disk before it assigns
//! the first sequence in it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{SEQUENCES_PER_EPOCH, epoch_of, seq_of, sequence_of};
use crate::name::DeviceName;
use crate::timestamp::Timestamp;
use crate::wire::Batch;

/// Maximum number of devices with counters, about 100 bytes each. Data of further devices gets no `seq` and is counted.
pub const MAX_DEVICES: usize = 200_000;

/// 2024-01-01T00:00:00Z, the origin of producer epochs.
const FIRST_DAY_NS: i64 = 1_704_067_200_000_000_000;
/// Fine enough that the clock alone separates two consecutive producer epochs; coarse enough to last until 2041.
const NS_PER_EPOCH: i64 = 2_000_000_000;
/// With 28 bits for the producer epoch, one for the lane and 24 for the sequence, a `seq` stays below 2^53: every
/// JSON reader keeps it exactly.
const N_EPOCHS: u32 = 1 << 28;
/// Last epochs, 24 days of them, which no clock gives: after a clock that was wrong, a million starts still find one.
const N_RESERVED: u32 = 1 << 20;

/// Producer epoch of a sender, see [the module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerEpoch(u32);

impl ProducerEpoch {
    /// Returns a producer epoch that begins at `now` and is greater than `before`, even if the clock stepped back.
    /// Without `before`, only the clock separates it from earlier ones; so it does if `before` is the last one, which
    /// only a wrong clock or a damaged file leads to. `None` if the clock is outside 2024 to 2040, and thus wrong, and
    /// `before` leaves no epoch either.
    pub fn begin(now: Timestamp, before: Option<Self>) -> Option<Self> {
        let by_clock = now.as_ns().saturating_sub(FIRST_DAY_NS).div_euclid(NS_PER_EPOCH);
        let by_clock = u32::try_from(by_clock).ok().filter(|epoch| *epoch < N_EPOCHS - N_RESERVED);
        let next = before.and_then(|before| before.0.checked_add(1)).filter(|epoch| *epoch < N_EPOCHS);
        // `None` is less than any epoch.
        by_clock.max(next).map(Self)
    }

    fn epoch(self, lane: Lane) -> u64 {
        u64::from(self.0) * 2 + lane as u64
    }
}

/// Kind of data with a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Metrics = 0,
    Events = 1,
}

/// Persistent state of a sender: with devices after an orderly shutdown, without while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Newest producer epoch that was begun. Files of earlier versions call it `life`.
    #[serde(alias = "life")]
    pub producer_epoch: ProducerEpoch,
    /// Next `seq` of metrics and of events, if any was assigned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<DeviceName, (Option<u64>, Option<u64>)>,
}

/// Numbers of metrics and events that got no `seq`, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsequenced {
    /// Events older than this producer epoch: a source may repeat them, and the store keeps only one copy.
    pub n_before: u64,
    /// Items of devices beyond [`MAX_DEVICES`].
    pub n_devices_full: u64,
    /// Items whose counter was used up while no new producer epoch could be begun.
    pub n_no_epoch: u64,
}

/// Counters of a sender.
#[derive(Debug)]
pub struct Sequencer {
    producer_epoch: ProducerEpoch,
    began_at: Timestamp,
    devices: HashMap<DeviceName, [Counter; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    /// No sequence assigned in this producer epoch.
    Unused,
    /// Next `seq`.
    Next(u64),
    /// All sequences of the epoch are assigned.
    UsedUp,
}

/// Reason for assigning no sequence.
enum NoSequence {
    DevicesFull,
    NoEpoch,
}

impl Sequencer {
    /// Continues the saved counters in a new producer epoch. Ignores counters that no earlier producer epoch can have
    /// saved.
    pub fn new(producer_epoch: ProducerEpoch, kept: Option<Kept>, now: Timestamp) -> Self {
        let devices = kept.map(|kept| kept.devices).unwrap_or_default();
        let counter = |seq: Option<u64>, lane: Lane| {
            let is_ours =
                |seq: &u64| epoch_of(*seq) < producer_epoch.epoch(Lane::Metrics) && epoch_of(*seq) % 2 == lane as u64;
            seq.filter(is_ours).map_or(Counter::Unused, Counter::Next)
        };
        let counters = |(metrics, events)| [counter(metrics, Lane::Metrics), counter(events, Lane::Events)];
        let devices = devices.into_iter().take(MAX_DEVICES).map(|(name, next)| (name, counters(next))).collect();
        Self { producer_epoch, began_at: now, devices }
    }

    /// Assigns a `seq` to each metric and event of the batch, in order. `renew` begins a new producer epoch, whose
    /// epoch follows one that is used up.
    pub fn assign(&mut self, batch: &mut Batch, mut renew: impl FnMut() -> Option<ProducerEpoch>) -> Unsequenced {
        let mut unsequenced = Unsequenced::default();
        for metric in &mut batch.metrics {
            match self.next(&metric.source_device, Lane::Metrics, &mut renew) {
                Ok(seq) => metric.seq = Some(seq),
                Err(reason) => unsequenced.count(&reason),
            }
        }
        for event in &mut batch.events {
            if event.timestamp < self.began_at {
                unsequenced.n_before += 1;
                continue;
            }
            match self.next(&event.source_device, Lane::Events, &mut renew) {
                Ok(seq) => event.seq = Some(seq),
                Err(reason) => unsequenced.count(&reason),
            }
        }
        unsequenced
    }

    /// Returns the counters for the next producer epoch. Assign nothing afterwards.
    pub fn keep(&self) -> Kept {
        let next = |counter: Counter| match counter {
            Counter::Next(seq) => Some(seq),
            Counter::Unused | Counter::UsedUp => None,
        };
        let devices = self.devices.iter();
        let devices =
            devices.map(|(name, [metrics, events])| (name.clone(), (next(*metrics), next(*events)))).collect();
        Kept { producer_epoch: self.producer_epoch, devices }
    }

    fn next(
        &mut self,
        device: &DeviceName,
        lane: Lane,
        renew: &mut impl FnMut() -> Option<ProducerEpoch>,
    ) -> Result<u64, NoSequence> {
        if !self.devices.contains_key(device) {
            if self.devices.len() >= MAX_DEVICES {
                return Err(NoSequence::DevicesFull);
            }
            self.devices.insert(device.clone(), [Counter::Unused; 2]);
        }
        let counters = self.devices.get_mut(device).ok_or(NoSequence::DevicesFull)?;
        let counter = &mut counters[lane as usize];
        let seq = match *counter {
            Counter::Next(seq) => seq,
            Counter::Unused => seq_of(self.producer_epoch.epoch(lane), 0),
            Counter::UsedUp => {
                let renewed = renew().filter(|renewed| *renewed > self.producer_epoch);
                self.producer_epoch = renewed.ok_or(NoSequence::NoEpoch)?;
                seq_of(self.producer_epoch.epoch(lane), 0)
            }
        };
        let is_last = sequence_of(seq) == SEQUENCES_PER_EPOCH - 1;
        *counter = if is_last { Counter::UsedUp } else { Counter::Next(seq + 1) };
        Ok(seq)
    }
}

impl Unsequenced {
    fn count(&mut self, reason: &NoSequence) {
        match reason {
            NoSequence::DevicesFull => self.n_devices_full += 1,
            NoSequence::NoEpoch => self.n_no_epoch += 1,
        }
    }
}
