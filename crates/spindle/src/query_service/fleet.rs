//! `fleet_health`: the verdict on every device, by the evidence and the judgement of `device_health`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::query::{FleetCursor, FleetQuery};
use spindle_core::records::{DeviceRecord, Window};
use spindle_core::response::{Basis, FleetHealth, FleetRow, FleetSummary, GoneDevice};
use spindle_core::{Timestamp, decision, health};
use spindle_store::Store;
use tokio::task::spawn_blocking;

use super::arrivals;
use super::bounded_events::ReadLimits;
use super::evidence::{self, DeviceEvidence};
use super::fit::{FirstRows, Next, page_of, rows_in_data};
use super::judged_events;

/// Devices whose evidence is read together.
const DEVICES_AT_ONCE: usize = 10_000;

/// Judges all devices, and lists those with the wanted verdicts.
pub(super) async fn fleet_health(store: &Store, query: FleetQuery) -> Result<FleetHealth> {
    within(store, query, ReadLimits::DEFAULT).await
}

async fn within(store: &Store, query: FleetQuery, limits: ReadLimits) -> Result<FleetHealth> {
    let FleetQuery { window, present, health, group_by, after, limit } = query;
    let is_past = !present && arrivals::is_past(window.until);
    let first = async { Ok(store.devices(None, DEVICES_AT_ONCE).await?) };
    let (mut events, mut records) = tokio::try_join!(judged_events::read(store, None, window, is_past, limits), first)?;
    let mut fleet = Judged::default();
    loop {
        let is_last = records.len() < DEVICES_AT_ONCE;
        let last = records.last().map(|record| record.source_device.clone());
        // In a question about the past, what came later is not there yet.
        records.retain(|record| !is_past || record.first_seen < window.until);
        let named: Vec<_> =
            records.iter().map(|record| (record.source_device.clone(), Some(record.last_seen))).collect();
        let gathered = evidence::gather(store, &named, &mut events, window, is_past).await?;
        fleet = spawn_blocking(move || {
            records.into_iter().zip(&gathered).for_each(|(record, evidence)| fleet.add(record, evidence, window));
            fleet
        })
        .await?;
        if is_last {
            break;
        }
        records = store.devices(last.as_ref(), DEVICES_AT_ONCE).await?;
    }
    let Judged { mut rows, gone, n_points } = fleet;
    rows.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let summary = FleetSummary {
        cut_off: events.cut_off.into_iter().collect(),
        calls_cut_off: events.calls_cut_off,
        ..FleetSummary::of(&rows, &group_by, gone)
    };
    let after = after.as_ref().map(|after| (Reverse(after.health), after.score, &after.device));
    rows.retain(|row| health.contains(row.health) && after.is_none_or(|after| row.rank() > after));
    let basis = Basis::of(window, n_points);
    Ok(page_of(FleetHealth { data: rows, summary, next: None, basis, present: !is_past }, limit))
}

/// Devices judged so far.
#[derive(Default)]
struct Judged {
    rows: Vec<FleetRow>,
    gone: Vec<GoneDevice>,
    n_points: u64,
}

impl Judged {
    fn add(&mut self, record: DeviceRecord, evidence: &DeviceEvidence, window: Window) {
        self.n_points += (evidence.latest.len() + evidence.events.len()) as u64;
        match gone_device(&record, evidence, window) {
            Some(device) => self.gone.push(device),
            None => self.rows.push(row(record, evidence, window)),
        }
    }
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

impl FirstRows for FleetHealth {
    rows_in_data!(FleetRow);

    /// As of the same instant, by the same evidence.
    fn following(&self) -> Next {
        let FleetRow { health, score, source_device, .. } = self.data.last()?;
        let after = FleetCursor { health: *health, score: *score, device: source_device.clone() };
        let at: Timestamp = self.basis.until.minus(Duration::from_nanos(1));
        let mut next = BTreeMap::from([("after", Value::from(after.to_string())), ("at", Value::from(at.to_string()))]);
        next.extend(self.present.then(|| ("present", Value::from("yes"))));
        Some(next)
    }
}

#[cfg(test)]
mod tests;
