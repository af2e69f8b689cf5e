//! The numbers of points, for the gap audit: rows are handed on as they arrive.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::ops::RangeInclusive;

use serde_json::Value;
use spindle_core::audit::{PointKind, SeqVisitor, Tally};
use spindle_core::records::Window;
use spindle_core::schema::{DEVICE_METRICS, EVENTS};
use spindle_core::{DeviceName, Timestamp};
use uuid::Uuid;

use super::line::{self, quoted};
use super::read::{MAX_NAMED_DEVICES, MAX_TIME, PLACE_SPREAD_NS, bounds};
use super::write::{hash, identity_of};
use super::{Inner, answer};
use crate::StoreError;

/// An event as it is stored: which device, its number, when it happened.
struct Found<'a> {
    device: &'a str,
    seq: Option<u64>,
    happened: i64,
}

impl Inner {
    /// The tallies of devices, some at a time so that a fleet is no query for each.
    pub(super) async fn tally(&self, devices: &[DeviceName], window: Window) -> Result<Vec<Tally>, StoreError> {
        let mut tallies = Vec::with_capacity(devices.len());
        for some in devices.chunks(MAX_NAMED_DEVICES) {
            let mut found: BTreeMap<&str, Tally> = some.iter().map(|name| (name.as_str(), Tally::default())).collect();
            self.tally_metrics(&mut found, window).await?;
            self.tally_events(&mut found, window).await?;
            // A name that was asked for twice has its points the first time.
            tallies.extend(some.iter().map(|name| found.remove(name.as_str()).unwrap_or_default()));
        }
        Ok(tallies)
    }

    /// The numbers row by row; the values without one are what is left of their count. Series by series: whatever
    /// order is not asked for is not made.
    async fn tally_metrics(&self, found: &mut BTreeMap<&str, Tally>, window: Window) -> Result<(), StoreError> {
        let Some((from, until)) = bounds(window) else { return Ok(()) };
        let only = one_of(found.keys());
        let query = |what: &str, from, until| {
            format!(
                "SELECT {what} FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, metric_type",
                DEVICE_METRICS.name
            )
        };
        let mut n_numbered: BTreeMap<String, u64> = BTreeMap::new();
        self.select(
            from,
            until,
            |from, until| query("seq", from, until),
            |series| {
                let device = line::decode(series.tag("source_device"));
                let Some(tally) = found.get_mut(&*device) else { return };
                let seqs = series.values.iter().filter_map(|row| seq(row.get(1)?));
                let n_seqs = seqs.map(|seq| tally.see(PointKind::Metric, Some(seq))).count() as u64;
                *n_numbered.entry(device.into_owned()).or_default() += n_seqs;
            },
        )
        .await?;
        let mut n_values: BTreeMap<String, u64> = BTreeMap::new();
        self.select(
            from,
            until,
            |from, until| query("count(value)", from, until),
            |series| {
                let counted = n_values.entry(line::decode(series.tag("source_device")).into_owned()).or_default();
                *counted = counted.saturating_add(answer::count(series));
            },
        )
        .await?;
        for (device, n_values) in n_values {
            if let Some(tally) = found.get_mut(device.as_str()) {
                // Values may have gone, by retention, between the two questions.
                tally.see_without_seq(n_values.saturating_sub(n_numbered.get(&device).copied().unwrap_or(0)));
            }
        }
        Ok(())
    }

    async fn tally_events(&self, found: &mut BTreeMap<&str, Tally>, window: Window) -> Result<(), StoreError> {
        let only = one_of(found.keys());
        self.each_event(window, &only, |event| {
            if let Some(tally) = found.get_mut(event.device) {
                tally.see(PointKind::Event, event.seq);
            }
        })
        .await
    }

    pub(super) async fn numbers<L: SeqVisitor>(
        &self,
        device: &DeviceName,
        window: Window,
        seqs: RangeInclusive<u64>,
        mut listener: L,
    ) -> Result<L, StoreError> {
        let Some((from, until)) = bounds(window) else { return Ok(listener) };
        let mut only = one_of([device.as_str()].iter());
        // Beyond, they are stored as negative numbers, and every one is looked at.
        if let (Ok(least), Ok(most)) = (i64::try_from(*seqs.start()), i64::try_from(*seqs.end())) {
            let _ = write!(only, " AND seq >= {least} AND seq <= {most}");
        }
        let query = |from, until| {
            format!(
                "SELECT seq FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY metric_type",
                DEVICE_METRICS.name
            )
        };
        self.select(from, until, query, |series| {
            for row in &series.values {
                if let (Some(time), Some(seq)) = (row.first().and_then(Value::as_i64), row.get(1).and_then(seq)) {
                    listener.visit(seq, Timestamp::from_ns(time));
                }
            }
        })
        .await?;
        self.each_event(window, &only, |event| {
            if let Some(seq) = event.seq {
                listener.visit(seq, Timestamp::from_ns(event.happened));
            }
        })
        .await?;
        Ok(listener)
    }

    /// Each event of the window once: two writers at one instant can both have stored it.
    async fn each_event(&self, window: Window, only: &str, mut take: impl FnMut(&Found<'_>)) -> Result<(), StoreError> {
        let Some((from, until)) = bounds(window) else { return Ok(()) };
        let query = |from, until| {
            format!(
                "SELECT event_id, timestamp_ns, seq FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device, event_type",
                EVENTS.name
            )
        };
        let mut seen: HashSet<(u64, u128)> = HashSet::new();
        self.select(from, until.saturating_add(PLACE_SPREAD_NS).min(MAX_TIME), query, |series| {
            let device = line::decode(series.tag("source_device"));
            let place = hash(&(series.tag("source_device"), series.tag("event_type")));
            for row in &series.values {
                let Some((id, happened)) = id_and_time(row) else { continue };
                let identity = (place, identity_of(id, happened));
                if window.contains(Timestamp::from_ns(happened)) && seen.insert(identity) {
                    take(&Found { device: &device, seq: row.get(3).and_then(seq), happened });
                }
            }
        })
        .await
    }
}

fn one_of<'a>(names: impl Iterator<Item = &'a &'a str>) -> String {
    let named: Vec<String> = names.map(|name| format!("source_device = {}", quoted(name))).collect();
    format!(" AND ({})", named.join(" OR "))
}

fn id_and_time(row: &[Value]) -> Option<(Uuid, i64)> {
    Some((row.get(1)?.as_str()?.parse().ok()?, row.get(2)?.as_i64()?))
}

fn seq(cell: &Value) -> Option<u64> {
    cell.as_i64().map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_quotes() {
        assert_eq!(one_of(["a", "b'c"].iter()), " AND (source_device = 'a' OR source_device = 'b\\'c')");
    }

    #[test]
    fn numbers_beyond_63_bits_come_back() {
        assert_eq!(seq(&serde_json::json!(-1)), Some(u64::MAX));
        assert_eq!(seq(&serde_json::json!(9_007_199_254_740_993_i64)), Some(9_007_199_254_740_993));
        assert_eq!(seq(&Value::Null), None);
    }
}
