//! Queries for events. Each reads the window that it asks for: by the time they happened among the events, by the time
//! they were stored in the index of arrivals.

use std::collections::BTreeMap;
use std::fmt::Write;

use spindle_core::DeviceName;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis};
use spindle_core::schema::EVENTS;

use super::arrivals;
use super::event_order::sort;
use super::event_position::SPREAD_NS;
use super::line::quoted;
use super::response::event;
use super::session::{Influx, MAX_TIME, bounds};
use crate::StoreError;

const FIELDS: &str = "event_id, criticality, event_message, timestamp_ns, received_ns, seq, labels";
/// Fields that a count needs.
const KEY_FIELDS: &str = "event_id, criticality, timestamp_ns, received_ns";

/// `Store::events`.
pub(crate) async fn select(influx: &Influx, filter: &EventFilter) -> Result<Vec<EventRecord>, StoreError> {
    let n_wanted = filter.offset.saturating_add(filter.limit);
    let found = matching(influx, filter, n_wanted, FIELDS).await?;
    Ok(found.into_iter().skip(filter.offset).take(filter.limit).collect())
}

/// `Store::count_events_by_device`.
pub(crate) async fn count_by_device(
    influx: &Influx,
    filter: &EventFilter,
) -> Result<Vec<(DeviceName, u64)>, StoreError> {
    let mut counts: BTreeMap<DeviceName, u64> = BTreeMap::new();
    for record in matching(influx, filter, usize::MAX, KEY_FIELDS).await? {
        *counts.entry(record.event.source_device).or_default() += 1;
    }
    Ok(counts.into_iter().collect())
}

/// Returns the events of a filter in order: at least the first `n_wanted`.
async fn matching(
    influx: &Influx,
    filter: &EventFilter,
    n_wanted: usize,
    fields: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    let condition = condition(filter);
    let mut found = happened(influx, filter, &condition, fields).await?;
    if filter.basis != TimeBasis::Happened {
        // Most of what arrives in a window happened in it too: only the late ones are looked for one by one.
        if filter.basis == TimeBasis::Received {
            found.retain(|record| filter.window.contains(record.received));
        }
        let entries = arrivals::late_entries(influx, filter.window, &condition).await?;
        found.append(&mut arrivals::read_first(influx, &entries, n_wanted, fields).await?);
    }
    sort(&mut found);
    Ok(found)
}

/// Reads the events that happened in the window.
async fn happened(
    influx: &Influx,
    filter: &EventFilter,
    condition: &str,
    fields: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    let mut found = Vec::new();
    let Some((from, until)) = bounds(filter.window) else { return Ok(found) };
    let query = |from, until| {
        format!(
            "SELECT {fields}, source_device, event_type FROM {} WHERE time >= {from} AND time <= {until}{condition}",
            EVENTS.name
        )
    };
    influx
        .select(from, until.saturating_add(SPREAD_NS).min(MAX_TIME), query, |series| {
            let records = series.values.iter().filter_map(|row| event(series, row));
            found.extend(records.filter(|record| filter.window.contains(record.event.timestamp)));
        })
        .await?;
    Ok(found)
}

/// Returns the filter without its window as InfluxQL.
fn condition(filter: &EventFilter) -> String {
    let mut condition = String::new();
    if let Some(name) = &filter.source_device {
        let _ = write!(condition, " AND source_device = {}", quoted(name));
    }
    if let Some(name) = &filter.event_type {
        let _ = write!(condition, " AND event_type = {}", quoted(name));
    }
    if filter.min_criticality.level() > 1 {
        let _ = write!(condition, " AND criticality >= {}", filter.min_criticality.level());
    }
    condition
}
