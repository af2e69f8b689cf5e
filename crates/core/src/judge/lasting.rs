//! Faults that the detector has found and that last: health reads the events of 30 days, so they are stated again before
//! that. An accepted fault is not: its statement would end the acceptance, which holds until the fault happens again.

use std::time::Duration;

use super::device::Device;
use super::events::{DEVICE_SLOW, FAILURE_PREDICTED, FAILURE_RISK_RAISED, Finding, LATENCY_RAISED};
use super::verdicts;
use crate::health::Health;
use crate::records::EventRecord;
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Far below [`FAULT_LOOKBACK`](crate::health::FAULT_LOOKBACK): several statements may be lost.
const STATED_AGAIN_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// Time without data after which a device is not spoken of.
const SEEN_WITHIN: Duration = Duration::from_secs(86_400);
/// Faults that last for days.
const LASTING: [&str; 4] = [FAILURE_PREDICTED, FAILURE_RISK_RAISED, DEVICE_SLOW, LATENCY_RAISED];
/// Criticality of a fault that has called a person before.
const KNOWN: u8 = 6;

/// States the faults of a device again that count against it and were last stated a week ago.
pub(super) fn state_again(device: &mut Device, now: Timestamp, made: &mut Vec<Event>) {
    let is_old = |record: &EventRecord| record.event.timestamp.plus(STATED_AGAIN_AFTER) <= now;
    let newest = |event_type: &str| {
        let of_type = device.kept.events.iter().filter(|record| &*record.event.event_type == event_type);
        of_type.max_by_key(|record| record.event.timestamp).filter(|record| is_old(record))
    };
    let old: Vec<(&'static str, &EventRecord)> =
        LASTING.into_iter().filter_map(|event_type| Some((event_type, newest(event_type)?))).collect();
    if old.is_empty() || device.seen.plus(SEEN_WITHIN) < now {
        return;
    }
    let verdict = verdicts::judge(device, now);
    let counts = |event_type: &str| {
        verdict.reasons.iter().any(|reason| reason.metric == event_type && reason.health != Health::Ok)
    };
    // A prediction stands for the risk that came before it.
    let is_outdone = |event_type: &str| event_type == FAILURE_RISK_RAISED && counts(FAILURE_PREDICTED);
    let again: Vec<Event> = old
        .into_iter()
        .filter(|(event_type, _)| counts(event_type) && !is_outdone(event_type))
        .map(|(name, old)| again(device, name, old, now))
        .collect();
    again.into_iter().for_each(|event| device.say(event, now, made));
}

fn again(device: &Device, event_type: &'static str, record: &EventRecord, now: Timestamp) -> Event {
    let Event { criticality, timestamp, event_message, labels, .. } = &record.event;
    let mut all = device.labels_of_event();
    all.extend(labels.iter().flat_map(|labels| labels.iter()).map(|(key, value)| (key.clone(), value.clone())));
    all.insert("stated_before".to_owned(), timestamp.to_string());
    Finding {
        event_type,
        criticality: criticality.level().min(KNOWN),
        device: &device.name,
        at: now,
        subject: "",
        message: event_message.clone().unwrap_or_default(),
        labels: all,
    }
    .into_event()
}
