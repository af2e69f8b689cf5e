//! Events about a device that its verdict rests on: the newest of each kind, cut to what a verdict reads.

use std::time::Duration;

use crate::decision::{self, FINDING_ACCEPTED};
use crate::health::{FAULT_LOOKBACK, PAGING_CRITICALITY, is_deciding};
use crate::judge::events::{HEALTH_CHANGED, METRIC_ANOMALY};
use crate::records::EventRecord;
use crate::timestamp::Timestamp;
use crate::wire::{Event, Labels};

/// Labels that a verdict, or a later statement of the same, reads.
const READ_LABELS: [&str; 5] = ["expected", "metric", "n_devices", "until", "value"];
/// Longest message that is kept, in characters.
const MAX_MESSAGE_CHARS: usize = 60;
/// Most events kept of a device; of more, the oldest go, those first that decide nothing.
const MAX_EVENTS: usize = 32;
const MAX_DECISIONS: usize = 32;
/// Time for which an event that decides nothing lastingly is kept: longer than any window of a verdict.
const KEPT_FOR: Duration = Duration::from_secs(2 * 3600);

/// Events kept of one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::judge) struct KeptEvents {
    pub(in crate::judge) events: Vec<EventRecord>,
    pub(in crate::judge) decisions: Vec<EventRecord>,
}

impl KeptEvents {
    /// Takes an event; returns `true` if it may change the verdict.
    pub(in crate::judge) fn take(&mut self, event: &Event, received: Timestamp) -> bool {
        let event_type = event.event_type.as_str();
        let criticality = event.criticality.level();
        if event_type == FINDING_ACCEPTED {
            // One that is not understood must not displace one that is.
            return decision::is_understood(event) && keep(&mut self.decisions, event, received, MAX_DECISIONS);
        }
        let is_evidence = is_deciding(event_type)
            || event_type == METRIC_ANOMALY
            || (criticality >= PAGING_CRITICALITY && event_type != HEALTH_CHANGED);
        is_evidence && keep(&mut self.events, event, received, MAX_EVENTS)
    }

    /// Returns `true` if a replacement of the drive at `time`, or a later one, is known.
    pub(in crate::judge) fn is_replaced_since(&self, time: Timestamp) -> bool {
        let of_drive = |record: &&EventRecord| record.event.event_type.as_str() == "DriveReplaced";
        self.events.iter().filter(of_drive).any(|record| record.event.timestamp >= time)
    }

    /// Returns the times at which evidence gets too old for a verdict with a window of `window`, or a decision ends.
    pub(in crate::judge) fn ends(&self, window: Duration) -> impl Iterator<Item = Timestamp> {
        let of_events = self.events.iter().flat_map(move |record| {
            let moment = record.event.timestamp.min(record.received);
            [moment.plus(FAULT_LOOKBACK), moment.plus(window), record.received.plus(window)]
        });
        let until = |record: &EventRecord| Timestamp::parse(record.event.label("until")?).ok();
        of_events.chain(self.decisions.iter().filter_map(until))
    }

    /// Drops what no verdict from `now` on reads.
    pub(in crate::judge) fn forget(&mut self, now: Timestamp) {
        let is_kept = |record: &EventRecord| {
            let kept_for = if is_deciding(&record.event.event_type) { FAULT_LOOKBACK } else { KEPT_FOR };
            record.received.plus(kept_for) >= now
        };
        self.events.retain(is_kept);
        self.decisions.retain(|record| record.received.plus(decision::MAX_DECISION) >= now);
    }
}

/// Keeps an event unless newer ones of its kind are kept: the newest by its time, and the newest by its arrival.
fn keep(kept: &mut Vec<EventRecord>, event: &Event, received: Timestamp, max: usize) -> bool {
    let is_kind = |record: &EventRecord| is_of_one_kind(&record.event, event);
    if kept.iter().any(|record| record.event.id == event.id && record.event.timestamp == event.timestamp) {
        return false;
    }
    let moment = |record: &EventRecord| record.event.timestamp.min(record.received);
    kept.push(EventRecord { event: slim(event), received });
    let newest = |key: &dyn Fn(&EventRecord) -> (Timestamp, Timestamp)| {
        let of_kind = kept.iter().filter(|record| is_kind(record));
        of_kind.max_by(|a, b| (key(a), &a.event.id).cmp(&(key(b), &b.event.id))).map(|record| record.event.id.clone())
    };
    let by_time = newest(&|record| (moment(record), record.event.timestamp));
    let by_arrival = newest(&|record| (record.received, record.event.timestamp));
    let is_newest = |record: &EventRecord| {
        by_time.as_ref() == Some(&record.event.id) || by_arrival.as_ref() == Some(&record.event.id)
    };
    kept.retain(|record| !is_kind(record) || is_newest(record));
    while kept.len() > max {
        // A flood of others must not hide a fault.
        let rank = |record: &EventRecord| (is_deciding(&record.event.event_type), record.received);
        let last = kept.iter().enumerate().min_by_key(|(_, record)| rank(record)).map(|(place, _)| place);
        kept.remove(last.unwrap_or_default());
    }
    true
}

/// Returns `true` if the newer of two events stands for both: notes and decisions are about a metric each.
fn is_of_one_kind(one: &Event, other: &Event) -> bool {
    let is_about_metric = [METRIC_ANOMALY, FINDING_ACCEPTED].contains(&one.event_type.as_str());
    one.event_type == other.event_type && (!is_about_metric || one.label("metric") == other.label("metric"))
}

fn slim(event: &Event) -> Event {
    let labels = event.labels.iter().flat_map(|labels| labels.iter());
    let labels: Labels = labels
        .filter(|(key, _)| READ_LABELS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Event {
        event_message: event.event_message.as_ref().map(|text| text.chars().take(MAX_MESSAGE_CHARS).collect()),
        seq: None,
        labels: (!labels.is_empty()).then(|| Box::new(labels)),
        ..event.clone()
    }
}
