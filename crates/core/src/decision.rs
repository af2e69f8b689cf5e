//! Decisions of operators about findings: an accepted finding leaves the verdict, an acknowledged device has somebody
//! working on it. Both are events, so they are durable, audited, and stored by every store; anybody who may publish
//! events can decide.
//!
//! A decision ends at its label `until`. An accepted value counts again once it is exceeded, an accepted event once
//! another one follows it. An event that is not understood decides nothing; [`not_understood`] lists it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::event_id::EventId;
use crate::name::{DeviceName, EventType, MetricType};
use crate::records::EventRecord;
use crate::timestamp::{Timestamp, shorten};
use crate::wire::{Criticality, Event, Labels};

/// Event type of an accepted finding, with the labels `metric`, `until`, for a value `value`, and optionally `by`.
pub const FINDING_ACCEPTED: &str = "FindingAccepted";
/// Event type of an acknowledgment, with the label `until`, and optionally `by`.
pub const INCIDENT_ACKNOWLEDGED: &str = "IncidentAcknowledged";
/// Longest time for which a decision holds.
pub const MAX_DECISION: Duration = Duration::from_secs(366 * 86_400);
/// Age up to which a decision that is not understood is reported: its sender got no answer.
const REPORTED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Largest number of reported decisions that are not understood; a sender of rubbish sends many.
const MAX_REPORTED: usize = 10;

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
    /// Name of the operator, up to [`MAX_LABEL_BYTES`](crate::wire::MAX_LABEL_BYTES).
    pub by: Option<String>,
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
    /// Name of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Value up to which a finding is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// Acceptance in force, with its finding, which need not be in the verdict at present.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AcceptanceInForce {
    /// Metric type or event type.
    pub metric: String,
    /// Decision.
    #[serde(flatten)]
    pub decision: DecisionInForce,
}

/// Event that was meant to be a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecisionNotUnderstood {
    /// Time of the event.
    pub time: Timestamp,
    /// Event type.
    pub event_type: EventType,
    /// Mistake, with the expected value.
    pub why: String,
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
        labels.extend(self.by.map(|by| ("by".to_owned(), by)));
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
    newest(decisions, INCIDENT_ACKNOWLEDGED).remove("")?.in_force(now)
}

/// Returns the acceptances in force at `now`, by their finding.
pub fn accepted(decisions: &[EventRecord], now: Timestamp) -> Vec<AcceptanceInForce> {
    let newest = newest(decisions, FINDING_ACCEPTED).into_iter();
    let in_force = newest.filter_map(|(metric, read)| Some((metric.to_owned(), read.in_force(now)?)));
    in_force.map(|(metric, decision)| AcceptanceInForce { metric, decision }).collect()
}

/// Returns the latest decisions of the week before `now` that are not understood, newest first.
pub fn not_understood(decisions: &[EventRecord], now: Timestamp) -> Vec<DecisionNotUnderstood> {
    let recent = decisions.iter().filter(|record| moment(record) >= now.minus(REPORTED_FOR) && moment(record) <= now);
    let odd = recent.filter_map(|record| {
        let Event { timestamp, event_type, .. } = &record.event;
        let why = DecisionRead::new(record).err()?;
        Some(DecisionNotUnderstood { time: *timestamp, event_type: event_type.clone(), why })
    });
    let mut odd: Vec<DecisionNotUnderstood> = odd.collect();
    odd.sort_by_key(|one| Reverse(one.time));
    odd.truncate(MAX_REPORTED);
    odd
}

/// Decision of an event that is understood, in force or not.
pub(crate) struct DecisionRead<'a> {
    /// Finding that it accepts; empty for an acknowledgment.
    metric: &'a str,
    record: &'a EventRecord,
    until: Timestamp,
    value: Option<f64>,
}

impl<'a> DecisionRead<'a> {
    /// Reads an event of [`event_types`].
    ///
    /// # Errors
    /// The mistake.
    fn new(record: &'a EventRecord) -> Result<Self, String> {
        let (metric, until, value) = read(&record.event)?;
        Ok(Self { metric, record, until, value })
    }

    /// Returns its event.
    pub(crate) fn record(&self) -> &'a EventRecord {
        self.record
    }

    /// Returns the decision if it is in force at `now`.
    pub(crate) fn in_force(&self, now: Timestamp) -> Option<DecisionInForce> {
        let Event { timestamp, event_message, labels, .. } = &self.record.event;
        let since = moment(self.record);
        let until = self.until.min(since.plus(MAX_DECISION));
        // One that ends at once revokes, though the clock that dated it may be ahead.
        let is_revocation = self.until <= *timestamp;
        (since <= now && now < until && !is_revocation).then(|| DecisionInForce {
            since,
            until,
            reason: event_message.clone(),
            by: labels.as_ref().and_then(|labels| labels.get("by")).cloned(),
            value: self.value,
        })
    }
}

/// Returns `true` if an event of [`event_types`] is a decision.
pub(crate) fn is_understood(event: &Event) -> bool {
    read(event).is_ok()
}

/// Reads metric, end and value of a decision; the metric of an acknowledgment is empty.
fn read(event: &Event) -> Result<(&str, Timestamp, Option<f64>), String> {
    let label = |name: &str| event.label(name);
    let metric = match (event.event_type.as_str(), label("metric")) {
        (INCIDENT_ACKNOWLEDGED, _) => "",
        (_, Some(metric)) if !metric.is_empty() => metric,
        _ => return Err("label 'metric' is missing: expected the name of the finding".to_owned()),
    };
    let until = label("until").ok_or("label 'until' is missing: expected a time such as 2027-01-31T00:00:00Z")?;
    let until = Timestamp::parse(until)
        .map_err(|_| format!("label 'until' is '{}': expected a time such as 2027-01-31T00:00:00Z", shorten(until)))?;
    let value = label("value").filter(|_| !metric.is_empty());
    let value = value.map(|text| {
        let number = text.parse::<f64>().ok().filter(|value| value.is_finite());
        number.ok_or_else(|| format!("label 'value' is '{}': expected a number", shorten(text)))
    });
    Ok((metric, until, value.transpose()?))
}

/// Returns the newest decision about each finding that is understood: one that ends at once revokes those before it.
pub(crate) fn newest<'a>(decisions: &'a [EventRecord], event_type: &str) -> BTreeMap<&'a str, DecisionRead<'a>> {
    let mut newest: BTreeMap<&str, DecisionRead<'_>> = BTreeMap::new();
    let age = |read: &DecisionRead<'_>| (moment(read.record), read.record.received);
    let of_type = decisions.iter().filter(|record| record.event.event_type.as_str() == event_type);
    for read in of_type.filter_map(|record| DecisionRead::new(record).ok()) {
        if newest.get(read.metric).is_none_or(|held| age(&read) > age(held)) {
            newest.insert(read.metric, read);
        }
    }
    newest
}

/// Returns the time of a decision: not later than its arrival, so that it holds at once though a clock is ahead.
fn moment(record: &EventRecord) -> Timestamp {
    record.event.timestamp.min(record.received)
}
