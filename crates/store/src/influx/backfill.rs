//! Completes the indexes of arrivals and of devices from what an earlier version stored without them, once.
//!
//! Reads the events backwards from the newest, a page at a time, and adds the entries of their arrivals; takes the
//! devices from the ends of their data. A marker says when both are complete. It does no harm to stop half-way or to
//! do it twice: whatever is there already stays.

use std::sync::atomic::Ordering;

use spindle_core::records::EventRecord;
use spindle_core::schema::{DEVICE_METRICS, EVENTS};
use spindle_core::{DeviceName, Timestamp};
use tracing::{info, warn};

use super::claims::Claim;
use super::device_index::{carry, newest, newest_marker};
use super::event_position::arrival;
use super::index_marker::{INCOMPLETE, INDEX_VERSION};
use super::line::{self, MAX_TIME, MIN_TIME};
use super::places::Density;
use super::response;
use super::session::Influx;
use super::write_devices::note_times;
use super::write_events::write_arrivals;
use crate::StoreError;

/// Events read at once, and the longest range they are read from.
const PAGE_ROWS: usize = 20_000;
const PAGE_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// `Store::complete_indexes`.
pub(crate) async fn complete_indexes(influx: &Influx, now: Timestamp) -> Result<(), StoreError> {
    let version = newest_marker(influx, "index_version").await?;
    let mut is_complete = version.is_some_and(|(_, version)| version >= INDEX_VERSION);
    // Gaps that appear later wait for the next start: what the server refuses now it may refuse again and again.
    if !is_complete && !influx.has_completed_indexes.load(Ordering::Relaxed) {
        let (n_events, n_refused) = complete_arrivals(influx).await?;
        let n_devices = complete_devices(influx, now).await?;
        is_complete = n_refused == 0;
        if !is_complete {
            warn!(
                n_refused,
                "index of arrivals has gaps; the next start completes it if InfluxDB then takes the entries"
            );
        } else if n_events + n_devices > 0 {
            info!(n_events, n_devices, "indexes completed from the data of an earlier version");
        }
    }
    let found = version.map(|(_, version)| version);
    let wanted = if is_complete { INDEX_VERSION } else { INCOMPLETE };
    carry(influx, now, wanted, found == Some(wanted)).await?;
    influx.has_completed_indexes.store(true, Ordering::Relaxed);
    Ok(())
}

/// Returns the number of events, and of entries that the server refused.
async fn complete_arrivals(influx: &Influx) -> Result<(usize, usize), StoreError> {
    let (mut cursor, mut n_events, mut n_refused) = (MAX_TIME, 0, 0);
    while let Some((until, _)) = newest(influx, EVENTS.name, "timestamp_ns", (MIN_TIME, cursor)).await? {
        let from = until.saturating_sub(PAGE_NS).max(MIN_TIME);
        let mut page = read_page(influx, from, until, Some(PAGE_ROWS)).await?;
        let mut next = from;
        if let Some((place_ns, _)) = page.last().filter(|_| page.len() >= PAGE_ROWS) {
            // The page may end amid the points of one instant: the next page begins there.
            next = *place_ns;
            if next == until {
                page = read_page(influx, until, until, None).await?;
            } else {
                next += 1;
            }
        }
        let claims = page.iter().enumerate().map(|(index, (place_ns, EventRecord { event, received }))| Claim {
            index,
            event,
            natural: arrival(event, *received),
            received: *received,
            place_ns: *place_ns,
        });
        n_refused += write_arrivals(influx, claims.collect(), Density::History).await?.len();
        n_events += page.len();
        let Some(before) = next.checked_sub(1).filter(|before| *before >= MIN_TIME) else { break };
        cursor = before;
    }
    Ok((n_events, n_refused))
}

/// Reads events with the times of their points, the newest first.
async fn read_page(
    influx: &Influx,
    from: i64,
    until: i64,
    limit: Option<usize>,
) -> Result<Vec<(i64, EventRecord)>, StoreError> {
    let limit = limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
    let query = |from, until| {
        format!(
            "SELECT event_id, criticality, timestamp_ns, received_ns, source_device, event_type FROM {} WHERE time >= {from} AND time <= {until} ORDER BY time DESC{limit}",
            EVENTS.name
        )
    };
    let mut page = Vec::new();
    influx
        .select(from, until, query, |series| {
            page.extend(
                series.values.iter().filter_map(|row| Some((row.first()?.as_i64()?, response::event(series, row)?))),
            );
        })
        .await?;
    page.sort_by_key(|(place_ns, _)| std::cmp::Reverse(*place_ns));
    Ok(page)
}

async fn complete_devices(influx: &Influx, now: Timestamp) -> Result<usize, StoreError> {
    let mut times: Vec<(String, i64)> = Vec::new();
    for (measurement, column, field) in [
        (DEVICE_METRICS.name, 0, "first(value)"),
        (DEVICE_METRICS.name, 0, "last(value)"),
        (EVENTS.name, 1, "first(timestamp_ns)"),
        (EVENTS.name, 1, "last(timestamp_ns)"),
    ] {
        let query = |from, until| {
            format!("SELECT {field} FROM {measurement} WHERE time >= {from} AND time <= {until} GROUP BY source_device")
        };
        influx
            .select(MIN_TIME, MAX_TIME, query, |series| {
                let Ok(name) = DeviceName::new(&line::decode(series.tag("source_device"))) else { return };
                let found = series.values.iter().filter_map(|row| row.get(column)?.as_i64());
                times.extend(found.map(|time| (name.to_string(), time)));
            })
            .await?;
    }
    let times = times.iter().map(|(device, time)| (device.as_str(), *time));
    note_times(influx, times, now, 0, &influx.event_limit).await.map(|outcome| outcome.n_notes)
}
