//! Knowledge of a store about each device, as far as health reads it, and the verdict by it: the answer of
//! `device_health` at that moment.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use spindle_core::health::{self, Evidence, HealthReason, PAGING_CRITICALITY, Verdict};
use spindle_core::judge::events::{
    ANOMALIES_AGREE, DEVICE_SLOW, FAILURE_PREDICTED, FAILURE_RISK_RAISED, LATENCY_RAISED, METRIC_ANOMALY,
};
use spindle_core::records::{Arrival, EventRecord, LatestSample, Window};
use spindle_core::{DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};

/// Window of `device_health` unless it is asked for another.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Types of events by which the detector accuses a device.
const ACCUSATIONS: [&str; 5] = [ANOMALIES_AGREE, DEVICE_SLOW, FAILURE_PREDICTED, FAILURE_RISK_RAISED, LATENCY_RAISED];

/// Newest values and events of all devices.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    devices: HashMap<DeviceName, Known>,
}

#[derive(Debug, Default)]
struct Known {
    latest: BTreeMap<MetricType, LatestSample>,
    /// Newest event of each type that can weigh.
    events: BTreeMap<EventType, EventRecord>,
    arrival: Option<Arrival>,
    /// Time between its two newest arrivals.
    rhythm: Option<Duration>,
}

impl Knowledge {
    pub(super) fn metric(&mut self, metric: &DeviceMetric, received: Timestamp) {
        let known = self.devices.entry(metric.source_device.clone()).or_default();
        if known.arrival.is_none_or(|before| before.measured < metric.timestamp) {
            let seconds = known.arrival.map(|before| metric.timestamp.seconds_since(before.measured));
            known.rhythm = seconds.map(Duration::from_secs_f64).or(known.rhythm);
            known.arrival = Some(Arrival { received, measured: metric.timestamp });
        }
        let DeviceMetric { metric_type, timestamp: time, value, .. } = metric;
        known
            .latest
            .insert(metric_type.clone(), LatestSample { metric_type: metric_type.clone(), time: *time, value: *value });
    }

    pub(super) fn event(&mut self, event: &Event, received: Timestamp) {
        let weighs = health::is_deciding(&event.event_type) || event.criticality.level() >= PAGING_CRITICALITY;
        if weighs && event.event_type.as_str() != METRIC_ANOMALY {
            let known = self.devices.entry(event.source_device.clone()).or_default();
            known.events.insert(event.event_type.clone(), EventRecord { event: event.clone(), received });
        }
    }

    /// Returns all devices seen so far, in no order.
    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceName> {
        self.devices.keys()
    }

    pub(super) fn verdict(&self, device: &DeviceName, now: Timestamp) -> Option<Verdict> {
        self.devices.get(device).map(|known| known.verdict(now))
    }
}

impl Known {
    fn verdict(&self, now: Timestamp) -> Verdict {
        let window = Window::ending_at(now.plus(Duration::from_nanos(1)), WINDOW);
        let latest: Vec<LatestSample> =
            self.latest.values().filter(|sample| window.contains(sample.time)).cloned().collect();
        let events: Vec<EventRecord> = self.events.values().cloned().collect();
        health::judge(&Evidence {
            window,
            latest: &latest,
            earlier: &[],
            events: &events,
            events_cut_off: false,
            last_seen: self.arrival.map(|arrival| arrival.measured),
            arrival: self.arrival,
            rhythm: self.rhythm,
            decisions: &[],
        })
    }
}

/// Returns the first reason that accuses the device by judgement: a value at its limit or a finding of the detector from
/// `since` on. What a device reports of itself, and a full one, are no judgement.
pub(super) fn accusation(verdict: &Verdict, since: Timestamp) -> Option<&HealthReason> {
    verdict.reasons.iter().find(|reason| {
        let is_value = reason.limit.is_some() && reason.metric != "CapacityUsed";
        let is_finding = ACCUSATIONS.contains(&reason.metric.as_str());
        (is_value || is_finding) && reason.time.is_some_and(|time| time >= since)
    })
}
