//! Findings from events: faults that no later event closes, and other events that call a person.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::trend::rounded;
use super::{Evidence, Finding, Health, HealthReason};
use crate::event_types as events;
use crate::name::EventType;
use crate::records::EventRecord;
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Period for which a fault counts that no event reports as resolved.
pub const FAULT_LOOKBACK: Duration = Duration::from_secs(30 * 24 * 3600);

/// Criticality from which on an event of any type is worth a look while it is in the window.
pub const PAGING_CRITICALITY: u8 = 8;

/// Event type that counts against a device until another resolves it.
pub(crate) struct Fault {
    pub(crate) event_type: &'static str,
    /// Any of these.
    pub(crate) resolved_by: &'static [&'static str],
    pub(crate) health: Health,
}

const FAULTS: &[Fault] = &[
    Fault { event_type: "DriveFailure", resolved_by: &["DriveReplaced"], health: Health::Critical },
    Fault { event_type: "SmartFailed", resolved_by: &["SmartRecovered", "DriveReplaced"], health: Health::Critical },
    Fault { event_type: "SelfTestFailed", resolved_by: &["SelfTestPassed", "DriveReplaced"], health: Health::Warning },
    Fault { event_type: "ShelfOffline", resolved_by: &["ShelfOnline"], health: Health::Critical },
    Fault { event_type: "FanFailure", resolved_by: &["FanRestored"], health: Health::Warning },
    Fault { event_type: "DataCorruption", resolved_by: &[], health: Health::Warning },
    Fault {
        event_type: events::FAILURE_PREDICTED,
        resolved_by: &[events::FAILURE_PREDICTION_ENDED, "DriveReplaced"],
        health: Health::Critical,
    },
    Fault {
        event_type: events::FAILURE_RISK_RAISED,
        resolved_by: &[events::FAILURE_PREDICTION_ENDED, "DriveReplaced"],
        health: Health::Warning,
    },
    Fault {
        event_type: events::DEVICE_SLOW,
        resolved_by: &[events::DEVICE_SLOW_ENDED, "DriveReplaced"],
        health: Health::Warning,
    },
    Fault {
        event_type: events::LATENCY_RAISED,
        resolved_by: &[events::LATENCY_RAISED_ENDED, "DriveReplaced"],
        health: Health::Warning,
    },
    Fault {
        event_type: events::ANOMALIES_AGREE,
        resolved_by: &[events::ANOMALIES_ENDED, "DriveReplaced"],
        health: Health::Warning,
    },
];

/// Returns the event types that decide a verdict: faults, and the events that close them.
pub fn event_types() -> impl Iterator<Item = EventType> {
    let names = FAULTS.iter().flat_map(|fault| [fault.event_type].into_iter().chain(fault.resolved_by.iter().copied()));
    // Several faults end with one event.
    let unique: BTreeSet<&str> = names.collect();
    unique.into_iter().filter_map(|name| EventType::new(name).ok())
}

/// Returns the fault that an event type reports.
pub(crate) fn fault_of(event_type: &str) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| fault.event_type == event_type)
}

/// Returns `true` for an event type of [`event_types`].
pub fn is_deciding(event_type: &str) -> bool {
    FAULTS.iter().any(|fault| fault.event_type == event_type || fault.resolved_by.contains(&event_type))
}

/// Returns `true` if events of one type that a limit cut off behind these (sorted by time, newest first) may be newer:
/// those of a clock that is ahead come first, however long ago they arrived.
pub fn may_hide_newer(kept: &[EventRecord]) -> bool {
    kept.last().is_some_and(|last| kept.iter().all(|record| moment(record) < last.event.timestamp))
}

/// Judges the events of a device.
pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = FAULTS.iter().filter_map(|fault| judge_fault(fault, evidence)).collect();
    findings.extend(other_events(evidence));
    findings.extend(notes(evidence));
    if evidence.events_cut_off {
        let why = "not all of its events were read: there are more than one verdict reads".to_owned();
        findings.push((Health::Unknown, HealthReason::without_value("events", None, why)));
    }
    findings
}

fn judge_fault(fault: &Fault, evidence: &Evidence<'_>) -> Option<Finding> {
    let record = newest(evidence, fault.event_type)?;
    let closing = fault.resolved_by.iter().filter_map(|event_type| newest(evidence, event_type));
    let closed = closing.map(moment).max();
    let is_resolved = match fault.resolved_by {
        // No event resolves these; they count while they are recent.
        [] => !is_in_window(record, evidence),
        _ => closed.is_some_and(|closed| closed >= moment(record)),
    };
    let oldest = evidence.window.until.minus(FAULT_LOOKBACK).min(evidence.window.from);
    let is_open =
        |record: &&EventRecord| moment(record) >= oldest && closed.is_none_or(|closed| moment(record) > closed);
    let opened = evidence.events.iter().filter(|record| record.event.event_type.as_str() == fault.event_type);
    let since = opened.filter(is_open).map(moment).min();
    let is_old = moment(record) < oldest;
    (!is_resolved && !is_old).then(|| (fault.health, HealthReason { since, ..reason_of(record) }))
}

/// Returns the newest event in the window of each other type that calls a person, since the first of them.
fn other_events(evidence: &Evidence<'_>) -> impl Iterator<Item = Finding> {
    let mut by_type: BTreeMap<&str, (Timestamp, &EventRecord)> = BTreeMap::new();
    for record in evidence.events {
        let event = &record.event;
        let calls = event.criticality.level() >= PAGING_CRITICALITY && is_in_window(record, evidence);
        // A verdict is no evidence for a verdict.
        if calls && !is_deciding(&event.event_type) && event.event_type.as_str() != events::HEALTH_CHANGED {
            let (first, newest) = by_type.entry(&event.event_type).or_insert((moment(record), record));
            *first = moment(record).min(*first);
            *newest = newer(newest, record);
        }
    }
    by_type
        .into_values()
        .map(|(first, record)| (Health::Warning, HealthReason { since: Some(first), ..reason_of(record) }))
}

/// Returns the newest note in the window about each metric: worth a reason, but no verdict.
fn notes(evidence: &Evidence<'_>) -> impl Iterator<Item = Finding> {
    let mut by_metric: BTreeMap<&str, &EventRecord> = BTreeMap::new();
    for record in evidence.events {
        let metric = record.event.label("metric");
        let is_note = record.event.event_type.as_str() == events::METRIC_ANOMALY && is_in_window(record, evidence);
        if let Some(metric) = metric.filter(|_| is_note) {
            let newest = by_metric.entry(metric).or_insert(record);
            *newest = newer(newest, record);
        }
    }
    by_metric.into_iter().map(|(metric, record)| {
        let noted = reason_of(record);
        (Health::Ok, HealthReason { metric: metric.to_owned(), value: labelled_value(record), ..noted })
    })
}

fn labelled_value(record: &EventRecord) -> Option<f64> {
    record.event.label("value")?.parse().ok().filter(|value: &f64| value.is_finite())
}

fn newest<'a>(evidence: &Evidence<'a>, event_type: &str) -> Option<&'a EventRecord> {
    newest_by(evidence.events, |event| event.event_type.as_str() == event_type)
}

/// Returns the newest event that `is_wanted`.
pub(super) fn newest_by(events: &[EventRecord], is_wanted: impl Fn(&Event) -> bool) -> Option<&EventRecord> {
    events.iter().filter(|record| is_wanted(&record.event)).reduce(newer)
}

/// Returns the newer of two events; of two with one time, the same one in either order.
fn newer<'a>(one: &'a EventRecord, other: &'a EventRecord) -> &'a EventRecord {
    let age = |record: &'a EventRecord| (moment(record), record.event.timestamp, &record.event.id);
    if age(other) > age(one) { other } else { one }
}

/// Returns the time of an event: not later than its arrival, since a clock that is ahead must not hide what follows.
pub(crate) fn moment(record: &EventRecord) -> Timestamp {
    record.event.timestamp.min(record.received)
}

/// Returns whether an event happened or became known in the window: a clock that is behind must not hide it. In a
/// question about the past, only what happened counts, whenever it became known.
fn is_in_window(record: &EventRecord, evidence: &Evidence<'_>) -> bool {
    moment(record) >= evidence.window.from || evidence.window.contains(record.received)
}

/// Returns the reason of an event. What its sender expected and advises is in its labels.
pub(crate) fn reason_of(record: &EventRecord) -> HealthReason {
    let event = &record.event;
    let label = |name: &str| event.labels.as_ref().and_then(|labels| labels.get(name)).filter(|text| !text.is_empty());
    let detail = event.event_message.as_deref().unwrap_or("no details given");
    // An advice is in a field of its own.
    let without_advice = label("advice").and_then(|advice| detail.strip_suffix(advice.as_str()));
    let detail = without_advice.map_or(detail, |detail| detail.trim_end_matches(['.', ' ']));
    let received = match event.timestamp > record.received.plus(super::CLOCK_TOLERANCE) {
        true => format!(", received {}", record.received.whole_second()),
        false => String::new(),
    };
    let why = format!("{} at {}{received}: {detail}", event.event_type, event.timestamp.whole_second());
    let reason = HealthReason::without_value(&event.event_type, Some(event.timestamp), why);
    let number = |text: &String| text.parse().map_or_else(|_| text.clone(), |value| rounded(value).to_string());
    let range = label("expected_low").zip(label("expected_high"));
    let range = range.map(|(low, high)| format!("{} to {}", number(low), number(high)));
    HealthReason {
        value: Some(f64::from(event.criticality.level())),
        expected: label("expected").map(number).or(range),
        trend: label("trend").cloned(),
        advice: label("advice").map(|advice| advice.clone().into()),
        ..reason
    }
}
