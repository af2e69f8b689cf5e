//! Number of devices that are not ok over time, from the statements of the detector.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Health;
use super::history::segments;
use crate::records::{EventRecord, Window};
use crate::timestamp::Timestamp;

/// Number of devices from a time on, up to the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FleetStep {
    /// Start.
    pub time: Timestamp,
    /// Devices to act on now.
    pub critical: u32,
    /// Devices worth a look.
    pub warning: u32,
    /// Devices that the detector called unknown; those without a statement are not counted.
    pub unknown: u32,
}

/// Returns the steps of a window, oldest first; the first one begins with the window. `devices` are the events of each
/// device, as [`segments`] takes them.
pub fn fleet_steps<'a>(devices: impl Iterator<Item = &'a [EventRecord]>, window: Window) -> Vec<FleetStep> {
    let mut changes: BTreeMap<Timestamp, [i64; 3]> = BTreeMap::from([(window.from, [0; 3])]);
    for events in devices {
        for segment in segments(events, window) {
            let Some(kind) = kind(segment.health).filter(|_| !segment.is_without_verdict()) else { continue };
            changes.entry(segment.from).or_default()[kind] += 1;
            if segment.until < window.until {
                changes.entry(segment.until).or_default()[kind] -= 1;
            }
        }
    }
    let mut counts = [0_i64; 3];
    let mut steps: Vec<FleetStep> = Vec::new();
    for (time, change) in changes {
        counts.iter_mut().zip(change).for_each(|(count, change)| *count += change);
        let [critical, warning, unknown] = counts.map(|count| u32::try_from(count).unwrap_or_default());
        let step = FleetStep { time, critical, warning, unknown };
        if steps.last().is_none_or(|last| FleetStep { time, ..*last } != step) {
            steps.push(step);
        }
    }
    steps
}

fn kind(health: Health) -> Option<usize> {
    match health {
        Health::Critical => Some(0),
        Health::Warning => Some(1),
        Health::Unknown => Some(2),
        Health::Ok => None,
    }
}
