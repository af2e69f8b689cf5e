//! Decisions of operators: checks one against the current verdict on its device and publishes it as an event. The
//! command and HTTP share it, and each brings the verdict in its own way. Success means that JetStream has the event.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use spindle_bus::{Bus, BusError, BusErrorKind, EVENTS_SUBJECT};
use spindle_core::decision::{AcceptedFinding, Decision, MAX_DECISION};
use spindle_core::wire::{self, MAX_LABEL_BYTES, MAX_MESSAGE_BYTES};
use spindle_core::{DeviceName, EventId, MetricType, Timestamp};
use uuid::Uuid;

use crate::config;
use crate::logging::chain;

/// A finding that does not get worse may stay accepted for long; nobody works on a device for months.
const ACCEPTED_FOR: Duration = Duration::from_secs(365 * 86_400);
const ACKNOWLEDGED_FOR: Duration = Duration::from_secs(7 * 86_400);
const ONE_NS: Duration = Duration::from_nanos(1);

/// Decision as an operator states it.
#[derive(Debug)]
pub(crate) struct DecisionRequest {
    /// Device, or alias of a drive.
    pub(crate) source_device: String,
    /// Finding to accept; `None` acknowledges the device.
    pub(crate) metric: Option<String>,
    pub(crate) reason: String,
    /// Time, or duration from now; one that is over revokes.
    pub(crate) until: Option<String>,
    /// Name of the operator.
    pub(crate) by: Option<String>,
}

/// Reason why nothing was decided.
pub(crate) enum DecisionError {
    /// Field of the request, to be corrected.
    Field { field: &'static str, problem: String },
    /// No such device, finding or decision.
    NotFound(String),
    /// The verdict cannot be read.
    NoVerdict(String),
    /// The event is not acknowledged.
    Bus(BusError),
}

impl DecisionError {
    /// Returns the message for the operator; `name` names a field of the request in it.
    pub(crate) fn message(self, name: impl Fn(&str) -> String) -> String {
        match self {
            Self::Field { field, problem } => format!("{} {problem}", name(field)),
            Self::NotFound(message) | Self::NoVerdict(message) => message,
            // The server has refused it, so there is nothing uncertain.
            Self::Bus(error) if error.kind() == BusErrorKind::StreamFull => {
                let problem = "the stream of events is full: nothing was decided";
                format!("{problem}; decide again once there is room ({})", chain(error))
            }
            Self::Bus(error) if error.is_transient() => {
                format!("{}; it is not certain that nothing was decided: decide again", chain(error))
            }
            Self::Bus(error) => chain(error),
        }
    }
}

/// Request whose fields are valid.
pub(crate) struct CheckedDecision {
    source_device: DeviceName,
    metric: Option<MetricType>,
    reason: String,
    until: Timestamp,
    by: Option<String>,
    now: Timestamp,
}

/// Decision that JetStream has.
#[derive(Debug, Serialize)]
pub(crate) struct PublishedDecision {
    pub(crate) event_id: EventId,
    pub(crate) device: DeviceName,
    /// Finding that is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<MetricType>,
    /// Value up to which it is accepted; `None` for an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
}

impl DecisionRequest {
    /// Checks the fields, before anything else is asked.
    pub(crate) fn check(self, now: Timestamp) -> Result<CheckedDecision, DecisionError> {
        let Self { source_device, metric, reason, until, by } = self;
        let usual = if metric.is_some() { ACCEPTED_FOR } else { ACKNOWLEDGED_FOR };
        let until = until.map_or_else(|| Ok(whole_second(now.plus(usual))), |text| end(&text, now))?;
        if reason.trim().is_empty() || reason.len() > MAX_MESSAGE_BYTES {
            let problem = format!("is empty or longer than {MAX_MESSAGE_BYTES} bytes: say in a sentence why");
            return Err(wrong("reason", problem));
        }
        if by.as_ref().is_some_and(|by| by.trim().is_empty() || by.len() > MAX_LABEL_BYTES) {
            return Err(wrong("by", format!("is empty or longer than {MAX_LABEL_BYTES} bytes: name the operator")));
        }
        Ok(CheckedDecision {
            source_device: DeviceName::new(&source_device)
                .map_err(|error| wrong("source_device", error.to_string()))?,
            metric: metric
                .map(|metric| MetricType::new(&metric))
                .transpose()
                .map_err(|error| wrong("metric", error.to_string()))?,
            reason,
            until,
            by,
            now,
        })
    }
}

impl CheckedDecision {
    /// Returns the query whose answer [`Self::against`] needs.
    pub(crate) fn query(&self) -> Vec<u8> {
        let params = json!({ "source_device": self.source_device });
        json!({ "query_type": "device_health", "params": params }).to_string().into_bytes()
    }

    /// Compares the decision with the answer to [`Self::query`], which also resolves an alias. Returns it with its time:
    /// after that of the decision in force, though our clock may be behind.
    pub(crate) fn against(self, answer: &Value) -> Result<(Decision, Timestamp), DecisionError> {
        let verdict = &answer["data"];
        let device = verdict["device"].as_str().and_then(|device| DeviceName::new(device).ok());
        let (false, Some(device)) = (answer["status"] == "error", device) else {
            let message = answer["message"].as_str().unwrap_or("the verdict could not be read");
            return Err(DecisionError::NoVerdict(message.to_owned()));
        };
        if verdict["last_seen"].is_null() {
            return Err(DecisionError::NotFound(format!("no device '{device}': `spindle query devices` lists them")));
        }
        let held = match &self.metric {
            None => &verdict["acknowledged"],
            Some(metric) => row(&verdict["accepted"], metric),
        };
        let accepts = match (&self.metric, self.until <= self.now) {
            (_, true) if held.is_null() => return Err(nothing_to_revoke(verdict, &device, self.metric.as_ref())),
            (Some(metric), true) => Some(AcceptedFinding { metric: metric.clone(), value: held["value"].as_f64() }),
            (Some(metric), false) => Some(finding(verdict, &device, metric)?),
            (None, _) => None,
        };
        let since = held["since"].as_str().and_then(|since| Timestamp::parse(since).ok());
        let time = since.map_or(self.now, |since| self.now.max(since.plus(ONE_NS)));
        Ok((Decision { device, accepts, reason: self.reason, until: self.until, by: self.by }, time))
    }
}

/// Publishes a decision; returns once JetStream has it.
///
/// # Errors
/// After one that is transient, unless the stream is full, the decision may hold nevertheless; to decide again is harmless.
pub(crate) async fn publish(
    bus: &Bus,
    (decision, time): (Decision, Timestamp),
) -> Result<PublishedDecision, DecisionError> {
    let Decision { device, accepts, reason, until, by } = decision.clone();
    let (metric, value) = accepts.map(|AcceptedFinding { metric, value }| (metric, value)).unzip();
    let event_id = EventId::from(Uuid::new_v4());
    let event = decision.into_event(event_id.clone(), time);
    let message_id = event.identity().message_id();
    bus.publish_acknowledged(EVENTS_SUBJECT, &message_id, wire::encode_event(&event).into())
        .await
        .map_err(DecisionError::Bus)?;
    Ok(PublishedDecision { event_id, device, metric, value: value.flatten(), since: time, until, reason, by })
}

fn nothing_to_revoke(verdict: &Value, device: &DeviceName, metric: Option<&MetricType>) -> DecisionError {
    DecisionError::NotFound(match metric {
        None => format!("{device} is not acknowledged: nothing to revoke"),
        Some(metric) => {
            format!(
                "'{metric}' of {device} is not accepted: nothing to revoke; accepted: {}",
                names(&verdict["accepted"])
            )
        }
    })
}

/// Returns the finding of the verdict that is to be accepted, with its value; a fault's value is no measure.
fn finding(verdict: &Value, device: &DeviceName, metric: &MetricType) -> Result<AcceptedFinding, DecisionError> {
    let found = row(&verdict["reasons"], metric);
    if found.is_null() {
        let problem =
            format!("no finding '{metric}' in the verdict on {device}: it has {}", names(&verdict["reasons"]));
        return Err(DecisionError::NotFound(problem));
    }
    let is_measured = !found["limit"].is_null() || !found["raw"].is_null();
    if found["health"] == "ok" && found["accepted"].is_null() {
        let problem = format!("'{metric}' is a note: it does not count against {device}, nothing to accept");
        return Err(DecisionError::NotFound(problem));
    }
    if found["health"] == "unknown" && !is_measured {
        let problem = format!("'{metric}' of {device} is a lack of data, which cannot be accepted");
        return Err(DecisionError::NotFound(problem));
    }
    let value = found["value"].as_f64().or(found["raw"].as_f64()).filter(|_| is_measured);
    Ok(AcceptedFinding { metric: metric.clone(), value })
}

/// Returns the first row about a metric; null if there is none.
fn row<'a>(rows: &'a Value, metric: &MetricType) -> &'a Value {
    rows.as_array().into_iter().flatten().find(|row| row["metric"] == metric.as_str()).unwrap_or(&Value::Null)
}

fn names(rows: &Value) -> String {
    let names: Vec<&str> = rows.as_array().into_iter().flatten().filter_map(|row| row["metric"].as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Parses the end of a decision: a time, or a duration from now.
fn end(text: &str, now: Timestamp) -> Result<Timestamp, DecisionError> {
    let until = match (config::parse_duration(text), Timestamp::parse(text)) {
        (Some(duration), _) => whole_second(now.plus(duration)),
        (None, Ok(time)) => time,
        (None, Err(_)) => {
            let problem =
                format!("is '{text}', neither a time such as 2027-01-31T00:00:00Z nor a duration such as 30d");
            return Err(wrong("until", problem));
        }
    };
    if until > now.plus(MAX_DECISION) {
        let problem = format!("is more than {} days away: decide again then", MAX_DECISION.as_secs() / 86_400);
        return Err(wrong("until", problem));
    }
    Ok(until)
}

fn wrong(field: &'static str, problem: String) -> DecisionError {
    DecisionError::Field { field, problem }
}

/// Rounds down: nobody means nanoseconds, and a duration of zero must be over.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_seconds(time.as_ns().div_euclid(1_000_000_000))
}
