//! `fleet_health`: the verdict on every device, by the evidence and the judgement of `device_health`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::query::FleetQuery;
use spindle_core::records::{DeviceRecord, Window};
use spindle_core::response::{Basis, FleetHealth, FleetRow, FleetSummary, GoneDevice};
use spindle_core::{Timestamp, decision, health};
use spindle_store::Store;

use super::arrivals;
use super::evidence::{self, DeviceEvidence};
use super::fit::{Page, bytes_of_rows, json_bytes};
use super::judged_events;

/// Devices whose evidence is read together.
const DEVICES_AT_ONCE: usize = 10_000;

/// Judges all devices, and lists those with the wanted verdicts.
pub(super) async fn fleet_health(store: &Store, query: FleetQuery) -> Result<FleetHealth> {
    let FleetQuery { window, health, group_by, after, limit } = query;
    let first = async { Ok(store.devices(None, DEVICES_AT_ONCE).await?) };
    let (mut events, mut records) = tokio::try_join!(judged_events::read(store, None, window), first)?;
    let (mut rows, mut gone, mut n_points) = (Vec::new(), Vec::new(), 0);
    loop {
        let is_last = records.len() < DEVICES_AT_ONCE;
        let last = records.last().map(|record| record.source_device.clone());
        // In a question about the past, what came later is not there yet.
        records.retain(|record| !arrivals::is_past(window.until) || record.first_seen < window.until);
        let named: Vec<_> =
            records.iter().map(|record| (record.source_device.clone(), Some(record.last_seen))).collect();
        for (record, evidence) in records.into_iter().zip(evidence::gather(store, &named, &mut events, window).await?) {
            n_points += (evidence.latest.len() + evidence.events.len()) as u64;
            match gone_device(&record, &evidence, window) {
                Some(device) => gone.push(device),
                None => rows.push(row(record, &evidence, window)),
            }
        }
        if is_last {
            break;
        }
        records = store.devices(last.as_ref(), DEVICES_AT_ONCE).await?;
    }
    rows.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let summary = FleetSummary { cut_off: events.cut_off, ..FleetSummary::of(&rows, &group_by, gone) };
    let start = after.and_then(|after| rows.iter().position(|row| row.source_device == after));
    let mut data: Vec<FleetRow> = rows.into_iter().skip(start.map_or(0, |index| index + 1)).collect();
    data.retain(|row| health.contains(row.health));
    let has_more = data.len() > limit;
    data.truncate(limit);
    let mut page = FleetHealth { data, summary, next: None, basis: Basis::of(window, n_points) };
    if has_more {
        page.next = next(&page);
    }
    Ok(page)
}

/// Returns a device as gone if nothing was seen of it for as long as a fault counts, or if another drive stands in its
/// place.
fn gone_device(record: &DeviceRecord, evidence: &DeviceEvidence, window: Window) -> Option<GoneDevice> {
    let replaced = health::was_replaced(&evidence.events, evidence.received);
    let is_unseen =
        evidence.received.is_none() && record.last_seen < window.until.minus(health::FAULT_LOOKBACK).min(window.from);
    (is_unseen || replaced).then(|| GoneDevice {
        source_device: record.source_device.clone(),
        last_seen: record.last_seen,
        replaced,
    })
}

fn row(record: DeviceRecord, evidence: &DeviceEvidence, window: Window) -> FleetRow {
    let verdict = evidence.judge();
    let DeviceRecord { source_device, labels, last_seen, .. } = record;
    FleetRow {
        source_device,
        health: verdict.health,
        score: verdict.score,
        asleep: health::is_asleep(&evidence.latest),
        since: health::since(&verdict, &evidence.events, window.until),
        n_reasons: verdict.reasons.len(),
        reason: verdict.reasons.into_iter().next(),
        labels,
        last_seen,
        last_received: arrivals::last_received(evidence.received, evidence.newest_value()),
        detector_seen: health::detector_seen(&evidence.events),
        acknowledged: decision::acknowledged(&evidence.decisions, window.until),
    }
}

/// Returns the parameters of the next page, as of the same instant.
fn next(page: &FleetHealth) -> Option<BTreeMap<&'static str, Value>> {
    let last = page.data.last()?;
    let at: Timestamp = page.basis.until.minus(Duration::from_nanos(1));
    Some(BTreeMap::from([("after", Value::from(last.source_device.as_str())), ("at", Value::from(at.to_string()))]))
}

impl Page for FleetHealth {
    fn row_bytes(&self) -> Vec<usize> {
        bytes_of_rows(self.data.iter())
    }

    fn truncate(&mut self, n_rows: usize) {
        self.data.truncate(n_rows);
        self.next = next(self);
    }

    fn frame_bytes(&self) -> usize {
        json_bytes(&self.next)
    }
}

#[cfg(test)]
mod tests;
