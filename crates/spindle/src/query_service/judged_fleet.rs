//! The verdict on every device, by the evidence and the judgement of `device_health`.

use anyhow::Result;
use spindle_core::records::{DeviceRecord, LatestSample, Window};
use spindle_core::response::{FleetRow, GoneDevice};
use spindle_core::{EventType, decision, health};
use spindle_store::Store;
use tokio::task::spawn_blocking;

use super::bounded_events::ReadLimits;
use super::evidence::{self, DeviceEvidence};
use super::{arrivals, judged_events};

/// Devices whose evidence is read together.
const DEVICES_AT_ONCE: usize = 10_000;

/// Verdicts on a fleet.
#[derive(Debug, Default)]
pub(super) struct JudgedFleet {
    /// In order of name.
    pub(super) devices: Vec<JudgedDevice>,
    pub(super) gone: Vec<GoneDevice>,
    pub(super) n_points: u64,
    /// Event types of which some device has more events than were read.
    pub(super) cut_off: Vec<EventType>,
    /// Set if these are events of other types that call a person.
    pub(super) calls_cut_off: bool,
}

/// Device with its verdict and newest values.
#[derive(Debug)]
pub(super) struct JudgedDevice {
    pub(super) row: FleetRow,
    pub(super) latest: Vec<LatestSample>,
}

/// Judges all devices.
pub(super) async fn judge(store: &Store, window: Window, is_past: bool, limits: ReadLimits) -> Result<JudgedFleet> {
    let first = async { Ok(store.devices(None, DEVICES_AT_ONCE).await?) };
    let (mut events, mut records) = tokio::try_join!(judged_events::read(store, None, window, is_past, limits), first)?;
    let mut fleet = JudgedFleet::default();
    loop {
        let is_last = records.len() < DEVICES_AT_ONCE;
        let last = records.last().map(|record| record.source_device.clone());
        // In a question about the past, what came later is not there yet.
        records.retain(|record| !is_past || record.first_seen < window.until);
        let named: Vec<_> =
            records.iter().map(|record| (record.source_device.clone(), Some(record.last_seen))).collect();
        let gathered = evidence::gather(store, &named, &mut events, window, is_past).await?;
        fleet = spawn_blocking(move || {
            records.into_iter().zip(gathered).for_each(|(record, evidence)| fleet.add(record, evidence, window));
            fleet
        })
        .await?;
        if is_last {
            break;
        }
        records = store.devices(last.as_ref(), DEVICES_AT_ONCE).await?;
    }
    fleet.cut_off = events.cut_off.into_iter().collect();
    fleet.calls_cut_off = events.calls_cut_off;
    Ok(fleet)
}

impl JudgedFleet {
    fn add(&mut self, record: DeviceRecord, evidence: DeviceEvidence, window: Window) {
        self.n_points += (evidence.latest.len() + evidence.events.len()) as u64;
        match gone_device(&record, &evidence, window) {
            Some(device) => self.gone.push(device),
            None => {
                let row = row(record, &evidence, window);
                self.devices.push(JudgedDevice { row, latest: evidence.latest });
            }
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
