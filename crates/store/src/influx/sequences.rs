//! Sequence numbers of points, for the gap audit: rows are passed on as they arrive.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::iter;
use std::ops::RangeInclusive;

use serde_json::Value;
use spindle_core::audit::{PointKind, SeqVisitor, Tally};
use spindle_core::records::Window;
use spindle_core::schema::{DEVICE_METRICS, EVENTS};
use spindle_core::{DeviceName, EventId, IdentityDigest, Timestamp};

use super::event_position::SPREAD_NS;
use super::line::{self, one_of_devices};
use super::series::MAX_NAMED_DEVICES;
use super::session::{Influx, MAX_TIME, bounds};
use super::{replaced, response};
use crate::StoreError;

/// Device, sequence number and time of a stored event.
struct EventSequence<'a> {
    device: &'a str,
    seq: Option<u64>,
    happened: i64,
}

/// `Store::tally`, several devices at a time so that a fleet does not take one query per device.
pub(crate) async fn tally(influx: &Influx, devices: &[DeviceName], window: Window) -> Result<Vec<Tally>, StoreError> {
    let mut tallies = Vec::with_capacity(devices.len());
    for some in devices.chunks(MAX_NAMED_DEVICES) {
        let mut found: BTreeMap<&str, Tally> = some.iter().map(|name| (name.as_str(), Tally::default())).collect();
        tally_metrics(influx, &mut found, window).await?;
        tally_events(influx, &mut found, window).await?;
        replaced::tally(influx, &mut found, window).await?;
        // A name listed twice has its points the first time.
        tallies.extend(some.iter().map(|name| found.remove(name.as_str()).unwrap_or_default()));
    }
    Ok(tallies)
}

/// Reads the sequence numbers row by row; the values without one are the rest of their count. The order is by series:
/// the server sorts only on request.
async fn tally_metrics(influx: &Influx, found: &mut BTreeMap<&str, Tally>, window: Window) -> Result<(), StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(()) };
    let only = one_of_devices(found.keys().copied());
    let query = |field: &'static str| {
        let only = &only;
        move |from, until| {
            format!(
                "SELECT {field} FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, metric_type",
                DEVICE_METRICS.name
            )
        }
    };
    let mut n_numbered: BTreeMap<String, u64> = BTreeMap::new();
    influx
        .select(from, until, query("seq"), |series| {
            let device = line::decode(series.tag("source_device"));
            let Some(tally) = found.get_mut(&*device) else { return };
            let seqs = series.values.iter().filter_map(|row| seq(row.get(1)?));
            let n_seqs = seqs.map(|seq| tally.see(PointKind::Metric, Some(seq))).count() as u64;
            *n_numbered.entry(device.into_owned()).or_default() += n_seqs;
        })
        .await?;
    let mut n_values: BTreeMap<String, u64> = BTreeMap::new();
    influx
        .select(from, until, query("count(value)"), |series| {
            let count = n_values.entry(line::decode(series.tag("source_device")).into_owned()).or_default();
            *count = count.saturating_add(response::count(series));
        })
        .await?;
    for (device, n_values) in n_values {
        if let Some(tally) = found.get_mut(device.as_str()) {
            // Retention may have removed values between the two queries.
            tally.see_without_seq(n_values.saturating_sub(n_numbered.get(&device).copied().unwrap_or(0)));
        }
    }
    Ok(())
}

async fn tally_events(influx: &Influx, found: &mut BTreeMap<&str, Tally>, window: Window) -> Result<(), StoreError> {
    let only = one_of_devices(found.keys().copied());
    each_event(influx, window, &only, |event| {
        if let Some(tally) = found.get_mut(event.device) {
            tally.see(PointKind::Event, event.seq);
        }
    })
    .await
}

/// `Store::sequences`.
pub(crate) async fn visit<V: SeqVisitor>(
    influx: &Influx,
    device: &DeviceName,
    window: Window,
    seqs: RangeInclusive<u64>,
    mut visitor: V,
) -> Result<V, StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(visitor) };
    let mut only = one_of_devices(iter::once(device.as_str()));
    // Numbers beyond 63 bits are stored as negative ones: then the range is not part of the query.
    if let (Ok(least), Ok(most)) = (i64::try_from(*seqs.start()), i64::try_from(*seqs.end())) {
        let _ = write!(only, " AND seq >= {least} AND seq <= {most}");
    }
    let query = |from, until| {
        format!(
            "SELECT seq FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY metric_type",
            DEVICE_METRICS.name
        )
    };
    influx
        .select(from, until, query, |series| {
            for row in &series.values {
                if let (Some(time), Some(seq)) = (row.first().and_then(Value::as_i64), row.get(1).and_then(seq)) {
                    visitor.visit(seq, Timestamp::from_ns(time));
                }
            }
        })
        .await?;
    each_event(influx, window, &only, |event| {
        if let Some(seq) = event.seq {
            visitor.visit(seq, Timestamp::from_ns(event.happened));
        }
    })
    .await?;
    Ok(visitor)
}

/// Visits each event of the window once: two concurrent writers can both have stored it.
async fn each_event(
    influx: &Influx,
    window: Window,
    only: &str,
    mut visit: impl FnMut(&EventSequence<'_>),
) -> Result<(), StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(()) };
    let query = |from, until| {
        format!(
            "SELECT event_id, timestamp_ns, seq FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, event_type",
            EVENTS.name
        )
    };
    let mut seen: HashSet<IdentityDigest> = HashSet::new();
    influx
        .select(from, until.saturating_add(SPREAD_NS).min(MAX_TIME), query, |series| {
            let device = line::decode(series.tag("source_device"));
            let [device_tag, type_tag] = ["source_device", "event_type"].map(|tag| series.tag(tag).as_bytes());
            for row in &series.values {
                let Some((id, happened)) = id_and_time(row) else { continue };
                let identity =
                    || IdentityDigest::of(&[device_tag, type_tag, id.text().as_bytes(), &happened.to_be_bytes()]);
                if window.contains(Timestamp::from_ns(happened)) && seen.insert(identity()) {
                    visit(&EventSequence { device: &device, seq: row.get(3).and_then(seq), happened });
                }
            }
        })
        .await
}

fn id_and_time(row: &[Value]) -> Option<(EventId, i64)> {
    Some((response::event_id(row.get(1)?)?, row.get(2)?.as_i64()?))
}

fn seq(cell: &Value) -> Option<u64> {
    cell.as_i64().map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_63_bits_come_back() {
        assert_eq!(seq(&serde_json::json!(-1)), Some(u64::MAX));
        assert_eq!(seq(&serde_json::json!(9_007_199_254_740_993_i64)), Some(9_007_199_254_740_993));
        assert_eq!(seq(&Value::Null), None);
    }
}
