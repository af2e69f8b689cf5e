//! Drives that were replaced or moved: no finding, but worth a reason for a while, since the history before it is that
//! of another drive or place.

use std::time::Duration;

use super::faults::{moment, newest_by, reason_of};
use super::{Evidence, Finding, Health, HealthReason};
use crate::advice;
use crate::name::EventType;
use crate::records::{Arrival, EventRecord};

/// Time for which a change is shown.
pub const CHANGE_SHOWN: Duration = Duration::from_secs(7 * 86_400);

const REPLACED: &str = "DriveReplaced";
const CHANGES: [&str; 2] = [REPLACED, "DeviceMoved"];

/// Returns the event types of changes.
pub fn change_types() -> impl Iterator<Item = EventType> {
    CHANGES.into_iter().filter_map(|name| EventType::new(name).ok())
}

/// Returns `true` if another drive stands in the place of this one, and nothing has arrived from it since.
pub fn was_replaced(events: &[EventRecord], arrival: Option<Arrival>) -> bool {
    let by_other = |record: &&EventRecord| {
        let labels = record.event.labels.as_ref();
        let successor = labels.and_then(|labels| labels.get("replaced_by"));
        record.event.event_type.as_str() == REPLACED
            && successor.is_some_and(|successor| *successor != *record.event.source_device)
    };
    let replaced = events.iter().filter(by_other).map(moment).max();
    replaced.is_some_and(|replaced| arrival.is_none_or(|arrival| arrival.received < replaced))
}

/// Returns the newest change of each type that is still shown.
pub(super) fn notes(evidence: &Evidence<'_>) -> impl Iterator<Item = Finding> {
    let shown_from = evidence.window.until.minus(CHANGE_SHOWN);
    CHANGES.into_iter().filter_map(move |event_type| {
        let record = newest_by(evidence.events, |event| event.event_type.as_str() == event_type)?;
        (moment(record) >= shown_from).then(|| {
            let advice = advice::for_name(event_type).map(|advice| advice.sentence.into());
            (Health::Ok, HealthReason { advice, ..reason_of(record) })
        })
    })
}
