//! Queries in the index of arrivals, and for the events that its entries point at.

use std::collections::BTreeSet;

use spindle_core::Timestamp;
use spindle_core::records::{EventRecord, Window};
use spindle_core::schema::{EVENT_ARRIVALS, EVENTS};

use super::event_order::{EventKey, key_of, sort};
use super::event_position::ARRIVAL_SPREAD_NS;
use super::places::{Density, Place, Places};
use super::response::{self, ArrivalEntry};
use super::session::{Influx, MAX_TIME, bounds};
use crate::StoreError;

const FIELDS: &str = "event_id, timestamp_ns, received_ns, place_ns, source_device, event_type";

/// Entry of the index: an event, and the place of its point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LateEntry {
    /// First, so that the order is that of the events.
    key: EventKey,
    place_ns: i64,
    received: Timestamp,
}

/// Returns the entries of events that arrived in the window and did not happen in it, in the order of the events, newest
/// first. `condition` is the rest of the filter, as InfluxQL.
pub(super) async fn late_entries(
    influx: &Influx,
    window: Window,
    condition: &str,
) -> Result<Vec<LateEntry>, StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(Vec::new()) };
    let query = |first, last| {
        format!(
            "SELECT {FIELDS} FROM {} WHERE time >= {first} AND time <= {last} AND received_ns >= {from} AND received_ns <= {until} AND (timestamp_ns < {from} OR timestamp_ns > {until}){condition}",
            EVENT_ARRIVALS.name
        )
    };
    let mut found = BTreeSet::new();
    influx
        .select(from, until.saturating_add(ARRIVAL_SPREAD_NS).min(MAX_TIME), query, |series| {
            found.extend(series.values.iter().filter_map(|row| response::arrival(series, row)).map(LateEntry::of));
        })
        .await?;
    Ok(found.into_iter().rev().collect())
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
pub(super) async fn read(influx: &Influx, entries: &[LateEntry], fields: &str) -> Result<Vec<EventRecord>, StoreError> {
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
pub(super) async fn read_first(
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
