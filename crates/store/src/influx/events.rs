//! Queries for events. Each reads the window that it asks for: by the time they happened among the events, by the time
//! they were stored in the index of arrivals; and of that no more than its limit takes.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use spindle_core::DeviceName;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::schema::EVENTS;

use super::arrivals::{self, LateQuery, Side};
use super::event_order::sort;
use super::event_position::SPREAD_NS;
use super::line::quoted;
use super::response::{SeriesPart, event};
use super::session::{Influx, MAX_TIME, bounds};
use crate::StoreError;

const FIELDS: &str = "event_id, criticality, event_message, timestamp_ns, received_ns, seq, labels";
/// Fields that a count needs.
const KEY_FIELDS: &str = "event_id, criticality, timestamp_ns, received_ns";

/// Rows read beyond those wanted: events whose place is in the window and whose time is not, and copies.
const MARGIN_ROWS: usize = 100;
/// Rows from which on a window is read as a whole.
const MAX_PAGED_ROWS: usize = 100_000;

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

/// Returns the events of a filter in order: at least the first `n_wanted`, if there are so many.
async fn matching(
    influx: &Influx,
    filter: &EventFilter,
    n_wanted: usize,
    fields: &'static str,
) -> Result<Vec<EventRecord>, StoreError> {
    let condition = condition(filter);
    let late = async |side, n_found: usize| match filter.basis {
        TimeBasis::Happened => Ok(Vec::new()),
        TimeBasis::Received | TimeBasis::Either if n_found >= n_wanted => Ok(Vec::new()),
        TimeBasis::Received | TimeBasis::Either => {
            arrivals::read_late(
                influx,
                LateQuery { window: filter.window, side, condition: &condition, fields },
                n_wanted - n_found,
            )
            .await
        }
    };
    // In the order of the response: each part is read only as far as those before it leave events to be wanted.
    let mut found = late(Side::After, 0).await?;
    let n_wanted_inside = n_wanted.saturating_sub(found.len());
    found.append(&mut happened(influx, filter, &condition, fields, n_wanted_inside).await?);
    found.append(&mut late(Side::Before, found.len()).await?);
    sort(&mut found);
    Ok(found)
}

/// Reads the events that happened in the window from the newest on, until the first `n_wanted` in their order are known.
async fn happened(
    influx: &Influx,
    filter: &EventFilter,
    condition: &str,
    fields: &str,
    n_wanted: usize,
) -> Result<Vec<EventRecord>, StoreError> {
    let Some((from, until)) = bounds(filter.window).filter(|_| n_wanted > 0) else { return Ok(Vec::new()) };
    let by_arrival = match filter.basis {
        TimeBasis::Received => format!(" AND received_ns >= {from} AND received_ns <= {until}"),
        TimeBasis::Happened | TimeBasis::Either => String::new(),
    };
    let select = format!("SELECT {fields}, source_device, event_type FROM {}", EVENTS.name);
    let pages = Pages { influx, window: filter.window, from, select, condition: format!("{condition}{by_arrival}") };
    let mut until = until.saturating_add(SPREAD_NS).min(MAX_TIME);
    let mut n_rows = n_wanted.saturating_add(MARGIN_ROWS);
    let mut found = Vec::new();
    // InfluxDB 1 and 2 decode less of a long series from the old end of a window than from its new one.
    let is_probed = n_rows < MAX_PAGED_ROWS && !influx.ready().await?.has_files();
    if is_probed && pages.read(End::Old, until, n_rows, &mut found).await?.is_none() {
        sort(&mut found);
        found.truncate(n_wanted);
        return Ok(found);
    }
    found.clear();
    loop {
        let mut read_until = pages.read(End::New, until, n_rows, &mut found).await?;
        if read_until == Some(until) {
            // More events at one instant than a page holds.
            n_rows = n_rows.saturating_mul(4);
            continue;
        }
        sort(&mut found);
        found.truncate(n_wanted);
        // An event lies at its time or after it: what is newer than the oldest place read is complete.
        let is_known = |record: &EventRecord| read_until.is_none_or(|place| record.event.timestamp.as_ns() > place);
        if read_until.is_none() || found.len() == n_wanted && found.iter().all(is_known) {
            return Ok(found);
        }
        until = read_until.take().unwrap_or(from);
        n_rows = n_rows.saturating_mul(4).min(MAX_PAGED_ROWS - 1);
    }
}

/// End of a range at which a page begins.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Old,
    New,
}

/// Events of a window, by the places of their points.
struct Pages<'a> {
    influx: &'a Influx,
    window: Window,
    from: i64,
    select: String,
    condition: String,
}

impl Pages<'_> {
    /// Adds the events at the first `n_rows` places from one end of the range up to `until`, or all of them if a page
    /// cannot hold so many. Returns the oldest place read, if there may be more events.
    async fn read(
        &self,
        end: End,
        until: i64,
        n_rows: usize,
        found: &mut Vec<EventRecord>,
    ) -> Result<Option<i64>, StoreError> {
        let Self { influx, window, from, select, condition } = self;
        let order = if end == End::New { " DESC" } else { "" };
        let limit = match n_rows < MAX_PAGED_ROWS {
            true => format!(" ORDER BY time{order} LIMIT {n_rows}"),
            false => String::new(),
        };
        let query = |from, until| format!("{select} WHERE time >= {from} AND time <= {until}{condition}{limit}");
        let (mut n_read, mut oldest) = (0, until);
        let visit = |series: &SeriesPart| {
            n_read += series.values.len();
            for row in &series.values {
                oldest = row.first().and_then(Value::as_i64).map_or(oldest, |time| oldest.min(time));
                found.extend(event(series, row).filter(|record| window.contains(record.event.timestamp)));
            }
        };
        match end == End::New && n_rows < MAX_PAGED_ROWS {
            true => influx.select_newest((*from, until), n_rows, query, visit).await?,
            false => influx.select(*from, until, query, visit).await?,
        }
        Ok(Some(oldest).filter(|_| n_rows < MAX_PAGED_ROWS && n_read >= n_rows))
    }
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
