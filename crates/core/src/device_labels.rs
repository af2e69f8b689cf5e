//! Labels that describe a device, as opposed to an event about it.

use crate::decision::{FINDING_ACCEPTED, INCIDENT_ACKNOWLEDGED};
use crate::event_types::is_own;
use crate::wire::{Event, Labels};

/// Event types of the sources whose labels describe what happened.
const OF_SOURCES: [&str; 2] = ["DeviceMoved", "DriveReplaced"];

/// Returns the labels of an event that describe its device; `None` for those of a finding of the detector, of a decision,
/// and of a moved or replaced drive, which describe the event.
pub fn of_event(event: &Event) -> Option<&Labels> {
    let event_type = event.event_type.as_str();
    let is_about_itself = is_own(event_type)
        || [FINDING_ACCEPTED, INCIDENT_ACKNOWLEDGED].contains(&event_type)
        || OF_SOURCES.contains(&event_type);
    event.labels.as_deref().filter(|_| !is_about_itself)
}
