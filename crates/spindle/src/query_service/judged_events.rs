//! Events that verdicts rest on, of one device or of all. They are asked for by type and by criticality, so that no
//! number of others hides them.

use std::collections::HashMap;

use anyhow::Result;
use spindle_core::health;
use spindle_core::judge::events::{HEALTH_CHANGED, METRIC_ANOMALY};
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::{Criticality, DeviceName, EventType, Timestamp, decision};
use spindle_store::Store;

use super::arrivals;

/// Maximum number of events of one kind read to judge a device. If there are more, the verdict says so.
const MAX_OF_DEVICE: usize = 1_000;
/// The same for all devices together.
const MAX_OF_FLEET: usize = 20_000;

/// Events by device, and the decisions about it.
#[derive(Default)]
pub(super) struct JudgedEvents {
    by_device: HashMap<DeviceName, Vec<EventRecord>>,
    decisions: HashMap<DeviceName, Vec<EventRecord>>,
    /// Types of which a limit cut off events that may matter; an empty list is what a verdict needs.
    pub(super) cut_off: Vec<EventType>,
    /// Set if it cut off events of any type that call a person.
    pub(super) calls_cut_off: bool,
}

impl JudgedEvents {
    /// Hands over the events of a device, and its decisions.
    pub(super) fn take(&mut self, device: &DeviceName) -> (Vec<EventRecord>, Vec<EventRecord>) {
        (self.by_device.remove(device).unwrap_or_default(), self.decisions.remove(device).unwrap_or_default())
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.calls_cut_off || !self.cut_off.is_empty()
    }
}

/// Events of one kind.
struct Wanted {
    /// Any type that calls a person, if `None`.
    event_type: Option<EventType>,
    from: Timestamp,
    /// `false` if the verdict does not depend on them.
    decides: bool,
}

/// Reads the events for verdicts on one device, or on all, up to the end of time: a clock may be ahead.
pub(super) async fn read(store: &Store, device: Option<&DeviceName>, window: Window) -> Result<JudgedEvents> {
    let is_past = arrivals::is_past(window.until);
    let until = if is_past { window.until } else { Timestamp::from_ns(i64::MAX) };
    let wanted = wanted(window, is_past);
    let paging = Criticality::new(u64::from(health::PAGING_CRITICALITY)).unwrap_or(Criticality::MAX);
    let mut judged = JudgedEvents::default();
    let limit = limit(device);
    for Wanted { event_type, from, decides } in &wanted {
        let filter = EventFilter {
            window: Window { from: *from, until },
            basis: TimeBasis::Happened,
            source_device: device.cloned(),
            event_type: event_type.clone(),
            min_criticality: if event_type.is_none() { paging } else { Criticality::MIN },
            limit: limit + 1,
            offset: 0,
        };
        let mut found = store.events(filter).await?;
        let is_cut = found.len() > limit;
        found.truncate(limit);
        // The newest of one device are enough, unless a clock that is ahead hides newer ones.
        if is_cut && *decides && (device.is_none() || event_type.is_none() || health::may_hide_newer(&found)) {
            judged.calls_cut_off |= event_type.is_none();
            judged.cut_off.extend(event_type.clone());
        }
        let is_read_apart = |found: &EventType| wanted.iter().any(|wanted| wanted.event_type.as_ref() == Some(found));
        for record in found {
            if event_type.is_some() || !is_read_apart(&record.event.event_type) {
                judged.by_device.entry(record.event.source_device.clone()).or_default().push(record);
            }
        }
    }
    for record in decisions(store, device, window.until, is_past).await? {
        judged.decisions.entry(record.event.source_device.clone()).or_default().push(record);
    }
    Ok(judged)
}

fn wanted(window: Window, is_past: bool) -> Vec<Wanted> {
    let lookback = window.until.minus(health::FAULT_LOOKBACK).min(window.from);
    // What became known in the window happened before it if the sender's clock is behind.
    let known_from = if is_past { window.from } else { window.from.minus(health::MAX_CLOCK_LAG) };
    let mut wanted: Vec<Wanted> = health::event_types()
        .map(|event_type| Wanted { event_type: Some(event_type), from: lookback, decides: true })
        .collect();
    let mut add = |event_type: EventType, from| {
        if wanted.iter().all(|other| other.event_type.as_ref() != Some(&event_type)) {
            wanted.push(Wanted { event_type: Some(event_type), from, decides: false });
        }
    };
    health::change_types().for_each(|event_type| add(event_type, window.until.minus(health::CHANGE_SHOWN)));
    for (name, from) in [(METRIC_ANOMALY, known_from), (HEALTH_CHANGED, window.until.minus(health::MAX_STATEMENT_AGE))]
    {
        if let Ok(event_type) = EventType::new(name) {
            add(event_type, from);
        }
    }
    wanted.push(Wanted { event_type: None, from: known_from, decides: true });
    wanted
}

/// Returns the decisions about a device, or about all, that can be in force at `now`; the clock of an operator may be
/// ahead.
pub(super) async fn decisions(
    store: &Store,
    device: Option<&DeviceName>,
    now: Timestamp,
    is_past: bool,
) -> Result<Vec<EventRecord>> {
    let until = if is_past { now } else { Timestamp::from_ns(i64::MAX) };
    let mut decisions = Vec::new();
    for event_type in decision::event_types() {
        let filter = EventFilter {
            window: Window { from: now.minus(decision::MAX_DECISION), until },
            basis: TimeBasis::Happened,
            source_device: device.cloned(),
            event_type: Some(event_type),
            min_criticality: Criticality::MIN,
            limit: limit(device),
            offset: 0,
        };
        decisions.append(&mut store.events(filter).await?);
    }
    Ok(decisions)
}

pub(super) fn limit(device: Option<&DeviceName>) -> usize {
    if device.is_some() { MAX_OF_DEVICE } else { MAX_OF_FLEET }
}
