//! Decisions of operators about findings: an accepted finding leaves the verdict, an acknowledged device has somebody
//! working on it. Both are events, so they are durable, audited, and stored by every store; anybody who may publish
//! events can decide.
//!
//! A decision ends at its label `until`. An accepted value counts again once it is exceeded, an accepted event once
//! another one follows it.

use std::time::Duration;

use serde::Serialize;

use crate::event_id::EventId;
use crate::name::{DeviceName, EventType, MetricType};
use crate::records::EventRecord;
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event, Labels};

/// Event type of an accepted finding, with the labels `metric`, `until` and, for a value, `value`.
pub const FINDING_ACCEPTED: &str = "FindingAccepted";
/// Event type of an acknowledgment, with the label `until`.
pub const INCIDENT_ACKNOWLEDGED: &str = "IncidentAcknowledged";
/// Longest time for which a decision holds.
pub const MAX_DECISION: Duration = Duration::from_secs(366 * 86_400);

/// Decision about one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Device.
    pub device: DeviceName,
    /// Finding that is accepted; `None` acknowledges the device.
    pub accepts: Option<AcceptedFinding>,
    /// Reason, for people.
    pub reason: String,
    /// End.
    pub until: Timestamp,
}

/// Finding of a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedFinding {
    /// Metric type or event type of the finding.
    pub metric: MetricType,
    /// Value of the metric, up to which it is accepted; `None` for an event.
    pub value: Option<f64>,
}

/// Decision in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionInForce {
    /// Time of the decision.
    pub since: Timestamp,
    /// End.
    pub until: Timestamp,
    /// Reason, for people.
    pub reason: Option<String>,
    /// Value up to which a finding is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl Decision {
    /// Returns the event that carries the decision.
    pub fn into_event(self, id: EventId, now: Timestamp) -> Event {
        let mut labels = Labels::from([("until".to_owned(), self.until.to_string())]);
        let name = if self.accepts.is_some() { FINDING_ACCEPTED } else { INCIDENT_ACKNOWLEDGED };
        if let Some(AcceptedFinding { metric, value }) = self.accepts {
            labels.insert("metric".to_owned(), metric.to_string());
            labels.extend(value.map(|value| ("value".to_owned(), value.to_string())));
        }
        Event {
            id,
            criticality: Criticality::MIN,
            timestamp: now,
            source_device: self.device,
            event_type: event_type(name),
            event_message: Some(self.reason),
            seq: None,
            labels: Some(Box::new(labels)),
        }
    }
}

/// Returns the event types of decisions.
pub fn event_types() -> [EventType; 2] {
    [FINDING_ACCEPTED, INCIDENT_ACKNOWLEDGED].map(event_type)
}

fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("a short printable constant is a name")
}

/// Returns the acknowledgment in force at `now`, the newest of several.
pub fn acknowledged(decisions: &[EventRecord], now: Timestamp) -> Option<DecisionInForce> {
    let records = decisions.iter().filter(|record| record.event.event_type.as_str() == INCIDENT_ACKNOWLEDGED);
    let newest = records.max_by_key(|record| (record.event.timestamp, record.received))?;
    in_force(newest, now)
}

/// Returns the decision of an event, if it is in force at `now`.
pub(crate) fn in_force(record: &EventRecord, now: Timestamp) -> Option<DecisionInForce> {
    let Event { timestamp, event_message, labels, .. } = &record.event;
    let label = |name: &str| labels.as_ref().and_then(|labels| labels.get(name));
    let until = label("until").and_then(|text| Timestamp::parse(text).ok())?;
    let until = until.min(timestamp.plus(MAX_DECISION));
    // A value that is not a number accepts nothing.
    let value = match label("value").map(|text| text.parse::<f64>()) {
        None => None,
        Some(Ok(value)) if value.is_finite() => Some(value),
        Some(_) => return None,
    };
    (*timestamp <= now && now < until).then(|| DecisionInForce {
        since: *timestamp,
        until,
        reason: event_message.clone(),
        value,
    })
}
