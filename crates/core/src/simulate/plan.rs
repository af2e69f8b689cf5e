//! The plan of what goes wrong. Each hour after the epoch is planned by itself from seed and hour, so that
//! a long gap can be skipped; what is planned waits here as finished events until it is due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::EventRates;
use super::fault;
use super::random::{Purpose, RandomStream, event_id};
use super::site::Site;
use super::truth::Truth;
use crate::name::EventType;
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event};
use uuid::Uuid;

/// How far ahead of the last tick everything is planned and written down as truth, in hours.
pub const HORIZON_HOURS: i64 = 6;
/// Events older than this are not emitted after a gap: a flood of old alarms helps nobody.
pub const MAX_EVENT_AGE: Duration = Duration::from_secs(60);

/// Hours before now that are planned after a gap. The longest fault, a wear-out with its replacement, is
/// over in nine, so what began earlier has left no trace.
const LOOK_BACK_HOURS: i64 = 24;
/// How long a truth that has been handed out stays in memory after it is over.
const TRUTH_RETENTION: Duration = Duration::from_secs(7 * 86_400);
const HOUR_NS: i64 = 3_600_000_000_000;
/// Up to this many devices, rates are what they are configured to be.
const SMALL_FLEET: f64 = 20.0;
/// Bound on any rate, so that no configuration can exhaust the memory.
const MAX_PER_HOUR: f64 = 10_000.0;

/// Rates per hour for this size of fleet, each in [0, [`MAX_PER_HOUR`]].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HourlyRates {
    pub(super) unauthorized_accesses: f64,
    pub(super) corruptions: f64,
    pub(super) fan_failures: f64,
    pub(super) shelf_outages: f64,
    pub(super) wear_outs: f64,
}

impl HourlyRates {
    pub(super) fn new(rates: &EventRates, n_devices: usize) -> Self {
        let n_devices = n_devices as f64;
        let growth = 1.0 + 0.5 * (n_devices / SMALL_FLEET).max(1.0).log10();
        let bounded = |rate: f64| if rate > 0.0 { rate.min(MAX_PER_HOUR) } else { 0.0 };
        let wear_outs_per_day = (rates.wear_out_share_per_day * n_devices).max(rates.min_wear_outs_per_day);
        Self {
            unauthorized_accesses: bounded(rates.unauthorized_accesses_per_hour * growth),
            corruptions: bounded(rates.corruptions_per_hour * growth),
            fan_failures: bounded(rates.fan_failures_per_hour * growth),
            shelf_outages: bounded(rates.shelf_outages_per_hour * growth),
            wear_outs: bounded(wear_outs_per_day / 24.0),
        }
    }
}

/// What is planned, and what of it has been told.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    epoch: Timestamp,
    rates: HourlyRates,
    /// The first hour after the epoch that is not planned.
    next_hour: i64,
    /// Events to come; the number keeps those of one instant apart, in the order they were planned.
    pending: BTreeMap<(Timestamp, u64), Event>,
    n_planned: u64,
    /// In order of beginning.
    truth: Vec<Truth>,
    /// How many at the front of `truth` have been handed out.
    n_handed_out: usize,
}

impl Plan {
    pub(super) fn new(seed: u64, epoch: Timestamp, rates: &EventRates, n_devices: usize) -> Self {
        Self {
            seed,
            epoch,
            rates: HourlyRates::new(rates, n_devices),
            next_hour: 0,
            pending: BTreeMap::new(),
            n_planned: 0,
            truth: Vec::new(),
            n_handed_out: 0,
        }
    }

    /// Plans every hour up to [`HORIZON_HOURS`] after `now` that is not planned yet.
    pub(super) fn extend(&mut self, now: Timestamp, site: &mut Site) {
        if site.devices.is_empty() {
            return;
        }
        let hour_now = now.as_ns().saturating_sub(self.epoch.as_ns()).div_euclid(HOUR_NS);
        self.next_hour = self.next_hour.max(hour_now - LOOK_BACK_HOURS);
        while self.next_hour <= hour_now + HORIZON_HOURS {
            self.forget_truth_before(now.minus(TRUTH_RETENTION));
            if let Some(hour) = PlannedHour::new(self.seed, self.epoch, self.next_hour) {
                self.plan_hour(hour, site);
            }
            self.next_hour += 1;
        }
    }

    fn plan_hour(&mut self, mut hour: PlannedHour, site: &mut Site) {
        // Wear-outs and outages first: a silent device cannot report anything else.
        fault::plan_wear_outs(&mut hour, self.rates.wear_outs, site);
        fault::plan_fan_failures(&mut hour, self.rates.fan_failures, site);
        fault::plan_shelf_outages(&mut hour, self.rates.shelf_outages, site);
        fault::plan_corruptions(&mut hour, self.rates.corruptions, site);
        fault::plan_unauthorized_accesses(&mut hour, self.rates.unauthorized_accesses, site);
        for event in hour.events {
            self.pending.insert((event.timestamp, self.n_planned), event);
            self.n_planned += 1;
        }
        hour.truth.sort_by_key(Truth::begins_at);
        self.truth.append(&mut hour.truth);
    }

    /// The events in (`last`, `now`] that are not too old; those before are dropped.
    pub(super) fn take_due(&mut self, last: Timestamp, now: Timestamp) -> Vec<Event> {
        let oldest = last.max(now.minus(MAX_EVENT_AGE));
        let mut events = Vec::new();
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let event = entry.remove();
            if event.timestamp > oldest {
                events.push(event);
            }
        }
        events
    }

    pub(super) fn truth(&self) -> &[Truth] {
        &self.truth
    }

    pub(super) fn new_truth(&mut self) -> Vec<Truth> {
        let new = self.truth.get(self.n_handed_out..).unwrap_or_default().to_vec();
        self.n_handed_out = self.truth.len();
        new
    }

    fn forget_truth_before(&mut self, oldest: Timestamp) {
        let handed_out = self.truth.iter().take(self.n_handed_out);
        let n_old = handed_out.take_while(|truth| truth.ends_at() < oldest).count();
        self.truth.drain(..n_old);
        self.n_handed_out -= n_old;
    }
}

/// One hour being planned.
#[derive(Debug)]
pub(super) struct PlannedHour {
    seed: u64,
    epoch: Timestamp,
    hour: i64,
    start: Timestamp,
    events: Vec<Event>,
    pub(super) truth: Vec<Truth>,
}

impl PlannedHour {
    /// `None` for an hour that reaches beyond what a [`Timestamp`] can say.
    fn new(seed: u64, epoch: Timestamp, hour: i64) -> Option<Self> {
        let start_ns = hour.checked_mul(HOUR_NS)?.checked_add(epoch.as_ns())?;
        // The longest fault must end within the range, too.
        start_ns.checked_add(LOOK_BACK_HOURS * HOUR_NS)?;
        let start = Timestamp::from_ns(start_ns);
        Some(Self { seed, epoch, hour, start, events: Vec::new(), truth: Vec::new() })
    }

    /// The random numbers for one kind of fault in this hour.
    pub(super) fn random(&self, purpose: Purpose) -> RandomStream {
        RandomStream::new(self.seed, purpose, self.hour as u64)
    }

    /// Whether this is the fleet's first hour.
    pub(super) fn is_first(&self) -> bool {
        self.hour == 0
    }

    /// The instant so many seconds into the hour.
    pub(super) fn at(&self, seconds: f64) -> Timestamp {
        self.start.plus(Duration::from_secs_f64(seconds.max(0.0)))
    }

    /// When something that happens `per_hour` times an hour happens in this one: spread evenly, with
    /// chance inside each part, so that there is neither a long silence nor a crowd.
    pub(super) fn occurrences(&self, per_hour: f64, random: &mut RandomStream) -> Vec<Timestamp> {
        let n_parts = (per_hour + random.unit()).floor() as u32;
        let part_seconds = 3600.0 / f64::from(n_parts.max(1));
        (0..n_parts).map(|part| self.at((f64::from(part) + random.unit()) * part_seconds)).collect()
    }

    /// Plans an event and gives its id, which depends on nothing but seed, epoch and the event itself.
    pub(super) fn event(&mut self, site: &Site, news: News) -> Uuid {
        let device = site.devices[news.device].name.clone();
        let count = self.events.len() as u64;
        let numbers = [self.seed, self.epoch.as_ns() as u64, news.at.as_ns() as u64, self.hour as u64, count];
        let id = event_id(&numbers, &[&device, news.event_type]);
        self.events.push(Event {
            id,
            criticality: Criticality::new(u64::from(news.criticality)).unwrap_or(Criticality::MAX),
            timestamp: news.at,
            source_device: device,
            event_type: EventType::new(news.event_type).expect("event types are short printable constants"),
            event_message: Some(news.message),
            seq: None,
            labels: None,
        });
        id
    }
}

/// What an event is to say.
#[derive(Debug)]
pub(super) struct News {
    /// Index of the device that reports it.
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
    fn rates_grow_slowly_and_stay_bounded() {
        let rates = |n: usize| HourlyRates::new(&EventRates::default(), n);
        assert_eq!(rates(3), rates(20));
        assert!((rates(2_000).corruptions / rates(20).corruptions - 2.0).abs() < 1e-9);
        assert!(rates(100_000).corruptions < 3.0 * rates(20).corruptions);
        for rate in [f64::NAN, f64::INFINITY, -1.0] {
            let bad = EventRates { corruptions_per_hour: rate, wear_out_share_per_day: rate, ..EventRates::NONE };
            let bounded = HourlyRates::new(&bad, 5);
            assert!((0.0..=MAX_PER_HOUR).contains(&bounded.corruptions), "{rate}");
            assert!((0.0..=MAX_PER_HOUR).contains(&bounded.wear_outs), "{rate}");
        }
    }

    #[test]
    fn occurrences_are_spread_over_the_hour() {
        let hour = PlannedHour::new(1, Timestamp::from_seconds(0), 3).unwrap();
        let mut random = hour.random(Purpose::Corruptions);
        let occurrences = hour.occurrences(50.0, &mut random);
        assert_eq!(occurrences.len(), 50);
        assert!(occurrences.windows(2).all(|pair| pair[1].seconds_since(pair[0]) < 150.0));
        assert!(hour.start <= occurrences[0] && occurrences[49] < hour.at(3600.0));
        let n_rare: usize = (0..1000).map(|_| hour.occurrences(0.25, &mut random).len()).sum();
        assert!((200..300).contains(&n_rare), "{n_rare}");
    }
}
