//! Answers from what the detector published: incidents, the history of verdicts, and anomalies.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Basis;
use crate::health::HealthSegment;
use crate::incidents::Incident;
use crate::name::{DeviceName, EventType};
use crate::records::EventRecord;
use crate::timestamp::Timestamp;
use crate::wire::Criticality;

/// Result of `incidents`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentList {
    /// Incidents, worst first.
    pub data: Vec<Incident>,
    /// Counts over all pages.
    pub summary: IncidentCounts,
    /// Parameters that request the next page, if there are more rows.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// Data it is based on.
    pub basis: Basis,
    /// Number of rows before this page. Known to the client, so not sent.
    #[serde(skip)]
    pub offset: u64,
    /// `true` if they are those of the present. Known to the client, so not sent.
    #[serde(skip)]
    pub present: bool,
}

/// Number of incidents by state, and what bounds the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentCounts {
    /// Not over, and nobody works on them.
    pub n_open: u64,
    /// Not over, and somebody works on them.
    pub n_acknowledged: u64,
    /// Over since the start of the window.
    pub n_closed: u64,
    /// Event types with more events than one answer reads: older incidents of these may be missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<EventType>,
    /// `true` if there are more events of other types that call a person (criticality 8 and above) than one answer reads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calls_cut_off: bool,
    /// Newest verdict of the detector about any device, within 25 hours. Without one, values beyond a limit make no
    /// incident.
    pub detector_seen: Option<Timestamp>,
}

/// Result of `health_history`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthHistory {
    /// Segments without gaps, oldest first.
    pub data: Vec<HealthSegment>,
    /// Parameters that request the time before the first segment, if it was cut off.
    pub next: Option<BTreeMap<&'static str, serde_json::Value>>,
    /// Data it is based on.
    pub basis: Basis,
}

/// Anomaly of a metric, or of several that agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnomalyRow {
    /// Time of the evidence.
    pub time: Timestamp,
    /// Device.
    pub source_device: DeviceName,
    /// Event type.
    pub event_type: EventType,
    /// 1 to 10; below 7 it calls nobody.
    pub criticality: Criticality,
    /// Metric, or the kinds of metrics that agree: `latency`, `temperature`, `load` or `other`.
    pub metric: Option<String>,
    /// Value, in the metric's unit.
    pub value: Option<f64>,
    /// Lower end of the expected range.
    pub expected_low: Option<f64>,
    /// Upper end of the expected range.
    pub expected_high: Option<f64>,
    /// Oddity, 0 to 1.
    pub score: Option<f64>,
    /// Message for people.
    pub event_message: Option<String>,
}

impl From<EventRecord> for AnomalyRow {
    fn from(record: EventRecord) -> Self {
        let event = record.event;
        let label = |name: &str| event.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
        let number = |name: &str| label(name)?.parse().ok().filter(|number: &f64| number.is_finite());
        Self {
            metric: label("metric").or_else(|| label("families")),
            value: number("value"),
            expected_low: number("expected_low"),
            expected_high: number("expected_high"),
            score: number("score"),
            time: event.timestamp,
            source_device: event.source_device,
            event_type: event.event_type,
            criticality: event.criticality,
            event_message: event.event_message,
        }
    }
}
