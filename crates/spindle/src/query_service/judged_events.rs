//! Events that verdicts rest on, of one device or of all. They are asked for by type and by criticality, so that no
//! number of others hides them.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use spindle_core::health;
use spindle_core::judge::events::{HEALTH_CHANGED, METRIC_ANOMALY};
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::{Criticality, DeviceName, EventType, Timestamp, decision};
use spindle_store::Store;

use super::bounded_events::{self, ReadLimits};

/// Events by device, and the decisions about it.
#[derive(Default)]
pub(super) struct JudgedEvents {
    by_device: HashMap<DeviceName, Vec<EventRecord>>,
    decisions: HashMap<DeviceName, Vec<EventRecord>>,
    /// Devices with events that may matter and were not read.
    unread: HashSet<DeviceName>,
    /// Types of which events of some device were not read.
    pub(super) cut_off: BTreeSet<EventType>,
    /// Set if these are events of other types that call a person.
    pub(super) calls_cut_off: bool,
}

/// Events of one device, as [`JudgedEvents`] has them.
pub(super) struct EventsOfDevice {
    pub(super) events: Vec<EventRecord>,
    pub(super) decisions: Vec<EventRecord>,
    /// `true` if there are more that may matter.
    pub(super) is_cut_off: bool,
}

impl JudgedEvents {
    /// Hands over the events of a device.
    pub(super) fn take(&mut self, device: &DeviceName) -> EventsOfDevice {
        EventsOfDevice {
            events: self.by_device.remove(device).unwrap_or_default(),
            decisions: self.decisions.remove(device).unwrap_or_default(),
            is_cut_off: self.unread.contains(device),
        }
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
pub(super) async fn read(
    store: &Store,
    device: Option<&DeviceName>,
    window: Window,
    is_past: bool,
    limits: ReadLimits,
) -> Result<JudgedEvents> {
    let until = end(window.until, is_past);
    let wanted = wanted(window, is_past);
    let mut judged = JudgedEvents::default();
    let mut n_kept = 0;
    for Wanted { event_type, from, decides } in &wanted {
        let filter = EventFilter {
            window: Window { from: *from, until },
            basis: TimeBasis::Happened,
            source_device: device.cloned(),
            event_type: event_type.clone(),
            min_criticality: if event_type.is_none() { paging() } else { Criticality::MIN },
            limit: 0,
            offset: 0,
        };
        let found = bounded_events::read(store, filter, limits.beside(n_kept)).await?;
        n_kept += found.len();
        for device in &found.cut {
            // The newest of one type are enough, unless a clock that is ahead hides newer ones.
            let kept = found.by_device.get(device).map(Vec::as_slice).unwrap_or_default();
            if found.unread.contains(device) || event_type.is_none() || health::may_hide_newer(kept) {
                judged.calls_cut_off |= event_type.is_none();
                judged.cut_off.extend(event_type.clone());
                judged.unread.extend(decides.then(|| device.clone()));
            }
        }
        let is_read_apart = |found: &EventType| wanted.iter().any(|wanted| wanted.event_type.as_ref() == Some(found));
        for (device, mut records) in found.by_device {
            records.retain(|record| event_type.is_some() || !is_read_apart(&record.event.event_type));
            judged.by_device.entry(device).or_default().append(&mut records);
        }
    }
    let decisions = decisions(store, device, window.until, is_past, limits).await?;
    judged.decisions = decisions.by_device;
    judged.cut_off.extend(decisions.cut_off);
    Ok(judged)
}

/// Returns the criticality from which on an event of any type counts.
pub(super) fn paging() -> Criticality {
    Criticality::new(u64::from(health::PAGING_CRITICALITY)).unwrap_or(Criticality::MAX)
}

/// Returns the end of what is read about a question: a clock that is ahead dates its events after now.
pub(super) fn end(until: Timestamp, is_past: bool) -> Timestamp {
    if is_past { until } else { Timestamp::from_ns(i64::MAX) }
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

/// Decisions by device.
#[derive(Default)]
pub(super) struct DecisionsRead {
    pub(super) by_device: HashMap<DeviceName, Vec<EventRecord>>,
    /// Types of which older ones of some device were not read.
    pub(super) cut_off: BTreeSet<EventType>,
}

/// Returns the decisions about a device, or about all, that can be in force at `now`; the clock of an operator may be
/// ahead.
pub(super) async fn decisions(
    store: &Store,
    device: Option<&DeviceName>,
    now: Timestamp,
    is_past: bool,
    limits: ReadLimits,
) -> Result<DecisionsRead> {
    let mut decisions = DecisionsRead::default();
    for event_type in decision::event_types() {
        let filter = EventFilter {
            window: Window { from: now.minus(decision::MAX_DECISION), until: end(now, is_past) },
            basis: TimeBasis::Happened,
            source_device: device.cloned(),
            event_type: Some(event_type.clone()),
            min_criticality: Criticality::MIN,
            limit: 0,
            offset: 0,
        };
        let found = bounded_events::read(store, filter, limits).await?;
        decisions.cut_off.extend((!found.cut.is_empty()).then_some(event_type));
        for (device, mut records) in found.by_device {
            decisions.by_device.entry(device).or_default().append(&mut records);
        }
    }
    Ok(decisions)
}
