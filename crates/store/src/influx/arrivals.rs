//! Queries in the index of arrivals, and for the events that its entries point at.

use std::collections::BTreeSet;
use std::fmt::Write;

use spindle_core::Timestamp;
use spindle_core::records::{EventRecord, Window};
use spindle_core::schema::{EVENT_ARRIVALS, EVENTS};

use super::event_order::{EventKey, key_of, sort};
use super::event_position::ARRIVAL_SPREAD_NS;
use super::places::{Density, Place, Places};
use super::response::{self, ArrivalEntry, SeriesPart};
use super::session::{Influx, MAX_TIME, bounds};
use crate::StoreError;

/// Entries wanted from which on all are read, and entries read beyond those wanted before the server selects them.
const MAX_SELECTED: usize = 10_000;
const MARGIN_ROWS: usize = 1_000;
const FIELDS: &str = "event_id, timestamp_ns, received_ns, place_ns, source_device, event_type";

/// Entry of the index: an event, and the place of its point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LateEntry {
    /// First, so that the order is that of the events.
    key: EventKey,
    place_ns: i64,
    received: Timestamp,
}

/// Events that arrived in a window and did not happen in it.
pub(super) struct LateQuery<'a> {
    pub(super) window: Window,
    pub(super) side: Side,
    /// Rest of the filter, as InfluxQL.
    pub(super) condition: &'a str,
    /// Fields of the events.
    pub(super) fields: &'static str,
}

/// Side of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Events from before the window.
    Before,
    /// Events of senders whose clock is ahead.
    After,
}

/// Reads the newest events of a side: the first `n_wanted` in their order, and possibly more.
pub(super) async fn read_late(
    influx: &Influx,
    query: LateQuery<'_>,
    n_wanted: usize,
) -> Result<Vec<EventRecord>, StoreError> {
    let Some((from, until)) = bounds(query.window) else { return Ok(Vec::new()) };
    let (oldest, mut newest) = match query.side {
        Side::Before => (i64::MIN, from.saturating_sub(1)),
        Side::After => (until.saturating_add(1), i64::MAX),
    };
    let mut found = Vec::new();
    while found.len() < n_wanted {
        let n_missing = n_wanted - found.len();
        let LateEntries { entries, complete_from } = query.newest_entries(influx, (oldest, newest), n_missing).await?;
        found.append(&mut read_first(influx, &entries, n_missing, query.fields).await?);
        match complete_from {
            Some(from) if from > oldest => newest = from - 1,
            Some(_) | None => break,
        }
    }
    Ok(found)
}

/// Entries in the order of the events, newest first.
struct LateEntries {
    entries: Vec<LateEntry>,
    /// Time of events from which on all are there; `None`: all are.
    complete_from: Option<i64>,
}

impl LateQuery<'_> {
    /// Returns the entries of events of a range of time: at least the `n_wanted` newest.
    async fn newest_entries(
        &self,
        influx: &Influx,
        (oldest, newest): (i64, i64),
        n_wanted: usize,
    ) -> Result<LateEntries, StoreError> {
        if n_wanted < MAX_SELECTED {
            // Late events are few as a rule. The index has the order of the arrivals, which does not help here.
            let max_rows = n_wanted + MARGIN_ROWS;
            let (entries, n_rows) = self.entries(influx, (oldest, newest), &format!(" LIMIT {}", max_rows + 1)).await?;
            if n_rows <= max_rows {
                return Ok(LateEntries { entries, complete_from: None });
            }
            if let Some(from) = self.nth_newest(influx, (oldest, newest), n_wanted).await? {
                let (entries, _) = self.entries(influx, (from, newest), "").await?;
                return Ok(LateEntries { entries, complete_from: Some(from) });
            }
        }
        let (entries, _) = self.entries(influx, (oldest, newest), "").await?;
        Ok(LateEntries { entries, complete_from: None })
    }

    /// Reads entries; returns them with the number of rows.
    async fn entries(
        &self,
        influx: &Influx,
        times: (i64, i64),
        limit: &str,
    ) -> Result<(Vec<LateEntry>, usize), StoreError> {
        let (mut found, mut n_rows) = (BTreeSet::new(), 0);
        self.select(influx, FIELDS, times, limit, |series| {
            n_rows += series.values.len();
            found.extend(series.values.iter().filter_map(|row| response::arrival(series, row)).map(LateEntry::of));
        })
        .await?;
        Ok((found.into_iter().rev().collect(), n_rows))
    }

    /// Returns the time of the n-th newest event, as the server finds it; `None` if it cannot.
    async fn nth_newest(&self, influx: &Influx, times: (i64, i64), number: usize) -> Result<Option<i64>, StoreError> {
        let mut newest = Vec::new();
        let selected = format!("top(timestamp_ns, {number})");
        let outcome = self
            .select(influx, &selected, times, "", |series| {
                newest.extend(series.values.iter().filter_map(|row| row.get(1)?.as_i64()));
            })
            .await;
        match outcome {
            // A server without this function, or with a limit of its own.
            Err(StoreError::Query { .. }) => return Ok(None),
            outcome => outcome?,
        }
        newest.sort_unstable();
        Ok(newest.len().checked_sub(number).map(|index| newest[index]))
    }

    /// Runs a query for the entries of events of a range of time.
    async fn select(
        &self,
        influx: &Influx,
        selected: &str,
        (oldest, newest): (i64, i64),
        limit: &str,
        each: impl FnMut(&SeriesPart),
    ) -> Result<(), StoreError> {
        let Some((from, until)) = bounds(self.window) else { return Ok(()) };
        let mut happened = String::new();
        if oldest > i64::MIN {
            let _ = write!(happened, " AND timestamp_ns >= {oldest}");
        }
        if newest < i64::MAX {
            let _ = write!(happened, " AND timestamp_ns <= {newest}");
        }
        let query = |first, last| {
            format!(
                "SELECT {selected} FROM {} WHERE time >= {first} AND time <= {last} AND received_ns >= {from} AND received_ns <= {until}{happened}{}{limit}",
                EVENT_ARRIVALS.name, self.condition
            )
        };
        influx.select(from, until.saturating_add(ARRIVAL_SPREAD_NS).min(MAX_TIME), query, each).await
    }
}

impl LateEntry {
    fn of(entry: ArrivalEntry) -> Self {
        let ArrivalEntry { id, happened, received, place_ns, device, event_type } = entry;
        Self { key: (Timestamp::from_ns(happened), id, device, event_type), place_ns, received }
    }

    fn place(&self) -> Place<'_> {
        let (_, _, device, event_type) = &self.key;
        Place { time: self.place_ns, device, event_type }
    }
}

/// Reads the events that entries point at. Entries without their event are passed over: the retention may have taken
/// it, or it has arrived once more after a loss.
async fn read(influx: &Influx, entries: &[LateEntry], fields: &str) -> Result<Vec<EventRecord>, StoreError> {
    let wanted: BTreeSet<(&EventKey, Timestamp)> = entries.iter().map(|entry| (&entry.key, entry.received)).collect();
    let mut found = Vec::new();
    Places::new(entries.iter().map(LateEntry::place), Density::Live)
        .read(influx, EVENTS.name, fields, |_, _, series, row| {
            let Some(record) = response::event(series, row) else { return };
            if wanted.contains(&(&key_of(&record), record.received)) {
                found.push(record);
            }
        })
        .await?;
    Ok(found)
}

/// Reads the events of the first entries, until `n_wanted` are found.
async fn read_first(
    influx: &Influx,
    mut entries: &[LateEntry],
    n_wanted: usize,
    fields: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    let mut found = Vec::new();
    while found.len() < n_wanted && !entries.is_empty() {
        let (some, rest) = entries.split_at((n_wanted - found.len()).min(entries.len()));
        entries = rest;
        let mut records = read(influx, some, fields).await?;
        sort(&mut records);
        found.append(&mut records);
    }
    Ok(found)
}
