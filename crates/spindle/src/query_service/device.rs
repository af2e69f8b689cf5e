//! Queries about one device: `device_health`, `anomaly_temperature` and `series`.

use std::time::Duration;

use anyhow::{Result, ensure};
use spindle_core::buckets::Buckets;
use spindle_core::decision;
use spindle_core::health::{self, Evidence};
use spindle_core::metric;
use spindle_core::reading::{self, Reading};
use spindle_core::records::{Arrival, Bucket, EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{Basis, Data, DeviceHealth, TemperatureAnomaly};
use spindle_core::{Criticality, DeviceName, EventType, MetricType, Timestamp};
use spindle_store::Store;

use super::arrivals;

/// The metric that `anomaly_temperature` compares.
const TEMPERATURE: &str = "DiskTemp";
/// Maximum number of events of one kind read to judge a device. If there are more, the verdict says so.
const MAX_JUDGED_EVENTS: usize = 1000;
/// Maximum number of values decoded one by one for a series; a year of one value a minute is half of it.
const MAX_DECODED_VALUES: usize = 1_000_000;

/// Judges one device by its latest values and its events.
pub(super) async fn health(store: &Store, device: DeviceName, window: Window) -> Result<Data> {
    let is_past = arrivals::is_past(window.until);
    let received = if is_past { None } else { arrivals::last(store, &device, window.until).await? };
    let current = health::current_window(window, received);
    let latest = store.latest(&device, current).await?;
    let newest = latest.iter().map(|sample| sample.time).max();
    // A question about the past is judged by the recorded times, as if everything had arrived when it was measured.
    let arrival = if is_past { newest.map(|time| Arrival { received: time, measured: time }) } else { received };
    let (events, events_cut_off) = judged_events(store, &device, window, is_past).await?;
    let decisions = decisions(store, &device, window.until, is_past).await?;
    let last_seen = store.device(&device).await?.map(|record| record.last_seen);
    let rhythm = match health::may_be_silent(&latest, arrival, window) {
        Some(newest) => mean_interval(store, &device, &newest.metric_type, current).await?,
        None => None,
    };
    let evidence = Evidence {
        window,
        latest: &latest,
        events: &events,
        events_cut_off,
        last_seen,
        arrival,
        rhythm,
        decisions: &decisions,
    };
    let data = Box::new(DeviceHealth {
        device,
        verdict: health::judge(&evidence),
        last_seen,
        last_received: arrivals::last_received(received, last_seen),
        clock_offset_seconds: arrivals::clock_offset_seconds(received),
        acknowledged: decision::acknowledged(&decisions, window.until),
        accepted: decision::accepted(&decisions, window.until),
        decisions_not_understood: decision::not_understood(&decisions, window.until),
    });
    Ok(Data::DeviceHealth { data, basis: Basis::of(window, (latest.len() + events.len()) as u64) })
}

/// Returns the events that a verdict rests on, and whether a limit cut off any. They are asked for by type and by
/// criticality, so that no number of others hides them; up to the end of time, since a clock may be ahead.
async fn judged_events(
    store: &Store,
    device: &DeviceName,
    window: Window,
    is_past: bool,
) -> Result<(Vec<EventRecord>, bool)> {
    let until = if is_past { window.until } else { Timestamp::from_ns(i64::MAX) };
    let lookback = window.until.minus(health::FAULT_LOOKBACK).min(window.from);
    let paging = Criticality::new(u64::from(health::PAGING_CRITICALITY)).unwrap_or(Criticality::MAX);
    // What became known in the window happened before it if the sender's clock is behind.
    let paging_from = if is_past { window.from } else { window.from.minus(health::MAX_CLOCK_LAG) };
    let kinds = health::event_types().map(|event_type| (Some(event_type), lookback, Criticality::MIN));
    let kinds: Vec<(Option<EventType>, Timestamp, Criticality)> = kinds.chain([(None, paging_from, paging)]).collect();
    let (mut events, mut is_cut_off) = (Vec::new(), false);
    for (event_type, from, min_criticality) in kinds {
        let is_any_type = event_type.is_none();
        let filter = EventFilter {
            window: Window { from, until },
            basis: TimeBasis::Happened,
            source_device: Some(device.clone()),
            event_type,
            min_criticality,
            limit: MAX_JUDGED_EVENTS + 1,
            offset: 0,
        };
        let found = store.events(filter).await?;
        let kept = &found[..found.len().min(MAX_JUDGED_EVENTS)];
        is_cut_off |= found.len() > kept.len() && (is_any_type || health::may_hide_newer(kept));
        events.extend(
            kept.iter().filter(|record| !is_any_type || !health::is_deciding(&record.event.event_type)).cloned(),
        );
    }
    Ok((events, is_cut_off))
}

/// Returns the decisions about a device that can be in force at `now`; the clock of an operator may be ahead.
async fn decisions(store: &Store, device: &DeviceName, now: Timestamp, is_past: bool) -> Result<Vec<EventRecord>> {
    let until = if is_past { now } else { Timestamp::from_ns(i64::MAX) };
    let mut decisions = Vec::new();
    for event_type in decision::event_types() {
        let filter = EventFilter {
            window: Window { from: now.minus(decision::MAX_DECISION), until },
            basis: TimeBasis::Happened,
            source_device: Some(device.clone()),
            event_type: Some(event_type),
            min_criticality: Criticality::MIN,
            limit: MAX_JUDGED_EVENTS,
            offset: 0,
        };
        decisions.append(&mut store.events(filter).await?);
    }
    Ok(decisions)
}

/// Returns the mean time between two values of a metric: in the window, or in one ten times as long if the window
/// holds too few.
async fn mean_interval(
    store: &Store,
    device: &DeviceName,
    metric: &MetricType,
    window: Window,
) -> Result<Option<Duration>> {
    let length = Duration::try_from_secs_f64(window.seconds()).unwrap_or_default();
    for window in [window, Window::ending_at(window.until, length.saturating_mul(10))] {
        if let Some((first, last, count @ 2..)) = store.first_and_last(device, metric, window).await? {
            let mean_s = last.time.seconds_since(first.time) / (count - 1) as f64;
            return Ok(Duration::try_from_secs_f64(mean_s).ok());
        }
    }
    Ok(None)
}

/// Returns one metric of one device in buckets of decoded values.
pub(super) async fn series(
    store: &Store,
    device: &DeviceName,
    metric_type: &MetricType,
    window: Window,
    bucket: Duration,
) -> Result<Data> {
    let (data, n_not_understood) = if reading::is_encoded(metric_type) {
        decoded_buckets(store, device, metric_type, window, bucket).await?
    } else {
        (store.buckets(device, metric_type, window, bucket).await?, 0)
    };
    let n_points = data.iter().map(|bucket| bucket.count).sum::<u64>() + n_not_understood;
    Ok(Data::Series {
        data,
        unit: metric::unit_symbol(metric_type),
        bucket_seconds: bucket.as_secs_f64(),
        n_not_understood,
        basis: Basis::of(window, n_points),
    })
}

/// Returns buckets of the values that decode, and the number of those that do not.
async fn decoded_buckets(
    store: &Store,
    device: &DeviceName,
    metric_type: &MetricType,
    window: Window,
    length: Duration,
) -> Result<(Vec<Bucket>, u64)> {
    let samples = store.range(device, metric_type, window, MAX_DECODED_VALUES + 1).await?;
    ensure!(
        samples.len() <= MAX_DECODED_VALUES,
        "more than {MAX_DECODED_VALUES} raw values of {metric_type} to decode: ask for a shorter window"
    );
    let mut buckets = Buckets::new(length);
    let mut n_not_understood = 0;
    for sample in samples {
        match reading::read(metric_type, sample.value) {
            Reading::Value(value) => buckets.add(sample.time, value),
            Reading::Absent | Reading::Unclear(_) => n_not_understood += 1,
        }
    }
    Ok((buckets.finish(), n_not_understood))
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
