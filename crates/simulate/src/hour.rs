//! One hour of the plan: its random numbers, and the events and truths planned for it so far.

use std::time::Duration;

use super::random::{Purpose, RandomStream, event_id};
use super::site::Site;
use super::truth::Truth;
use spindle_core::name::EventType;
use spindle_core::timestamp::Timestamp;
use spindle_core::wire::{Criticality, Event};
use uuid::Uuid;

pub(super) const HOUR_NS: i64 = 3_600_000_000_000;

/// Hour under planning.
#[derive(Debug)]
pub(super) struct PlannedHour {
    seed: u64,
    epoch: Timestamp,
    hour: i64,
    start: Timestamp,
    pub(super) events: Vec<Event>,
    pub(super) truth: Vec<Truth>,
}

impl PlannedHour {
    /// `None` if the hour, or the longest fault that begins in it, ends beyond the range of a [`Timestamp`].
    pub(super) fn new(seed: u64, epoch: Timestamp, hour: i64, longest_fault_hours: i64) -> Option<Self> {
        let start_ns = hour.checked_mul(HOUR_NS)?.checked_add(epoch.as_ns())?;
        start_ns.checked_add(longest_fault_hours * HOUR_NS)?;
        let start = Timestamp::from_ns(start_ns);
        Some(Self { seed, epoch, hour, start, events: Vec::new(), truth: Vec::new() })
    }

    /// Returns the random numbers for one kind of fault in this hour.
    pub(super) fn random(&self, purpose: Purpose) -> RandomStream {
        RandomStream::new(self.seed, purpose, self.hour as u64)
    }

    /// Returns the start of the fleet.
    pub(super) fn epoch(&self) -> Timestamp {
        self.epoch
    }

    /// Returns `true` for the first hour of the fleet.
    pub(super) fn is_first(&self) -> bool {
        self.hour == 0
    }

    /// Returns the instant `seconds` into the hour.
    pub(super) fn at(&self, seconds: f64) -> Timestamp {
        self.start.plus(Duration::from_secs_f64(seconds.max(0.0)))
    }

    /// Returns the times in this hour of something that happens `per_hour` times an hour: one random time in each of
    /// equal parts, so that there are neither long silences nor bursts.
    pub(super) fn occurrences(&self, per_hour: f64, random: &mut RandomStream) -> Vec<Timestamp> {
        let n_parts = (per_hour + random.unit()).floor() as u32;
        let part_seconds = 3600.0 / f64::from(n_parts.max(1));
        (0..n_parts).map(|part| self.at((f64::from(part) + random.unit()) * part_seconds)).collect()
    }

    /// Plans an event and returns its id, which depends only on seed, epoch and the event itself.
    pub(super) fn event(&mut self, site: &Site, draft: EventDraft) -> Uuid {
        let device = site.devices[draft.device].name.clone();
        let count = self.events.len() as u64;
        let numbers = [self.seed, self.epoch.as_ns() as u64, draft.at.as_ns() as u64, self.hour as u64, count];
        let id = event_id(&numbers, &[&device, draft.event_type]);
        self.events.push(Event {
            id: id.into(),
            criticality: Criticality::new(u64::from(draft.criticality)).unwrap_or(Criticality::MAX),
            timestamp: draft.at,
            source_device: device,
            event_type: EventType::new(draft.event_type).expect("event types are short printable constants"),
            event_message: Some(draft.message),
            seq: None,
            labels: None,
        });
        id
    }
}

/// Draft of an event.
#[derive(Debug)]
pub(super) struct EventDraft {
    /// Index of the reporting device.
    pub(super) device: usize,
    pub(super) event_type: &'static str,
    /// 1 to 10.
    pub(super) criticality: u8,
    pub(super) at: Timestamp,
    pub(super) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_spread_over_the_hour() {
        let hour = PlannedHour::new(1, Timestamp::from_seconds(0), 3, 24).unwrap();
        let mut random = hour.random(Purpose::Corruptions);
        let occurrences = hour.occurrences(50.0, &mut random);
        assert_eq!(occurrences.len(), 50);
        assert!(occurrences.windows(2).all(|pair| pair[1].seconds_since(pair[0]) < 150.0));
        assert!(hour.start <= occurrences[0] && occurrences[49] < hour.at(3600.0));
        let n_rare: usize = (0..1000).map(|_| hour.occurrences(0.25, &mut random).len()).sum();
        assert!((200..300).contains(&n_rare), "{n_rare}");
    }
}
