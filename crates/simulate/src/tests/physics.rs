//! Normal operation of a fleet without faults.

use super::*;

/// Correlation of two series, -1 to 1.
fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let count = left.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let products = |a: &[f64], a_mean: f64, b: &[f64], b_mean: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - a_mean) * (b - b_mean)).sum()
    };
    products(left, left_mean, right, right_mean)
        / (products(left, left_mean, left, left_mean) * products(right, right_mean, right, right_mean)).sqrt()
}

fn values(batches: &[Batch], device: &str, metric_type: &str) -> Vec<f64> {
    series(batches, device, metric_type).into_iter().map(|(_, value)| value).collect()
}

/// Differences from the mean of the surrounding hour, so that the daily cycle does not count.
fn detrended(values: &[f64], half_width: usize) -> Vec<f64> {
    let around = |index: usize| &values[index.saturating_sub(half_width)..(index + half_width).min(values.len())];
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    values.iter().enumerate().map(|(index, value)| value - mean(around(index))).collect()
}

const NAMES: [&str; 3] = ["DiskUnit", "StorageArray", "CloudStorage"];

#[test]
fn temperature_follows_load_with_a_lag() {
    let (_, batches) = run(quiet(3, 21), 2.0 * 86_400.0, 60.0);
    for name in NAMES {
        let load = detrended(&values(&batches, name, "Utilization"), 60);
        let celsius = detrended(&values(&batches, name, "DiskTemp"), 60);
        let lagged = |minutes: usize| correlation(&load[..load.len() - minutes], &celsius[minutes..]);
        assert!(lagged(4) > lagged(0) + 0.02, "{name}: {} {}", lagged(4), lagged(0));
        assert!(lagged(4) > 0.4 && lagged(4) > lagged(40), "{name}: {} {}", lagged(4), lagged(40));
    }
}

#[test]
fn latency_and_queue_rise_with_utilization() {
    let (_, batches) = run(quiet(3, 22), 86_400.0, 60.0);
    for name in NAMES {
        let busy = values(&batches, name, "Utilization");
        for (metric_type, least_ratio) in [("Latency", 1.15), ("QueueDepth", 1.6), ("IOPs", 1.6)] {
            let mut pairs: Vec<(f64, f64)> = busy.iter().copied().zip(values(&batches, name, metric_type)).collect();
            pairs.sort_by(|left, right| left.0.total_cmp(&right.0));
            let mean = |pairs: &[(f64, f64)]| pairs.iter().map(|pair| pair.1).sum::<f64>() / pairs.len() as f64;
            let quarter = pairs.len() / 4;
            let (idle, busy) = (mean(&pairs[..quarter]), mean(&pairs[3 * quarter..]));
            assert!(busy > least_ratio * idle, "{name} {metric_type}: {idle} to {busy}");
        }
    }
}

#[test]
fn working_hours_are_busy_and_weekends_calm() {
    let (_, batches) = run(quiet(50, 23), 5.0 * 86_400.0, 600.0);
    let busy: Vec<(Timestamp, f64)> = batches
        .iter()
        .flat_map(|batch| &batch.metrics)
        .filter(|metric| &*metric.metric_type == "Utilization")
        .map(|metric| (metric.timestamp, metric.value))
        .collect();
    // The epoch is a Wednesday, 08:00.
    let noon_of = |day: f64| mean_in(&busy, after(day * 86_400.0 + 4.0 * 3600.0), after(day * 86_400.0 + 7.0 * 3600.0));
    let dawn = mean_in(&busy, after(21.0 * 3600.0), after(22.5 * 3600.0));
    assert!(noon_of(0.0) > 1.5 * dawn, "{} {dawn}", noon_of(0.0));
    assert!(noon_of(0.0) > 1.25 * noon_of(3.0), "{} {}", noon_of(0.0), noon_of(3.0));
}

#[test]
fn capacity_fills_and_is_cleaned_up_now_and_then() {
    let (_, batches) = run(quiet(3, 24), 20.0 * 86_400.0, 3600.0);
    for name in NAMES {
        let levels = values(&batches, name, "CapacityUsed");
        let n_falls = levels.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((1..40).contains(&n_falls), "{name}: {n_falls}");
        assert!(levels.iter().all(|level| (10.0..90.1).contains(level)), "{name}");
    }
}

#[test]
fn counters_never_fall_except_at_a_replacement() {
    let (fleet, batches) = run(FleetConfig::new(20, 25, EPOCH), 86_400.0, 60.0);
    let mut n_replaced = 0;
    for name in device_names(&batches[0]) {
        for metric_type in ["PowerOnHours", "ReallocatedSectors"] {
            for pair in series(&batches, &name, metric_type).windows(2) {
                let [(before, old), (now, new)] = [pair[0], pair[1]];
                let is_replaced = fleet.truth().iter().any(|truth| {
                    matches!(truth, Truth::WearOut { device, replaced_at, .. }
                        if **device == *name && before < *replaced_at && *replaced_at <= now)
                });
                assert!(is_replaced || old <= new, "{name} {metric_type}: {old} to {new}");
                n_replaced += usize::from(is_replaced);
            }
        }
    }
    assert!(n_replaced > 0);
}

#[test]
fn a_healthy_fleet_stays_below_the_warnings() {
    let (_, batches) = run(quiet(200, 26), 2.0 * 86_400.0, 900.0);
    let mut n_high: BTreeMap<&str, usize> = BTreeMap::new();
    let mut n_all = 0;
    for metric in batches.iter().flat_map(|batch| &batch.metrics) {
        n_all += 1;
        let limits = metric::lookup(&metric.metric_type).and_then(|kind| kind.limits);
        if limits.is_some_and(|limits| metric.value >= limits.warning) {
            *n_high.entry(&metric.metric_type).or_default() += 1;
        }
    }
    // Some devices fill up to 90 % of their capacity, and a gateway may stutter.
    n_high.remove("CapacityUsed");
    assert!(n_high.keys().all(|name| *name == "Latency"), "{n_high:?}");
    assert!(n_high.values().sum::<usize>() * 10_000 < n_all, "{n_high:?} of {n_all}");
}

#[test]
fn coarse_and_fine_ticks_meet_the_same_temperatures() {
    let (_, fine) = run(quiet(20, 27), 6.0 * 3600.0, 10.0);
    let (_, coarse) = run(quiet(20, 27), 6.0 * 3600.0, 3600.0);
    for name in device_names(&fine[0]) {
        let last = |batches: &[Batch]| values(batches, &name, "DiskTemp").last().copied().unwrap();
        assert!((last(&fine) - last(&coarse)).abs() < 3.0, "{name}: {} {}", last(&fine), last(&coarse));
    }
}
