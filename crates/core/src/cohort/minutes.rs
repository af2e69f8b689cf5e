//! Metrics to minutes: the mean of each device's latency in a minute, and the cohort that its labels name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MAX_DEVICES;
use crate::name::DeviceName;
use crate::timestamp::Timestamp;
use crate::wire::{DeviceMetric, Labels};

const MINUTE_NS: i64 = 60_000_000_000;
/// Metric type that is compared.
const COMPARED: &str = "Latency";

/// Value of one device in one minute.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerSample {
    /// Name of the cohort.
    pub cohort: String,
    /// Value; a latency in any unit, the same for all devices of the cohort.
    pub value: f64,
}

/// Values of one minute.
pub type PeerSamples = BTreeMap<DeviceName, PeerSample>;

/// Minute in the making. Metrics come in order of time; one that is earlier than the minute in the making is ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Minutes {
    minute: Option<i64>,
    /// Sum and number of values.
    sums: BTreeMap<DeviceName, (f64, u32)>,
    /// Labels need not be on every metric, so the last cohort of each device is kept.
    cohorts: BTreeMap<DeviceName, String>,
    n_late: u64,
}

impl Minutes {
    /// Adds a metric. Returns the minute before it, with its start, once a metric of a later minute arrives. Ignores
    /// metrics other than latency and devices without a cohort.
    pub fn push(&mut self, metric: &DeviceMetric) -> Option<(Timestamp, PeerSamples)> {
        if &*metric.metric_type != COMPARED {
            return None;
        }
        self.learn_cohort(metric);
        let minute = metric.timestamp.as_ns().div_euclid(MINUTE_NS);
        let mut closed = None;
        match self.minute {
            Some(current) if minute < current => {
                self.n_late += 1;
                return None;
            }
            Some(current) if minute > current => closed = self.close(),
            _ => {}
        }
        self.minute = Some(minute);
        if self.cohorts.contains_key(&metric.source_device) {
            let (sum, n_values) = self.sums.entry(metric.source_device.clone()).or_default();
            *sum += metric.value;
            *n_values += 1;
        }
        closed
    }

    /// Returns the minute in the making, with its start, and begins a new one; `None` if it holds no value.
    pub fn close(&mut self) -> Option<(Timestamp, PeerSamples)> {
        let minute = self.minute.take()?;
        let mut samples = PeerSamples::new();
        for (device, (sum, n_values)) in std::mem::take(&mut self.sums) {
            if let Some(cohort) = self.cohorts.get(&device) {
                samples.insert(device, PeerSample { cohort: cohort.clone(), value: sum / f64::from(n_values) });
            }
        }
        (!samples.is_empty()).then(|| (Timestamp::from_ns(minute.saturating_mul(MINUTE_NS)), samples))
    }

    /// Returns the number of metrics ignored because their minute was closed.
    pub fn n_late(&self) -> u64 {
        self.n_late
    }

    fn learn_cohort(&mut self, metric: &DeviceMetric) {
        let Some(cohort) = metric.labels.as_deref().and_then(cohort_of) else { return };
        let full = self.cohorts.len() >= MAX_DEVICES;
        match self.cohorts.get_mut(&metric.source_device) {
            Some(known) => {
                if *known != cohort {
                    *known = cohort;
                }
            }
            None if full => {}
            None => {
                self.cohorts.insert(metric.source_device.clone(), cohort);
            }
        }
    }
}

/// Returns the name of the cohort that the labels put a device in: its enclosure, otherwise its model; each with the
/// class if it is labelled, since a shelf may hold both disks and flash.
fn cohort_of(labels: &Labels) -> Option<String> {
    let named = |key: &str| labels.get(key).filter(|value| !value.is_empty());
    let class = named("class").map_or("", String::as_str);
    match (named("enclosure"), named("model")) {
        (Some(enclosure), _) => Some(format!("enclosure {enclosure} {class}")),
        (None, Some(model)) => Some(format!("model {model} {class}")),
        (None, None) => None,
    }
}
