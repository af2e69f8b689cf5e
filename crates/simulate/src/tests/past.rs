//! The past of a fleet: its end shows what was planned for it, the same each time, and goes on without a jump.

use super::*;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const STEP: Duration = Duration::from_secs(120);

fn with_past(n_devices: usize, seed: u64) -> FleetConfig {
    FleetConfig { past_until: Some(EPOCH.plus(DAY)), ..FleetConfig::new(n_devices, seed, EPOCH) }
}

/// Gives a day of the past in steps, and the first minutes of the present every 2 s.
fn relived(config: FleetConfig) -> (Fleet, Vec<Batch>, Vec<Batch>) {
    let mut fleet = Fleet::new(config);
    let n_steps = DAY.as_secs() / STEP.as_secs();
    let past = (0..=n_steps).map(|step| fleet.tick_past(EPOCH.plus(STEP * step as u32))).collect();
    let now = EPOCH.plus(DAY);
    let present = (1..=60).map(|tick| fleet.tick(now.plus(Duration::from_secs(2 * tick)))).collect();
    (fleet, past, present)
}

#[test]
fn the_same_seed_and_times_give_the_same_past_and_truth() {
    let (first, second) = (relived(with_past(10, 5)), relived(with_past(10, 5)));
    assert_eq!((&first.1, &first.2), (&second.1, &second.2));
    assert_eq!(first.0.truth(), second.0.truth());
    assert_ne!(first.1, relived(with_past(10, 6)).1);
}

#[test]
fn the_end_of_the_past_shows_one_fault_of_each_kind_and_the_truth_has_them() {
    let now = EPOCH.plus(DAY);
    for seed in 0..20 {
        let (fleet, past, present) = relived(with_past(10, seed));
        let last = past.last().unwrap();
        let value = |device: &str, metric: &str| {
            let found =
                last.metrics.iter().find(|value| &*value.source_device == device && &*value.metric_type == metric);
            found.map(|value| value.value)
        };
        let under_way = |truth: &&Truth| truth.begins_at() <= now && now < truth.ends_at();
        let mut devices = BTreeSet::new();
        let mut kinds = BTreeSet::new();
        for truth in fleet.truth().iter().filter(under_way) {
            match truth {
                Truth::WearOut { device, fails_at, .. } if now < *fails_at => {
                    let is_story = fails_at.seconds_since(now) < 601.0;
                    assert!(!is_story || value(device, "PendingSectors").unwrap() > 1.0, "{seed}: {truth:?}");
                    if is_story {
                        kinds.insert("failing");
                        assert!(devices.insert(device.clone()), "{seed}");
                    }
                }
                Truth::FanFailure { devices: hot, .. } => {
                    kinds.insert("hot");
                    let celsius = hot.iter().filter_map(|device| value(device, "DiskTemp"));
                    assert!(celsius.fold(0.0, f64::max) > 40.0, "{seed}");
                }
                Truth::FillsUp { device, .. } => {
                    kinds.insert("filling");
                    assert!((85.0..95.0).contains(&value(device, "CapacityUsed").unwrap()), "{seed}");
                    assert!(devices.insert(device.clone()), "{seed}");
                }
                Truth::Silence { device, from, .. } => {
                    kinds.insert("silent");
                    assert!(from.seconds_since(now) < -7_000.0 && value(device, "DiskTemp").is_none(), "{seed}");
                    assert!(
                        present.iter().all(|batch| batch.metrics.iter().all(|value| value.source_device != *device))
                    );
                    assert!(devices.insert(device.clone()), "{seed}");
                }
                _ => {}
            }
        }
        assert_eq!(kinds, ["failing", "filling", "hot", "silent"].into(), "{seed}");
    }
}

#[test]
fn the_present_continues_the_past_without_a_jump() {
    let (_, past, present) = relived(FleetConfig { rates: EventRates::NONE, ..with_past(10, 3) });
    let names = device_names(&past[0]);
    let last = |batches: &[Batch], name: &str, metric: &str| series(batches, name, metric).last().copied();
    let first = |name: &str, metric: &str| series(&present, name, metric).first().copied();
    let mut n_checked = 0;
    for name in &names {
        for (metric, tolerance) in [("DiskTemp", 2.0), ("CapacityUsed", 0.2), ("PowerOnHours", 0.02)] {
            let (Some((before, old)), Some((at, new))) = (last(&past, name, metric), first(name, metric)) else {
                continue;
            };
            if at.seconds_since(before) < 3.0 {
                n_checked += 1;
                assert!((new - old).abs() <= tolerance, "{name} {metric}: {old} to {new}");
            }
        }
    }
    assert!(n_checked >= 18, "{n_checked}");
}

#[test]
fn events_of_the_past_are_all_in_the_truth_and_rarer_than_those_of_the_present() {
    let (fleet, past, _) = relived(with_past(10, 8));
    let events = events(&past);
    let ids: BTreeSet<String> = fleet
        .truth()
        .iter()
        .filter_map(|truth| Some(serde_json::to_value(truth).unwrap()["event_id"].as_str()?.to_owned()))
        .collect();
    let is_end = |event: &Event| ["DriveReplaced", "FanRestored", "ShelfOnline"].contains(&&*event.event_type);
    assert!(events.iter().all(|event| is_end(event) || ids.contains(&event.id.to_string())));
    assert!((30..300).contains(&events.len()), "{}", events.len());
    assert!(fleet.truth().is_sorted_by_key(Truth::begins_at));
}

#[test]
fn a_past_works_for_every_size() {
    for n_devices in [0, 1, 2, 3, 4, 5, 6, 11, 40] {
        let (_, past, present) = relived(with_past(n_devices, 1));
        past.iter().chain(&present).for_each(assert_in_range);
        assert_eq!(past[0].metrics.is_empty(), n_devices == 0);
    }
}
