//! Evidence for the verdicts on some devices, read together: the number of requests to the store does not depend on
//! their number. `device_health` and `fleet_health` judge by the same evidence.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use spindle_core::health::{self, Evidence, Verdict};
use spindle_core::records::{Arrival, EventRecord, LatestSample, Window};
use spindle_core::{DeviceName, MetricType, Timestamp};
use spindle_store::Store;

use super::arrivals;
use super::judged_events::{EventsOfDevice, JudgedEvents};

/// Most devices with a clock that is ahead whose values are read one by one.
const MAX_READ_APART: usize = 100;

/// Evidence about one device.
#[derive(Debug)]
pub(super) struct DeviceEvidence {
    window: Window,
    pub(super) latest: Vec<LatestSample>,
    earlier: Vec<LatestSample>,
    pub(super) events: Vec<EventRecord>,
    events_cut_off: bool,
    last_seen: Option<Timestamp>,
    /// Newest arrival; `None` in a question about the past.
    pub(super) received: Option<Arrival>,
    arrival: Option<Arrival>,
    rhythm: Option<Duration>,
    pub(super) decisions: Vec<EventRecord>,
}

impl DeviceEvidence {
    /// Returns the time of the newest value.
    pub(super) fn newest_value(&self) -> Option<Timestamp> {
        self.latest.iter().map(|sample| sample.time).max()
    }

    pub(super) fn judge(&self) -> Verdict {
        health::judge(&Evidence {
            window: self.window,
            latest: &self.latest,
            earlier: &self.earlier,
            events: &self.events,
            events_cut_off: self.events_cut_off,
            last_seen: self.last_seen,
            arrival: self.arrival,
            rhythm: self.rhythm,
            decisions: &self.decisions,
        })
    }
}

/// Reads the evidence about devices, given with the newest time of their data, in their order. A question about the past
/// (`is_past`) is judged by the recorded times.
pub(super) async fn gather(
    store: &Store,
    devices: &[(DeviceName, Option<Timestamp>)],
    events: &mut JudgedEvents,
    window: Window,
    is_past: bool,
) -> Result<Vec<DeviceEvidence>> {
    let names: Vec<DeviceName> = devices.iter().map(|(name, _)| name.clone()).collect();
    let received = async {
        match is_past {
            true => Ok(vec![None; names.len()]),
            false => arrivals::last_of(store, &names, window.until).await,
        }
    };
    let usual = async { Ok(store.latest_many(&names, window).await?) };
    let (received, mut latest) = tokio::try_join!(received, usual)?;
    let windows: Vec<Window> = received.iter().map(|received| health::current_window(window, *received)).collect();
    replace_latest(store, &names, &windows, window, &mut latest).await?;
    let mut gathered = Vec::with_capacity(names.len());
    for (((name, last_seen), received), latest) in devices.iter().zip(received).zip(latest) {
        let newest = latest.iter().map(|sample| sample.time).max();
        // A question about the past is judged by the recorded times, as if everything had arrived when it was measured.
        let arrival = if is_past { newest.map(|time| Arrival { received: time, measured: time }) } else { received };
        let EventsOfDevice { events, decisions, is_cut_off } = events.take(name);
        gathered.push(DeviceEvidence {
            window,
            latest,
            earlier: Vec::new(),
            events,
            events_cut_off: is_cut_off,
            last_seen: *last_seen,
            received,
            arrival,
            rhythm: None,
            decisions,
        });
    }
    add_earlier(store, &names, &mut gathered).await?;
    add_rhythms(store, &names, &windows, &mut gathered).await?;
    Ok(gathered)
}

/// Reads the newest values again of those devices whose window is not the `usual` one.
async fn replace_latest(
    store: &Store,
    names: &[DeviceName],
    windows: &[Window],
    usual: Window,
    latest: &mut [Vec<LatestSample>],
) -> Result<()> {
    let unusual = (0..names.len()).filter(|index| windows[*index] != usual);
    let (behind, ahead): (Vec<usize>, Vec<usize>) = unusual.partition(|index| windows[*index].until == usual.until);
    let (apart, rest) = ahead.split_at(ahead.len().min(MAX_READ_APART));
    let apart = apart.iter().map(|index| vec![*index]);
    for indices in [behind, rest.to_vec()].into_iter().chain(apart).filter(|indices| !indices.is_empty()) {
        let of = |index: &usize| windows[*index];
        let from = indices.iter().map(|index| of(index).from).min().unwrap_or(usual.from);
        let until = indices.iter().map(|index| of(index).until).max().unwrap_or(usual.until);
        let named: Vec<DeviceName> = indices.iter().map(|index| names[*index].clone()).collect();
        let found = store.latest_many(&named, Window { from, until }).await?;
        for (index, mut samples) in indices.iter().zip(found) {
            samples.retain(|sample| of(index).contains(sample.time));
            latest[*index] = samples;
        }
    }
    Ok(())
}

/// Adds earlier values of the metrics that have reached a limit.
async fn add_earlier(store: &Store, names: &[DeviceName], gathered: &mut [DeviceEvidence]) -> Result<()> {
    let found: Vec<usize> =
        (0..gathered.len()).filter(|index| health::needs_earlier(&gathered[*index].latest)).collect();
    let Some(first) = found.first() else { return Ok(()) };
    let named: Vec<DeviceName> = found.iter().map(|index| names[*index].clone()).collect();
    for window in health::earlier_windows(gathered[*first].window) {
        for (index, samples) in found.iter().zip(store.latest_many(&named, window).await?) {
            let known = &mut gathered[*index].earlier;
            let is_new = |sample: &LatestSample| known.iter().all(|other| other.metric_type != sample.metric_type);
            let further: Vec<LatestSample> = samples.into_iter().filter(is_new).collect();
            known.extend(further);
        }
    }
    Ok(())
}

/// Adds the usual time between two values of the devices that may be silent: its mean in the window, or in one ten times
/// as long if the window holds too few.
async fn add_rhythms(
    store: &Store,
    names: &[DeviceName],
    windows: &[Window],
    gathered: &mut [DeviceEvidence],
) -> Result<()> {
    let mut by_window: BTreeMap<(Timestamp, Timestamp), Vec<(usize, MetricType)>> = BTreeMap::new();
    for (index, evidence) in gathered.iter().enumerate() {
        if let Some(newest) = health::may_be_silent(&evidence.latest, evidence.arrival, evidence.window) {
            let Window { from, until } = windows[index];
            by_window.entry((from, until)).or_default().push((index, newest.metric_type.clone()));
        }
    }
    // Devices whose clocks are off have windows of their own.
    for ((from, until), silent) in by_window.into_iter().take(MAX_READ_APART) {
        let window = Window { from, until };
        let length = Duration::try_from_secs_f64(window.seconds()).unwrap_or_default();
        let mut missing = silent;
        for window in [window, Window::ending_at(until, length.saturating_mul(10))] {
            let series: Vec<_> =
                missing.iter().map(|(index, metric)| (names[*index].clone(), metric.clone())).collect();
            let found = store.first_and_last_many(&series, window).await?;
            let mut still_missing = Vec::new();
            for ((index, metric), found) in missing.into_iter().zip(found) {
                match found {
                    Some((first, last, count @ 2..)) => {
                        let mean_s = last.time.seconds_since(first.time) / (count - 1) as f64;
                        gathered[index].rhythm = Duration::try_from_secs_f64(mean_s).ok();
                    }
                    Some(_) | None => still_missing.push((index, metric)),
                }
            }
            missing = still_missing;
        }
    }
    Ok(())
}
