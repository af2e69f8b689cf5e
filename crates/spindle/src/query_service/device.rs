//! Queries about one device: `device_health`, `anomaly_temperature` and `series`.

use std::time::Duration;

use anyhow::{Context, Result};
use spindle_core::detect::judge_buckets;
use spindle_core::reading::{self, Reading};
use spindle_core::records::Window;
use spindle_core::response::{Basis, Data, DeviceHealth, TemperatureAnomaly};
use spindle_core::{DeviceName, MetricType, decision, health, metric};
use spindle_store::Store;

use super::bounded_events::ReadLimits;
use super::{arrivals, decoded, evidence, judged_events, onset};

/// The metric that `anomaly_temperature` compares.
const TEMPERATURE: &str = "DiskTemp";
/// Longest time before a window that is read for what to expect in it.
const MAX_TAUGHT: Duration = Duration::from_secs(7 * 86_400);

/// Judges one device by its latest values and its events.
pub(super) async fn health(store: &Store, device: DeviceName, window: Window) -> Result<Data> {
    health_within(store, device, window, ReadLimits::DEFAULT).await
}

async fn health_within(store: &Store, device: DeviceName, window: Window, limits: ReadLimits) -> Result<Data> {
    let last_seen = store.device(&device).await?.map(|record| record.last_seen);
    let is_past = arrivals::is_past(window.until);
    let mut events = judged_events::read(store, Some(&device), window, is_past, limits).await?;
    let gathered = evidence::gather(store, &[(device.clone(), last_seen)], &mut events, window, is_past).await?;
    let evidence = gathered.into_iter().next().context("no evidence was gathered")?;
    let mut verdict = evidence.judge();
    let begin = health::history_begins(&evidence.events);
    onset::date(store, &device, &mut verdict.reasons, begin).await?;
    let basis = Basis::of(window, (evidence.latest.len() + evidence.events.len()) as u64);
    let data = Box::new(DeviceHealth {
        device,
        since: health::since(&verdict, &evidence.events, window.until),
        detector_seen: health::detector_seen(&evidence.events),
        verdict,
        last_seen,
        last_received: arrivals::last_received(evidence.received, evidence.newest_value()),
        clock_offset_seconds: arrivals::clock_offset_seconds(evidence.received),
        acknowledged: decision::acknowledged(&evidence.decisions, window.until),
        accepted: decision::accepted(&evidence.decisions, window.until),
        decisions_not_understood: decision::not_understood(&evidence.decisions, window.until),
        cut_off: events.cut_off.into_iter().collect(),
    });
    Ok(Data::DeviceHealth { data, basis })
}

/// Returns one metric of one device in buckets of decoded values.
pub(super) async fn series(
    store: &Store,
    device: &DeviceName,
    metric_type: &MetricType,
    window: Window,
    bucket: Duration,
    with_expected: bool,
) -> Result<Data> {
    // What was usual before the window is expected at its start.
    let taught = Window { from: window.from.minus(taught_for(window)), ..window };
    let read = if with_expected { taught } else { window };
    let (mut data, n_not_understood) = decoded::buckets(store, device, metric_type, read, bucket).await?;
    let judged = with_expected.then(|| judge_buckets(&data, bucket, window.from));
    data.retain(|found| found.time.plus(bucket) > window.from);
    let n_points = data.iter().map(|bucket| bucket.count).sum::<u64>() + n_not_understood;
    Ok(Data::Series {
        data,
        unit: metric::unit_symbol(metric_type),
        bucket_seconds: bucket.as_secs_f64(),
        n_not_understood,
        judged,
        basis: Basis::of(window, n_points),
    })
}

/// Returns the time before a window from which a detector learns what to expect in it.
fn taught_for(window: Window) -> Duration {
    Duration::from_secs_f64(window.seconds().min(MAX_TAUGHT.as_secs_f64()))
}

/// Compares the first and the last temperature in the window.
pub(super) async fn temperature_anomaly(
    store: &Store,
    device: DeviceName,
    threshold: f64,
    window: Window,
) -> Result<Data> {
    let temperature = MetricType::new(TEMPERATURE)?;
    let found = store.first_and_last(&device, &temperature, window).await?;
    let decoded = |value| match reading::read(TEMPERATURE, value) {
        Reading::Value(value) => Some(value),
        Reading::Absent | Reading::Unclear(_) => None,
    };
    let initial = found.and_then(|(first, ..)| decoded(first.value));
    let latest = found.and_then(|(_, last, _)| decoded(last.value));
    let ratio = initial.zip(latest).filter(|(initial, _)| *initial > 0.0).map(|(initial, latest)| latest / initial);
    let note = match (found, ratio) {
        (None, _) => Some(format!("no {TEMPERATURE} of this device in the window; nothing to compare")),
        (Some(_), None) if initial.is_none() || latest.is_none() => {
            Some(format!("the first or the last {TEMPERATURE} is outside the range of any sensor; nothing to compare"))
        }
        (Some(_), None) => Some("the first temperature is not above 0 °C; the ratio is undefined".to_owned()),
        (Some(_), Some(_)) => None,
    };
    let anomaly = ratio.is_some_and(|ratio| ratio >= threshold);
    let data =
        TemperatureAnomaly { device, initial_temp: initial, latest_temp: latest, ratio, anomaly, threshold, note };
    Ok(Data::AnomalyTemperature { data, basis: Basis::of(window, found.map_or(0, |(.., count)| count)) })
}

#[cfg(test)]
mod tests {
    use spindle_core::decision;
    use spindle_core::{Batch, Timestamp};

    use super::*;
    use crate::clock;
    use crate::query_service::test_data::{event, name, put};

    #[tokio::test]
    async fn decisions_that_are_not_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_embedded(&folder.path().join("a.db")).await.unwrap();
        let now = clock::now();
        let [accepted, _] = decision::event_types();
        let at = |seconds: u64| -> Timestamp { now.minus(Duration::from_secs(seconds)) };
        let events = (1..9).map(|seconds| event("disk", &accepted, at(seconds), &[])).collect();
        put(&store, Batch { metrics: Vec::new(), events }, now).await;
        for (of_device, expected) in [(8, Vec::new()), (7, vec![accepted])] {
            let limits = ReadLimits { of_device, ..ReadLimits::DEFAULT };
            let window = Window::ending_at(now, Duration::from_secs(60));
            let Data::DeviceHealth { data, .. } = health_within(&store, name("disk"), window, limits).await.unwrap()
            else {
                panic!()
            };
            assert_eq!(data.cut_off, expected);
        }
    }
}
