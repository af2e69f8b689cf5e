//! Plan of the faults. Each hour after the epoch is planned separately from seed and hour, so that a long gap can be
//! skipped; planned events wait here until they are due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::EventRates;
use super::fault;
use super::hour::{HOUR_NS, PlannedHour};
use super::site::Site;
use super::story;
use super::truth::Truth;
use spindle_core::timestamp::Timestamp;
use spindle_core::wire::Event;

/// Hours planned and recorded as truth ahead of the last tick.
pub const HORIZON_HOURS: i64 = 6;
/// Age above which events are not emitted after a gap, to avoid a flood of old alarms.
pub const MAX_EVENT_AGE: Duration = Duration::from_secs(60);

/// Hours before now that are planned after a gap. The longest fault, a wear-out with its replacement, ends within nine, so
/// earlier ones have left no trace.
const LOOK_BACK_HOURS: i64 = 24;
/// Time for which a returned truth stays in memory after its end.
const TRUTH_RETENTION: Duration = Duration::from_secs(7 * 86_400);
/// Largest fleet to which the configured rates apply unchanged.
const SMALL_FLEET: f64 = 20.0;
/// Upper bound of all rates, so that no configuration can exhaust memory.
const MAX_PER_HOUR: f64 = 10_000.0;

/// Hourly rates for the size of the fleet, each in [0, [`MAX_PER_HOUR`]].
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

/// Planned events and truths.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    epoch: Timestamp,
    rates: HourlyRates,
    /// Rates of the hours that begin before a time, if the fleet has a past.
    past: Option<(HourlyRates, Timestamp)>,
    /// Truths that no hour has planned, until the plan reaches the hour in which they begin.
    certain: Vec<Truth>,
    /// First hour after the epoch that is not planned.
    next_hour: i64,
    /// Events not due yet; the number separates those of one instant, in the order of planning.
    pending: BTreeMap<(Timestamp, u64), Event>,
    n_planned: u64,
    /// Ordered by start.
    truth: Vec<Truth>,
    /// Number of truths at the front of `truth` that were returned.
    n_returned: usize,
}

impl Plan {
    pub(super) fn new(seed: u64, epoch: Timestamp, rates: &EventRates, n_devices: usize) -> Self {
        Self {
            seed,
            epoch,
            rates: HourlyRates::new(rates, n_devices),
            past: None,
            certain: Vec::new(),
            next_hour: 0,
            pending: BTreeMap::new(),
            n_planned: 0,
            truth: Vec::new(),
            n_returned: 0,
        }
    }

    /// Takes what is certain to happen around the end of the fleet's past, and makes the hours before calmer.
    pub(super) fn with_past(mut self, rates: &EventRates, site: &mut Site, until: Timestamp) -> Self {
        self.past = Some((HourlyRates::new(&rates.of_the_past(), site.devices.len()), until));
        if let Some(mut hour) = PlannedHour::new(self.seed, self.epoch, story::NUMBER, LOOK_BACK_HOURS) {
            story::plan(&mut hour, until, site);
            self.certain = std::mem::take(&mut hour.truth);
            self.keep(hour.events);
        }
        self
    }

    /// Plans the hours up to [`HORIZON_HOURS`] after `now` that are not planned yet.
    pub(super) fn extend(&mut self, now: Timestamp, site: &mut Site) {
        if site.devices.is_empty() {
            return;
        }
        let hour_now = now.as_ns().saturating_sub(self.epoch.as_ns()).div_euclid(HOUR_NS);
        self.next_hour = self.next_hour.max(hour_now - LOOK_BACK_HOURS);
        while self.next_hour <= hour_now + HORIZON_HOURS {
            self.drop_truth_before(now.minus(TRUTH_RETENTION));
            if let Some(hour) = PlannedHour::new(self.seed, self.epoch, self.next_hour, LOOK_BACK_HOURS) {
                self.plan_hour(hour, site);
            }
            self.next_hour += 1;
        }
    }

    fn plan_hour(&mut self, mut hour: PlannedHour, site: &mut Site) {
        let rates = self.past.filter(|(_, until)| hour.at(0.0) < *until).map_or(self.rates, |(rates, _)| rates);
        // Wear-outs and outages first: a silent device cannot report anything else.
        fault::plan_wear_outs(&mut hour, rates.wear_outs, site);
        fault::plan_fan_failures(&mut hour, rates.fan_failures, site);
        fault::plan_shelf_outages(&mut hour, rates.shelf_outages, site);
        fault::plan_corruptions(&mut hour, rates.corruptions, site);
        fault::plan_unauthorized_accesses(&mut hour, rates.unauthorized_accesses, site);
        let end = hour.at(3600.0);
        hour.truth.extend(self.certain.extract_if(.., |truth| truth.begins_at() < end));
        self.keep(hour.events);
        hour.truth.sort_by_key(Truth::begins_at);
        self.truth.append(&mut hour.truth);
    }

    /// Keeps events until they are due.
    fn keep(&mut self, events: Vec<Event>) {
        for event in events {
            self.pending.insert((event.timestamp, self.n_planned), event);
            self.n_planned += 1;
        }
    }

    /// Returns the events in (`oldest`, `now`]; drops earlier ones.
    pub(super) fn take_due(&mut self, oldest: Timestamp, now: Timestamp) -> Vec<Event> {
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
        let new = self.truth.get(self.n_returned..).unwrap_or_default().to_vec();
        self.n_returned = self.truth.len();
        new
    }

    fn drop_truth_before(&mut self, oldest: Timestamp) {
        let returned = self.truth.iter().take(self.n_returned);
        let n_old = returned.take_while(|truth| truth.ends_at() < oldest).count();
        self.truth.drain(..n_old);
        self.n_returned -= n_old;
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
