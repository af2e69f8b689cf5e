//! `incidents`: open and recently closed faults of all devices, told by their causes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::incidents::{Incident, IncidentEvidence, IncidentState, event_types, incidents as told};
use spindle_core::judge::events::HEALTH_CHANGED;
use spindle_core::query::IncidentsQuery;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{Basis, IncidentCounts, IncidentList};
use spindle_core::{Criticality, DeviceName, EventType, Timestamp, health};
use spindle_store::Store;
use tokio::task::spawn_blocking;

use super::arrivals;
use super::bounded_events::{self, BoundedEvents, ReadLimits};
use super::fit::{FirstRows, Next, page_of, rows_in_data};
use super::judged_events;
use super::listings::next_rows;

/// Time for which an event that nothing closes still counts.
const HOUR: Duration = Duration::from_secs(3_600);
/// Criticality from which on an event calls a person.
const CALLS_FROM: u64 = 7;

/// Bounds of what is read: the first event of a fault tells its start.
const LIMITS: ReadLimits = ReadLimits { of_device: 2_000, n_apart: 50, ..ReadLimits::DEFAULT };
/// Most devices whose verdicts have called a person and are read one by one, and most statements of each: the newest
/// tells whether the fault is over.
const MAX_CALLED: usize = 2_000;
const MAX_STATEMENTS: usize = 100;

/// Returns the incidents that were open in the window.
pub(super) async fn incidents(store: &Store, query: IncidentsQuery) -> Result<IncidentList> {
    within(store, query, LIMITS).await
}

async fn within(store: &Store, query: IncidentsQuery, limits: ReadLimits) -> Result<IncidentList> {
    let IncidentsQuery { window, present, state, source_device, min_criticality, limit, offset } = query;
    let is_past = !present && arrivals::is_past(window.until);
    let FaultEvents { events, mut cut_off, calls_cut_off, detector_seen, .. } =
        read(store, window, is_past, limits).await?;
    let decisions = judged_events::decisions(store, None, window.until, is_past, limits).await?;
    cut_off.extend(decisions.cut_off);
    let decisions: Vec<EventRecord> = decisions.by_device.into_values().flatten().collect();
    let named: BTreeSet<&DeviceName> = events.iter().map(|record| &record.event.source_device).collect();
    let named: Vec<DeviceName> = named.into_iter().cloned().collect();
    let labels = store.labels(&named).await?;
    let labels: BTreeMap<DeviceName, _> = named.into_iter().zip(labels).collect();
    let n_events = events.len() as u64;
    let of_evidence =
        move || told(&IncidentEvidence { window, events: &events, decisions: &decisions, labels: &labels });
    let mut data = spawn_blocking(of_evidence).await?;
    data.retain(|incident| {
        let is_of_device = source_device.as_ref().is_none_or(|device| incident.devices.contains(device));
        is_of_device && incident.criticality >= min_criticality
    });
    let count = |state| data.iter().filter(|incident| incident.state == state).count() as u64;
    let summary = IncidentCounts {
        n_open: count(IncidentState::Open),
        n_acknowledged: count(IncidentState::Acknowledged),
        n_closed: count(IncidentState::Closed),
        cut_off: cut_off.into_iter().collect(),
        calls_cut_off,
        detector_seen,
    };
    data.retain(|incident| state.is_none_or(|state| incident.state == state));
    let data: Vec<Incident> = data.into_iter().skip(offset).collect();
    let basis = Basis::of(window, n_events);
    let list = IncidentList { data, summary, next: None, basis, offset: offset as u64, present: !is_past };
    Ok(page_of(list, limit))
}

/// Events that open and close faults.
#[derive(Default)]
struct FaultEvents {
    events: Vec<EventRecord>,
    seen: HashSet<String>,
    /// Types with more events than were read.
    cut_off: BTreeSet<EventType>,
    /// Set if these are events of other types that call a person.
    calls_cut_off: bool,
    /// Newest verdict of the detector about any device.
    detector_seen: Option<Timestamp>,
}

impl FaultEvents {
    /// Adds the events of a type, or of any.
    fn add(&mut self, event_type: Option<&EventType>, found: BoundedEvents) {
        if !found.cut.is_empty() {
            self.cut_off.extend(event_type.cloned());
            self.calls_cut_off |= event_type.is_none();
        }
        for record in found.by_device.into_values().flatten() {
            if self.seen.insert(record.event.identity().message_id()) {
                self.events.push(record);
            }
        }
    }
}

/// Reads the events that open and close faults, as far back as an open fault counts. Of the verdicts, only those about
/// devices of which one has called a person can open or close any.
async fn read(store: &Store, window: Window, is_past: bool, limits: ReadLimits) -> Result<FaultEvents> {
    let lookback = window.until.minus(health::FAULT_LOOKBACK).min(window.from);
    let filter = |event_type: Option<&EventType>, from, min_criticality| EventFilter {
        window: Window { from, until: judged_events::end(window.until, is_past) },
        basis: TimeBasis::Happened,
        source_device: None,
        event_type: event_type.cloned(),
        min_criticality,
        limit: 0,
        offset: 0,
    };
    let mut read = FaultEvents::default();
    let others = filter(None, window.from.minus(HOUR), judged_events::paging());
    read.add(None, bounded_events::read(store, others, limits).await?);
    for event_type in event_types() {
        let wanted = Some(&event_type);
        if event_type.as_str() != HEALTH_CHANGED {
            let filter = filter(wanted, lookback, Criticality::MIN);
            let limits = limits.beside(read.events.len());
            read.add(wanted, bounded_events::read(store, filter, limits).await?);
            continue;
        }
        let called = bounded_events::read(store, filter(wanted, lookback, level(CALLS_FROM)), limits).await?;
        let mut devices: Vec<DeviceName> = called.by_device.keys().cloned().collect();
        devices.sort_unstable();
        read.cut_off.extend((devices.len() > MAX_CALLED).then(|| event_type.clone()));
        devices.truncate(MAX_CALLED);
        read.add(wanted, called);
        let all = filter(wanted, lookback, Criticality::MIN);
        read.add(wanted, bounded_events::read_apart(store, &all, devices, MAX_STATEMENTS).await?);
        let recent = filter(wanted, window.until.minus(health::MAX_STATEMENT_AGE), Criticality::MIN);
        let newest = store.events(EventFilter { limit: 1, ..recent }).await?;
        read.detector_seen = newest.first().map(|record| record.event.timestamp);
    }
    Ok(read)
}

fn level(criticality: u64) -> Criticality {
    Criticality::new(criticality).unwrap_or(Criticality::MAX)
}

impl FirstRows for IncidentList {
    rows_in_data!(Incident);

    fn following(&self) -> Next {
        let mut next = next_rows(&self.basis, self.offset + self.data.len() as u64);
        next.extend(self.present.then(|| ("present", Value::from("yes"))));
        Some(next)
    }
}

#[cfg(test)]
mod tests;
