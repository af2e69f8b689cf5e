//! Queries for events.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use spindle_core::records::{EventFilter, EventRecord, TimeBasis};
use spindle_core::schema::EVENTS;
use spindle_core::{DeviceName, Event};

use super::event_position::SPREAD_NS;
use super::line::quoted;
use super::response::{SeriesPart, event};
use super::session::{Influx, MAX_TIME, MIN_TIME, bounds};
use crate::StoreError;

const FIELDS: &str =
    "event_id, criticality, event_message, timestamp_ns, received_ns, seq, labels, source_device, event_type";

/// `Store::events`.
pub(crate) async fn select(influx: &Influx, filter: &EventFilter) -> Result<Vec<EventRecord>, StoreError> {
    let mut found = Vec::new();
    select_rows(influx, filter, |series| found.extend(series.values.iter().filter_map(|row| event(series, row))))
        .await?;
    found.retain(|record: &EventRecord| matches(filter, record));
    let order = |record: &EventRecord| {
        let Event { timestamp, id, source_device, event_type, .. } = &record.event;
        (*timestamp, id.clone(), source_device.clone(), event_type.clone())
    };
    found.sort_by_cached_key(|record| Reverse(order(record)));
    // Two concurrent writers can both have stored it.
    found.dedup_by(|one, other| order(one) == order(other));
    Ok(found.into_iter().skip(filter.offset).take(filter.limit).collect())
}

/// `Store::count_events_by_device`.
pub(crate) async fn count_by_device(
    influx: &Influx,
    filter: &EventFilter,
) -> Result<Vec<(DeviceName, u64)>, StoreError> {
    let every = EventFilter { limit: usize::MAX, offset: 0, ..filter.clone() };
    let mut counts: BTreeMap<DeviceName, u64> = BTreeMap::new();
    for record in select(influx, &every).await? {
        *counts.entry(record.event.source_device).or_default() += 1;
    }
    Ok(counts.into_iter().collect())
}

async fn select_rows(influx: &Influx, filter: &EventFilter, each: impl FnMut(&SeriesPart)) -> Result<(), StoreError> {
    let Some((from, until)) = bounds(filter.window) else { return Ok(()) };
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
    let (first, last) = match filter.basis {
        TimeBasis::Happened => (from, until.saturating_add(SPREAD_NS).min(MAX_TIME)),
        TimeBasis::Received => {
            let _ = write!(condition, " AND received_ns >= {from} AND received_ns <= {until}");
            (MIN_TIME, MAX_TIME)
        }
        TimeBasis::Either => {
            let happened = format!("timestamp_ns >= {from} AND timestamp_ns <= {until}");
            let _ = write!(condition, " AND ((received_ns >= {from} AND received_ns <= {until}) OR ({happened}))");
            (MIN_TIME, MAX_TIME)
        }
    };
    let query = |from, until| {
        format!("SELECT {FIELDS} FROM {} WHERE time >= {from} AND time <= {until}{condition}", EVENTS.name)
    };
    influx.select(first, last, query, each).await
}

fn matches(filter: &EventFilter, record: &EventRecord) -> bool {
    let (happened, received) =
        (filter.window.contains(record.event.timestamp), filter.window.contains(record.received));
    match filter.basis {
        TimeBasis::Happened => happened,
        TimeBasis::Received => received,
        TimeBasis::Either => happened || received,
    }
}
