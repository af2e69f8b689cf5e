//! Tests of the whole fleet: its guarantees here, its behaviour in the submodules.

mod faults;
mod past;
mod physics;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use spindle_core::metric;
use spindle_core::wire::{self, DeviceMetric, Event};

/// A Wednesday morning.
const EPOCH: Timestamp = Timestamp::from_seconds(1_749_024_000);

fn after(seconds: f64) -> Timestamp {
    EPOCH.plus(std::time::Duration::from_secs_f64(seconds))
}

fn quiet(n_devices: usize, seed: u64) -> FleetConfig {
    FleetConfig { rates: EventRates::NONE, ..FleetConfig::new(n_devices, seed, EPOCH) }
}

/// Ticks every `step_seconds` from the epoch for `seconds`.
fn run(config: FleetConfig, seconds: f64, step_seconds: f64) -> (Fleet, Vec<Batch>) {
    let mut fleet = Fleet::new(config);
    let n_ticks = (seconds / step_seconds) as u32;
    let batches = (0..=n_ticks).map(|tick| fleet.tick(after(f64::from(tick) * step_seconds))).collect();
    (fleet, batches)
}

fn events(batches: &[Batch]) -> Vec<&Event> {
    batches.iter().flat_map(|batch| &batch.events).collect()
}

/// Values of one metric of one device, in order.
fn series(batches: &[Batch], device: &str, metric_type: &str) -> Vec<(Timestamp, f64)> {
    let metrics = batches.iter().flat_map(|batch| &batch.metrics);
    metrics
        .filter(|metric| &*metric.source_device == device && &*metric.metric_type == metric_type)
        .map(|metric| (metric.timestamp, metric.value))
        .collect()
}

type AllSeries<'a> = BTreeMap<(&'a str, &'a str), Vec<(Timestamp, f64)>>;

/// All series, by device and metric type.
fn all_series(batches: &[Batch]) -> AllSeries<'_> {
    let mut all = AllSeries::new();
    for metric in batches.iter().flat_map(|batch| &batch.metrics) {
        let series = all.entry((&metric.source_device, &metric.metric_type)).or_default();
        series.push((metric.timestamp, metric.value));
    }
    all
}

/// Mean of the values with a time in [from, until); NaN if there is none.
fn mean_in(series: &[(Timestamp, f64)], from: Timestamp, until: Timestamp) -> f64 {
    let inside = series.iter().filter(|(at, _)| (from..until).contains(at));
    let (sum, count) = inside.fold((0.0, 0.0), |(sum, count), (_, value)| (sum + value, count + 1.0));
    sum / count
}

fn device_names(batch: &Batch) -> Vec<String> {
    let mut names: Vec<String> = batch.metrics.iter().map(|metric| metric.source_device.to_string()).collect();
    names.dedup();
    names
}

#[test]
fn the_same_seed_epoch_and_ticks_give_the_same_batches_and_truth() {
    let config = FleetConfig::new(12, 42, EPOCH);
    let (mut first, first_batches) = run(config, 3600.0, 7.0);
    let (mut second, second_batches) = run(config, 3600.0, 7.0);
    assert_eq!(first_batches, second_batches);
    assert_eq!(first.truth(), second.truth());
    assert_eq!(first.new_truth(), second.new_truth());
}

#[test]
fn another_seed_is_another_fleet_and_another_epoch_has_other_ids() {
    let ids = |seed: u64, epoch: Timestamp| -> BTreeSet<spindle_core::EventId> {
        let mut fleet = Fleet::new(FleetConfig::new(5, seed, epoch));
        let ticks = 0..3_600;
        let batches = ticks.map(|tick| fleet.tick(epoch.plus(std::time::Duration::from_secs(tick))));
        batches.flat_map(|batch| batch.events).map(|event| event.id).collect()
    };
    let (one, other, later) = (ids(1, EPOCH), ids(2, EPOCH), ids(1, after(1e-9)));
    assert!(one.len() > 100, "{}", one.len());
    assert!(one.is_disjoint(&other) && one.is_disjoint(&later));
    let values =
        |seed| run(quiet(3, seed), 10.0, 10.0).1[1].metrics.iter().map(|metric| metric.value).collect::<Vec<_>>();
    assert_ne!(values(1), values(2));
}

#[test]
fn a_larger_fleet_leaves_the_shared_devices_alone() {
    let (_, small) = run(quiet(10, 5), 600.0, 10.0);
    let (_, large) = run(quiet(40, 5), 600.0, 10.0);
    for (small, large) in small.iter().zip(&large) {
        assert_eq!(small.metrics[..], large.metrics[..small.metrics.len()]);
    }
}

#[test]
fn every_size_works() {
    let expected: [(usize, &[&str]); 4] = [
        (0, &[]),
        (1, &["DiskUnit"]),
        (2, &["DiskUnit", "StorageArray"]),
        (3, &["DiskUnit", "StorageArray", "CloudStorage"]),
    ];
    for (n_devices, names) in expected {
        let (_, batches) = run(FleetConfig::new(n_devices, 1, EPOCH), 3600.0, 10.0);
        assert_eq!(device_names(&batches[0]), names);
        assert_eq!(events(&batches).is_empty(), n_devices == 0);
    }
    let (fleet, batches) = run(FleetConfig::new(100_000, 1, EPOCH), 10.0, 10.0);
    assert_eq!(device_names(&batches[1]).len(), 100_000);
    assert!(fleet.truth().len() > 1_000);
}

#[test]
fn classes_report_their_metrics_and_labels_come_once_per_device() {
    let (_, batches) = run(quiet(100, 3), 0.0, 10.0);
    let mut by_device: BTreeMap<&str, Vec<&DeviceMetric>> = BTreeMap::new();
    for metric in &batches[0].metrics {
        by_device.entry(&metric.source_device).or_default().push(metric);
    }
    let n_of = |class: &str| by_device.keys().filter(|name| name.starts_with(class)).count();
    assert_eq!((n_of("DiskUnit"), n_of("StorageArray"), n_of("CloudStorage")), (70, 20, 10));
    for (name, metrics) in by_device {
        assert_eq!(metrics.len(), if name.starts_with("DiskUnit") { 11 } else { 8 }, "{name}");
        assert!(metrics.iter().all(|metric| metric.seq.is_none()));
        assert!(metrics[1..].iter().all(|metric| metric.labels.is_none()));
        let labels = metrics[0].labels.as_ref().unwrap();
        assert!(
            ["model", "serial", "enclosure", "class", "capacity_bytes", "host", "source"]
                .iter()
                .all(|key| labels.contains_key(*key))
        );
    }
}

#[test]
fn a_tick_that_is_not_later_gives_nothing_and_changes_nothing() {
    let config = FleetConfig::new(5, 9, EPOCH);
    let (mut disturbed, mut calm) = (Fleet::new(config), Fleet::new(config));
    for seconds in [0.0, 10.0, 20.0] {
        assert_eq!(disturbed.tick(after(seconds)), calm.tick(after(seconds)));
        assert!(disturbed.tick(after(seconds)).is_empty());
        assert!(disturbed.tick(Timestamp::from_ns(i64::MIN)).is_empty());
    }
}

#[test]
fn events_come_at_the_stated_rates() {
    for (n_devices, seed) in [(3, 1), (10, 2), (20, 3)] {
        let (_, batches) = run(FleetConfig::new(n_devices, seed, EPOCH), 4.0 * 3600.0, 5.0);
        let events = events(&batches);
        let n_critical = events.iter().filter(|event| event.criticality.level() >= 8).count();
        let seconds_between = 14_400.0 / events.len() as f64;
        let seconds_between_critical = 14_400.0 / n_critical as f64;
        assert!((20.0..32.0).contains(&seconds_between), "{n_devices}: {seconds_between}");
        assert!((60.0..125.0).contains(&seconds_between_critical), "{n_devices}: {seconds_between_critical}");
    }
}

#[test]
fn criticalities_are_what_the_types_promise() {
    let (_, batches) = run(FleetConfig::new(20, 4, EPOCH), 12.0 * 3600.0, 30.0);
    let mut levels: BTreeMap<&str, BTreeSet<u8>> = BTreeMap::new();
    for event in events(&batches) {
        levels.entry(&event.event_type).or_default().insert(event.criticality.level());
        assert!(event.event_message.as_ref().unwrap().chars().any(|letter| letter.is_ascii_digit()));
    }
    assert_eq!(levels["UnauthorizedAccess"], (1..=10).collect());
    assert_eq!(levels["DataCorruption"], (6..=9).collect());
    assert!(levels["DriveFailure"].iter().all(|level| *level >= 9));
    for (event_type, level) in
        [("FanFailure", 7), ("FanRestored", 3), ("ShelfOffline", 9), ("ShelfOnline", 3), ("DriveReplaced", 2)]
    {
        assert_eq!(levels[event_type], [level].into(), "{event_type}");
    }
}

#[test]
fn events_lie_between_the_ticks_and_are_all_in_the_truth() {
    let (mut fleet, batches) = run(FleetConfig::new(20, 6, EPOCH), 7200.0, 10.0);
    let truth: BTreeSet<String> = fleet
        .new_truth()
        .iter()
        .map(|truth| serde_json::to_value(truth).unwrap()["event_id"].as_str().unwrap().to_owned())
        .collect();
    let mut n_told = 0;
    for (tick, batch) in batches.iter().enumerate() {
        let now = after(tick as f64 * 10.0);
        let before = after((tick as f64 - 1.0).max(0.0) * 10.0);
        for event in &batch.events {
            assert!(before < event.timestamp && event.timestamp <= now);
            let is_end = ["DriveReplaced", "FanRestored", "ShelfOnline"].contains(&&*event.event_type);
            assert_eq!(truth.contains(&event.id.to_string()), !is_end, "{event:?}");
            n_told += usize::from(!is_end);
        }
    }
    // Among the truths that have begun, only a wear-out may still wait for its event.
    let n_begun =
        fleet.truth().iter().filter(|truth| (after(1e-9)..=after(7200.0)).contains(&truth.begins_at())).count();
    assert!(n_told <= n_begun && n_begun - n_told < 8, "{n_told} of {n_begun}");
    assert!(fleet.new_truth().is_empty());
}

#[test]
fn truth_reaches_ahead_and_grows_with_time() {
    let mut fleet = Fleet::new(FleetConfig::new(10, 8, EPOCH));
    let horizon_seconds = HORIZON_HOURS as f64 * 3600.0;
    let mut told = Vec::new();
    for hour in 0..10 {
        let now = after(f64::from(hour) * 3600.0);
        fleet.tick(now);
        told.extend(fleet.new_truth());
        let last = told.last().unwrap().begins_at().seconds_since(now);
        assert!((horizon_seconds - 300.0..horizon_seconds + 3600.0).contains(&last), "{last}");
    }
    assert!(told.is_sorted_by_key(Truth::begins_at));
    assert_eq!(told, fleet.truth());
}

#[test]
fn truth_that_was_handed_out_is_forgotten_in_the_end() {
    let mut fleet = Fleet::new(FleetConfig::new(10, 8, EPOCH));
    let (mut n_told, mut most_kept) = (0, 0);
    for hour in 0..24 * 30 {
        fleet.tick(after(f64::from(hour) * 3600.0));
        n_told += fleet.new_truth().len();
        most_kept = most_kept.max(fleet.truth().len());
    }
    assert!(most_kept * 3 < n_told, "{most_kept} of {n_told}");
}

#[test]
fn after_a_gap_the_fleet_goes_on_without_a_flood() {
    let (mut fleet, batches) = run(FleetConfig::new(10, 11, EPOCH), 600.0, 10.0);
    let before = batches.last().unwrap().metrics.len();
    for hours in [3.0, 30.0, 3_000.0, 300_000.0] {
        let now = after(hours * 3600.0);
        let batch = fleet.tick(now);
        assert!(batch.events.len() < 10, "{}", batch.events.len());
        assert!(batch.events.iter().all(|event| now.minus(MAX_EVENT_AGE) < event.timestamp));
        assert!(batch.metrics.len() * 10 >= before * 6);
        let later: usize =
            (1..=360).map(|tick| fleet.tick(after(hours * 3600.0 + f64::from(tick) * 10.0)).events.len()).sum();
        assert!((90..200).contains(&later), "{later}");
    }
}

#[test]
fn everything_survives_the_wire() {
    let (_, batches) = run(FleetConfig::new(20, 12, EPOCH), 1200.0, 20.0);
    for batch in batches {
        let decoded = wire::decode_metrics(&wire::encode_metrics(&batch.metrics));
        assert!(decoded.rejected.is_empty());
        assert_eq!(decoded.items, batch.metrics);
        for event in &batch.events {
            assert_eq!(wire::decode_events(&wire::encode_event(event)).items, std::slice::from_ref(event));
        }
    }
}

fn assert_in_range(batch: &Batch) {
    for metric in &batch.metrics {
        let kind = metric::lookup(&metric.metric_type).unwrap();
        assert!((kind.min..=kind.max).contains(&metric.value), "{metric:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn values_are_always_in_range(
        seed: u64,
        n_devices in 0_usize..30,
        epoch: i64,
        leaps in prop::collection::vec((0_u32..63, any::<bool>()), 1..12),
    ) {
        let epoch = Timestamp::from_ns(epoch);
        let mut fleet = Fleet::new(FleetConfig::new(n_devices, seed, epoch));
        let (mut now, mut latest) = (epoch, None);
        for (bits, is_back) in leaps {
            // From a nanosecond to three centuries, forwards or backwards.
            let leap = 1_i64 << bits;
            now = Timestamp::from_ns(if is_back { now.as_ns().saturating_sub(leap) } else { now.as_ns().saturating_add(leap) });
            let batch = fleet.tick(now);
            if latest.is_some_and(|latest| now <= latest) {
                prop_assert!(batch.is_empty());
            } else {
                latest = Some(now);
            }
            assert_in_range(&batch);
        }
    }
}
