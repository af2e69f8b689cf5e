//! Faults show where and when the truth records them, and nowhere else.

use super::*;
use spindle_core::name::DeviceName;

/// Only wear-outs, and many of them.
fn wearing(n_devices: usize, seed: u64) -> FleetConfig {
    let rates = EventRates { min_wear_outs_per_day: 96.0, ..EventRates::NONE };
    FleetConfig { rates, ..FleetConfig::new(n_devices, seed, EPOCH) }
}

#[test]
fn the_first_wear_out_can_be_watched() {
    for (n_devices, seed) in (1..=20).zip(0..) {
        let fleet = Fleet::new(FleetConfig::new(n_devices, seed, EPOCH));
        let fails_at: Vec<f64> = fleet
            .truth()
            .iter()
            .filter_map(|truth| match truth {
                Truth::WearOut { fails_at, .. } => Some(fails_at.seconds_since(EPOCH)),
                _ => None,
            })
            .collect();
        let n_soon = fails_at.iter().filter(|seconds| (360.0..=600.0).contains(*seconds)).count();
        assert_eq!(n_soon, 1, "{n_devices}: {fails_at:?}");
    }
}

#[test]
fn a_wear_out_shows_before_its_failure_and_ends_with_a_new_device() {
    let seconds = 10.0 * 3600.0;
    let (fleet, batches) = run(wearing(60, 31), seconds, 20.0);
    let (_, healthy) = run(quiet(60, 31), seconds, 20.0);
    let (worn_series, healthy_series) = (all_series(&batches), all_series(&healthy));
    let events = events(&batches);
    let mut n_checked = 0;
    for truth in fleet.truth() {
        let Truth::WearOut { device, serial, onset, fails_at, replaced_at, event_id, .. } = truth else {
            continue;
        };
        if *replaced_at > after(seconds - 60.0) {
            continue;
        }
        n_checked += 1;
        let failure = events.iter().find(|event| event.id == (*event_id).into()).unwrap();
        assert_eq!(
            (&failure.source_device, &*failure.event_type, failure.timestamp),
            (device, "DriveFailure", *fails_at)
        );
        assert!(events.iter().any(|event| &*event.event_type == "DriveReplaced" && event.timestamp == *replaced_at));
        assert_signs_grow(&worn_series, &healthy_series, device, *onset, *fails_at);
        let latency = series(&batches, device, "Latency");
        assert!(mean_in(&latency, *fails_at, *replaced_at).is_nan(), "silent between failure and replacement");
        assert!(latency.iter().any(|(at, _)| replaced_at <= at), "reports again");
        assert_serial_until(&batches, device, serial, *fails_at, *replaced_at);
    }
    assert!(n_checked > 20, "{n_checked}");
}

/// In the last tenth of its life a device is slower and hotter, and a disk has lost more sectors, than its healthy twin
/// at the same time.
fn assert_signs_grow(
    worn: &AllSeries<'_>,
    healthy: &AllSeries<'_>,
    device: &DeviceName,
    onset: Timestamp,
    fails_at: Timestamp,
) {
    let last_tenth =
        fails_at.minus(std::time::Duration::from_secs_f64((fails_at.seconds_since(onset) * 0.1).max(21.0)));
    let late = |all: &AllSeries<'_>, metric_type| mean_in(&all[&(&**device, metric_type)], last_tenth, fails_at);
    assert!(late(worn, "Latency") > 4.0 * late(healthy, "Latency"), "{device}");
    assert!(late(worn, "DiskTemp") > 3.5 + late(healthy, "DiskTemp"), "{device}");
    if device.starts_with("DiskUnit") {
        let early = |metric_type| {
            mean_in(&worn[&(&**device, metric_type)], onset.minus(std::time::Duration::from_secs(50)), onset)
        };
        assert!(late(worn, "ReallocatedSectors") > 30.0 + early("ReallocatedSectors"), "{device}");
        assert!(late(worn, "PendingSectors") > 2.0, "{device}");
    }
}

fn assert_serial_until(
    batches: &[Batch],
    device: &DeviceName,
    serial: &str,
    fails_at: Timestamp,
    replaced_at: Timestamp,
) {
    let labelled = batches.iter().flat_map(|batch| &batch.metrics).filter(|metric| metric.source_device == *device);
    let serials: Vec<(Timestamp, &str)> = labelled
        .filter_map(|metric| Some((metric.timestamp, metric.labels.as_ref()?.get("serial")?.as_str())))
        .collect();
    let before = serials.iter().rfind(|(at, _)| *at < fails_at).unwrap();
    let behind = serials.iter().find(|(at, _)| *at >= replaced_at).unwrap();
    assert_eq!(before.1, serial);
    assert_ne!(behind.1, serial);
}

#[test]
fn a_stopped_fan_heats_its_enclosure_and_no_other() {
    let rates = EventRates { fan_failures_per_hour: 2.0, ..EventRates::NONE };
    let config = FleetConfig { rates, ..FleetConfig::new(20, 32, EPOCH) };
    let (fleet, faulty) = run(config, 3.0 * 3600.0, 20.0);
    let (_, healthy) = run(quiet(20, 32), 3.0 * 3600.0, 20.0);
    let mut heated: BTreeSet<String> = BTreeSet::new();
    let mut n_checked = 0;
    for truth in fleet.truth() {
        let Truth::FanFailure { devices, from, until, heat_celsius, event_id, .. } = truth else { continue };
        if *from < after(3.0 * 3600.0) {
            heated.extend(devices.iter().map(ToString::to_string));
        }
        if *until >= after(3.0 * 3600.0) {
            continue;
        }
        n_checked += 1;
        assert_eq!(devices.len(), 5);
        assert!(
            events(&faulty)
                .iter()
                .any(|event| event.id == (*event_id).into() && event.source_device.starts_with("StorageArray"))
        );
        for device in devices {
            let rise_by = |at: Timestamp| {
                let mean = |batches| {
                    mean_in(&series(batches, device, "DiskTemp"), at.minus(std::time::Duration::from_secs(60)), at)
                };
                mean(&faulty) - mean(&healthy)
            };
            // With a time constant of 10 minutes, 8 minutes bring at least half of it, 20 most of it.
            let (soon, late) = (rise_by(from.plus(std::time::Duration::from_secs(90))), rise_by(*until));
            assert!(
                late > 0.45 * heat_celsius && late < heat_celsius + 4.0 && soon < 0.6 * late,
                "{device}: {soon} {late}"
            );
        }
    }
    assert!(n_checked >= 3 && heated.len() < 20, "{n_checked} {}", heated.len());
    for name in device_names(&healthy[0]).iter().filter(|name| !heated.contains(*name)) {
        assert_eq!(series(&faulty, name, "DiskTemp"), series(&healthy, name, "DiskTemp"));
    }
}

#[test]
fn an_offline_shelf_silences_its_disks_and_slows_the_rest() {
    let rates = EventRates { shelf_outages_per_hour: 6.0, ..EventRates::NONE };
    let (fleet, batches) = run(FleetConfig { rates, ..FleetConfig::new(20, 33, EPOCH) }, 7200.0, 5.0);
    let mut n_checked = 0;
    for truth in fleet.truth() {
        let Truth::ShelfOffline { silent_devices, slow_devices, from, until, .. } = truth else { continue };
        if *until >= after(7200.0) {
            continue;
        }
        n_checked += 1;
        for device in silent_devices {
            let latency = series(&batches, device, "Latency");
            assert!(mean_in(&latency, *from, *until).is_nan(), "{device}");
            assert!(!mean_in(&latency, *until, until.plus(std::time::Duration::from_secs(60))).is_nan(), "{device}");
        }
        for device in slow_devices {
            assert!(mean_in(&series(&batches, device, "Latency"), *from, *until) > 500.0, "{device}");
        }
    }
    assert!(n_checked >= 10, "{n_checked}");
    let told = events(&batches);
    assert_eq!(told.iter().filter(|event| &*event.event_type == "ShelfOffline").count(), n_checked);
}

#[test]
fn a_silent_device_reports_no_corruption_and_no_access() {
    let (fleet, batches) = run(FleetConfig::new(20, 34, EPOCH), 6.0 * 3600.0, 30.0);
    let own: Vec<&Event> = events(&batches)
        .into_iter()
        .filter(|event| ["DataCorruption", "UnauthorizedAccess"].contains(&&*event.event_type))
        .collect();
    for truth in fleet.truth() {
        let (silent, from, until) = match truth {
            Truth::WearOut { device, fails_at, replaced_at, .. } => (vec![device.clone()], fails_at, replaced_at),
            Truth::ShelfOffline { silent_devices, from, until, .. } => (silent_devices.clone(), from, until),
            Truth::Silence { device, from, until } => (vec![device.clone()], from, until),
            Truth::FanFailure { .. }
            | Truth::FillsUp { .. }
            | Truth::Corruption { .. }
            | Truth::UnauthorizedAccess { .. } => continue,
        };
        let inside =
            |event: &&&Event| silent.contains(&event.source_device) && (from..until).contains(&&event.timestamp);
        assert_eq!(own.iter().find(inside), None);
    }
}

#[test]
fn wear_outs_go_on_for_ever_and_never_overlap_on_a_device() {
    let mut fleet = Fleet::new(FleetConfig::new(10, 35, EPOCH));
    let mut truths = Vec::new();
    for hour in 0..24 * 14 {
        fleet.tick(after(f64::from(hour) * 3600.0));
        truths.extend(fleet.new_truth());
    }
    let mut free_from: BTreeMap<DeviceName, Timestamp> = BTreeMap::new();
    let mut n_per_week = [0, 0];
    for truth in truths {
        let Truth::WearOut { device, onset, replaced_at, .. } = truth else { continue };
        let week = (onset.seconds_since(EPOCH) / (7.0 * 86_400.0)) as usize;
        if let Some(count) = n_per_week.get_mut(week) {
            *count += 1;
        }
        assert!(free_from.insert(device, replaced_at).is_none_or(|free_from| free_from < onset));
    }
    assert!(n_per_week.iter().all(|count| (25..60).contains(count)), "{n_per_week:?}");
}
