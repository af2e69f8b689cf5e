//! `incidents`: open and recently closed faults of all devices, told by their causes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use spindle_core::incidents::{Incident, IncidentEvidence, IncidentState, event_types, incidents as told};
use spindle_core::judge::events::HEALTH_CHANGED;
use spindle_core::query::IncidentsQuery;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{Basis, IncidentCounts, IncidentList};
use spindle_core::{Criticality, DeviceName, EventType, Timestamp, health};
use spindle_store::Store;

use super::arrivals;
use super::fit::{Page, bytes_of_rows, json_bytes};
use super::judged_events;
use super::listings::next_rows;

/// Time for which an event that nothing closes still counts.
const HOUR: Duration = Duration::from_secs(3_600);
/// Criticality from which on an event calls a person.
const CALLS_FROM: u64 = 7;

/// Returns the incidents that were open in the window.
pub(super) async fn incidents(store: &Store, query: IncidentsQuery) -> Result<IncidentList> {
    let IncidentsQuery { window, state, source_device, min_criticality, limit, offset } = query;
    let Read { events, cut_off } = read(store, window).await?;
    let decisions = judged_events::decisions(store, None, window.until, arrivals::is_past(window.until)).await?;
    let named: BTreeSet<&DeviceName> = events.iter().map(|record| &record.event.source_device).collect();
    let named: Vec<DeviceName> = named.into_iter().cloned().collect();
    let labels = store.labels(&named).await?;
    let labels: BTreeMap<DeviceName, _> = named.into_iter().zip(labels).collect();
    let mut data = told(&IncidentEvidence { window, events: &events, decisions: &decisions, labels: &labels });
    data.retain(|incident| {
        let is_of_device = source_device.as_ref().is_none_or(|device| incident.devices.contains(device));
        is_of_device && incident.criticality >= min_criticality
    });
    let count = |state| data.iter().filter(|incident| incident.state == state).count() as u64;
    let statements = events.iter().filter(|record| record.event.event_type.as_str() == HEALTH_CHANGED);
    let summary = IncidentCounts {
        n_open: count(IncidentState::Open),
        n_acknowledged: count(IncidentState::Acknowledged),
        n_closed: count(IncidentState::Closed),
        cut_off,
        detector_seen: statements.map(|record| record.event.timestamp).max(),
    };
    data.retain(|incident| state.is_none_or(|state| incident.state == state));
    let has_more = data.len() > offset.saturating_add(limit);
    let data: Vec<Incident> = data.into_iter().skip(offset).take(limit).collect();
    let basis = Basis::of(window, events.len() as u64);
    let mut list = IncidentList { data, summary, next: None, basis, offset: offset as u64 };
    if has_more {
        list.next = Some(next_rows(&list.basis, list.offset + list.data.len() as u64));
    }
    Ok(list)
}

struct Read {
    events: Vec<EventRecord>,
    /// Types with more events than were read.
    cut_off: Vec<EventType>,
}

/// Reads the events that open and close faults, as far back as an open fault counts. Of the verdicts, those that call a
/// person are read as far, and all of the last day: each is stated once a day.
async fn read(store: &Store, window: Window) -> Result<Read> {
    let lookback = window.until.minus(health::FAULT_LOOKBACK).min(window.from);
    let stated_from = window.until.minus(health::MAX_STATEMENT_AGE);
    let (lowest, paging) = (Criticality::MIN, level(u64::from(health::PAGING_CRITICALITY)));
    let mut wanted = vec![(None, window.from.minus(HOUR), paging)];
    for event_type in event_types() {
        if event_type.as_str() == HEALTH_CHANGED {
            wanted.push((Some(event_type.clone()), stated_from, lowest));
            wanted.push((Some(event_type), lookback, level(CALLS_FROM)));
        } else {
            wanted.push((Some(event_type), lookback, lowest));
        }
    }
    // A clock that is ahead dates its events after now.
    let until = if arrivals::is_past(window.until) { window.until } else { Timestamp::from_ns(i64::MAX) };
    let limit = judged_events::limit(None);
    let (mut events, mut cut_off, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (event_type, from, min_criticality) in wanted {
        let filter = EventFilter {
            window: Window { from, until },
            basis: TimeBasis::Happened,
            source_device: None,
            event_type,
            min_criticality,
            limit: limit + 1,
            offset: 0,
        };
        let found = store.events(filter).await?;
        cut_off.extend(found.get(limit).map(|record| record.event.event_type.clone()));
        for record in found.into_iter().take(limit) {
            let event = &record.event;
            if seen.insert((event.id.clone(), event.source_device.clone(), event.event_type.clone(), event.timestamp)) {
                events.push(record);
            }
        }
    }
    Ok(Read { events, cut_off: cut_off.into_iter().collect() })
}

fn level(criticality: u64) -> Criticality {
    Criticality::new(criticality).unwrap_or(Criticality::MAX)
}

impl Page for IncidentList {
    fn row_bytes(&self) -> Vec<usize> {
        bytes_of_rows(self.data.iter())
    }

    fn truncate(&mut self, n_rows: usize) {
        self.data.truncate(n_rows);
        self.next = Some(next_rows(&self.basis, self.offset + n_rows as u64));
    }

    fn frame_bytes(&self) -> usize {
        json_bytes(&self.next)
    }
}
