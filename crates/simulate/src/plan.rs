//! The plan of what goes wrong. Each hour after the epoch is planned by itself from seed and hour, so that
//! a long gap can be skipped; what is planned waits here as finished events until it is due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::EventRates;
use super::fault;
use super::hour::{HOUR_NS, PlannedHour};
use super::site::Site;
use super::truth::Truth;
use spindle_core::timestamp::Timestamp;
use spindle_core::wire::Event;

/// How far ahead of the last tick everything is planned and written down as truth, in hours.
pub const HORIZON_HOURS: i64 = 6;
/// Events older than this are not emitted after a gap: a flood of old alarms helps nobody.
pub const MAX_EVENT_AGE: Duration = Duration::from_secs(60);

/// Hours before now that are planned after a gap. The longest fault, a wear-out with its replacement, is
/// over in nine, so what began earlier has left no trace.
const LOOK_BACK_HOURS: i64 = 24;
/// How long a truth that has been handed out stays in memory after it is over.
const TRUTH_RETENTION: Duration = Duration::from_secs(7 * 86_400);
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
            if let Some(hour) = PlannedHour::new(self.seed, self.epoch, self.next_hour, LOOK_BACK_HOURS) {
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
}
