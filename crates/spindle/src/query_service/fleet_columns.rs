//! `fleet`: all devices in columns, for pages that show a whole fleet; and `fleet_history`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use spindle_core::fleet_series::fleet_buckets;
use spindle_core::judge::events::HEALTH_CHANGED;
use spindle_core::reading::{self, Reading};
use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::response::{Basis, Data, FleetAnswer, FleetColumns};
use spindle_core::{Criticality, EventType, MetricType, Timestamp, health, metric};
use spindle_store::Store;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::arrivals;
use super::bounded_events::{self, ReadLimits};
use super::judged_fleet::{self, JudgedFleet};
use crate::clock;

/// Length of the window of a judgement that is kept: the default of `fleet`.
const KEPT_WINDOW: Duration = Duration::from_secs(3600);
/// Age up to which a kept judgement answers, at least and at most; between them it is that of [`COST_SHARE`].
const MIN_AGE: Duration = Duration::from_secs(1);
const MAX_AGE: Duration = Duration::from_secs(10);
/// A judgement answers for this many times as long as it took, so that judging takes a fraction of one core.
const COST_SHARE: u32 = 5;

/// Newest judgement of the present fleet, shared by all who ask within seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptFleet(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    /// Time up to which it answers.
    until: Instant,
    window: Window,
    fleet: Arc<JudgedFleet>,
}

impl KeptFleet {
    /// Returns the fleet as of now, or as of a moment ago. Those who ask meanwhile wait for the same judgement.
    pub(super) async fn present(&self, store: &Store) -> Result<(Window, Arc<JudgedFleet>)> {
        let mut kept = self.0.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
            return Ok((kept.window, kept.fleet.clone()));
        }
        let at = Instant::now();
        let window = Window::ending_at(clock::now().plus(Duration::from_nanos(1)), KEPT_WINDOW);
        let fleet = Arc::new(judged_fleet::judge(store, window, false, ReadLimits::DEFAULT).await?);
        let took = at.elapsed();
        let until = at + took + (took * COST_SHARE).clamp(MIN_AGE, MAX_AGE);
        *kept = Some(Kept { until, window, fleet: fleet.clone() });
        Ok((window, fleet))
    }
}

/// Returns the fleet in columns. A question about the present is answered from a judgement of the last seconds.
pub(super) async fn fleet(
    store: &Store,
    kept: &KeptFleet,
    window: Window,
    metric_types: Vec<MetricType>,
) -> Result<FleetAnswer> {
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
        (FleetColumns::of(devices, &metric_types, window.until), n_points)
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
