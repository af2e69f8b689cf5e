//! Queries for pages that show a whole fleet: `fleet` (all devices in columns), `fleet_history` and `fleet_series`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use spindle_core::fleet_series::fleet_buckets;
use spindle_core::judge::events::HEALTH_CHANGED;
use spindle_core::query::ColumnsQuery;
use spindle_core::reading::{self, Reading};
use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::response::{Basis, Data, FleetAnswer, FleetColumns};
use spindle_core::{Criticality, EventType, MetricType, Timestamp, health, metric};
use spindle_store::Store;
use tokio::task::spawn_blocking;

use super::arrivals;
use super::bounded_events::{self, ReadLimits};
use super::judged_fleet;
use super::kept_fleet::{KEPT_WINDOW, KeptFleet};
use crate::clock;

/// Returns the fleet in columns. A question about the present is answered from a judgement of the last seconds.
pub(super) async fn fleet(store: &Store, kept: &KeptFleet, wanted: ColumnsQuery) -> Result<FleetAnswer> {
    let window = wanted.window;
    let is_kept = window.until.seconds_since(window.from) == KEPT_WINDOW.as_secs_f64() && is_now(window.until);
    let (window, fleet) = if is_kept {
        kept.present(store).await?
    } else {
        let is_past = arrivals::is_past(window.until);
        (window, Arc::new(judged_fleet::judge(store, window, is_past, ReadLimits::DEFAULT).await?))
    };
    let data = spawn_blocking(move || {
        let devices = fleet.devices.iter().map(|device| (&device.row, device.latest.as_slice()));
        let n_points = fleet.n_points;
        (FleetColumns::of(devices, &wanted, window.until), n_points)
    });
    let (data, n_points) = data.await?;
    Ok(FleetAnswer { data, basis: Basis::of(window, n_points) })
}

/// Returns `true` for the end of a window that was given as "now".
fn is_now(until: Timestamp) -> bool {
    clock::now().seconds_since(until).abs() < 1.0
}

/// Returns the number of devices that were not ok, by the statements of the detector.
pub(super) async fn history(store: &Store, window: Window) -> Result<Data> {
    let filter = EventFilter {
        window: Window { from: window.from.minus(health::MAX_STATEMENT_AGE), until: window.until },
        basis: TimeBasis::Happened,
        source_device: None,
        event_type: Some(EventType::new(HEALTH_CHANGED)?),
        min_criticality: Criticality::MIN,
        limit: 0,
        offset: 0,
    };
    let found = bounded_events::read(store, filter, ReadLimits::DEFAULT).await?;
    let n_points: usize = found.by_device.values().map(Vec::len).sum();
    let cut_off = if found.cut.is_empty() { Vec::new() } else { vec![EventType::new(HEALTH_CHANGED)?] };
    let data = spawn_blocking(move || health::fleet_steps(found.by_device.values().map(Vec::as_slice), window)).await?;
    Ok(Data::FleetHistory { data, cut_off, basis: Basis::of(window, n_points as u64) })
}

/// Returns one metric of all devices per bucket of time.
pub(super) async fn series(store: &Store, metric_type: MetricType, window: Window, bucket: Duration) -> Result<Data> {
    let mut devices = store.last_of_buckets(&metric_type, window, bucket).await?;
    let unit = metric::unit_symbol(&metric_type);
    let (data, n_points) = spawn_blocking(move || {
        for (_, samples) in &mut devices {
            samples.retain_mut(|sample| match reading::read(&metric_type, sample.value) {
                Reading::Value(value) => {
                    sample.value = value;
                    true
                }
                Reading::Absent | Reading::Unclear(_) => false,
            });
        }
        let n_points: usize = devices.iter().map(|(_, samples)| samples.len()).sum();
        (fleet_buckets(&devices), n_points)
    })
    .await?;
    let basis = Basis::of(window, n_points as u64);
    Ok(Data::FleetSeries { data, unit, bucket_seconds: bucket.as_secs_f64(), basis })
}
