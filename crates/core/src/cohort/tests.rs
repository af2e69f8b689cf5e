//! Tests of cohorts with an invented shelf: 12 drives around 5 ms, each with its own usual ratio and noise.

use super::*;
use crate::wire::{DeviceMetric, Labels};
use crate::{DeviceName, MetricType};

/// Minutes before anything happens.
const QUIET: i64 = 300;

fn name(shelf: &str, slot: usize) -> DeviceName {
    DeviceName::new(&format!("{shelf}/disk{slot:02}")).unwrap()
}

/// Noise of a drive in a minute, from -1 to 1: a hash, so that tests repeat.
fn noise(slot: usize, minute: i64) -> f64 {
    let mut bits =
        (slot as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (minute as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    bits ^= bits >> 31;
    bits = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^= bits >> 29;
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Adds a minute of a shelf of `n_drives`; `factor` is the slowness of each slot.
fn add_shelf(samples: &mut PeerSamples, shelf: &str, n_drives: usize, minute: i64, factor: impl Fn(usize) -> f64) {
    for slot in 0..n_drives {
        let usual = 1.0 + 0.01 * (slot % 5) as f64;
        let value = 5.0 * usual * (0.12 * noise(slot, minute)).exp() * factor(slot);
        samples.insert(name(shelf, slot), PeerSample { cohort: shelf.to_owned(), value });
    }
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000_000 / 60 * 60 + minute * 60)
}

/// Pushes minutes of one shelf and returns the devices with an alarm, each with the minute of the first.
fn alarms(n_drives: usize, minutes: i64, factor: impl Fn(usize, i64) -> f64) -> BTreeMap<DeviceName, i64> {
    let mut cohorts = Cohorts::default();
    let mut first = BTreeMap::new();
    for minute in 0..minutes {
        let mut samples = PeerSamples::new();
        add_shelf(&mut samples, "shelf", n_drives, minute, |slot| factor(slot, minute));
        for verdict in cohorts.push(at(minute), &samples) {
            if verdict.alarm {
                first.entry(verdict.device).or_insert(minute);
            }
        }
    }
    first
}

#[test]
fn the_slow_drive_of_twelve_is_found_the_sooner_the_slower() {
    for (factor, within) in [(2.0, 5), (1.5, 10), (1.3, 40), (1.15, 240)] {
        let found = alarms(12, QUIET + 400, |slot, minute| if slot == 7 && minute >= QUIET { factor } else { 1.0 });
        let devices: Vec<_> = found.keys().cloned().collect();
        assert_eq!(devices, [name("shelf", 7)], "x{factor}");
        let after = found[&name("shelf", 7)] - QUIET;
        assert!((0..within).contains(&after), "x{factor} found after {after} minutes");
    }
}

#[test]
fn a_drive_that_is_slow_from_the_beginning_is_found_and_does_not_become_usual() {
    let mut cohorts = Cohorts::default();
    let mut last = None;
    for minute in 0..3000 {
        let mut samples = PeerSamples::new();
        add_shelf(&mut samples, "shelf", 12, minute, |slot| if slot == 3 { 2.0 } else { 1.0 });
        last = cohorts.push(at(minute), &samples).into_iter().find(|verdict| verdict.device == name("shelf", 3));
        assert!(minute < 15 || last.as_ref().unwrap().alarm, "minute {minute}: {last:?}");
    }
    let last = last.unwrap();
    assert!(last.value / last.expected > 1.3, "{last:?}");
    assert_eq!(last.n_peers, 11);
    assert!(last.window_minutes > 0);
}

#[test]
fn a_scrub_that_slows_every_drive_is_not_reported() {
    let scrub = |_, minute| if (QUIET..QUIET + 120).contains(&minute) { 4.0 } else { 1.0 };
    assert_eq!(alarms(12, QUIET + 300, scrub), BTreeMap::new());
}

#[test]
fn a_short_burst_is_not_reported_and_an_alarm_ends_with_the_slowness() {
    let burst = |slot, minute| if slot == 2 && (QUIET..QUIET + 2).contains(&minute) { 1.7 } else { 1.0 };
    assert_eq!(alarms(12, QUIET + 60, burst), BTreeMap::new());

    let mut cohorts = Cohorts::default();
    let mut alarmed = Vec::new();
    for minute in 0..QUIET + 400 {
        let mut samples = PeerSamples::new();
        let slow = (QUIET..QUIET + 30).contains(&minute);
        add_shelf(&mut samples, "shelf", 12, minute, |slot| if slot == 2 && slow { 2.0 } else { 1.0 });
        let verdicts = cohorts.push(at(minute), &samples);
        alarmed.extend(verdicts.iter().filter(|verdict| verdict.alarm).map(|_| minute - QUIET));
    }
    assert!(alarmed.first().is_some_and(|first| *first < 5), "{alarmed:?}");
    assert!(alarmed.last().is_some_and(|last| (29..60).contains(last)), "{alarmed:?}");
    assert!(alarmed.windows(2).all(|pair| pair[1] == pair[0] + 1), "one alarm: {alarmed:?}");
}

#[test]
fn a_gap_of_hours_makes_no_step() {
    let mut cohorts = Cohorts::default();
    let mut alarmed = false;
    for minute in 0..QUIET + 70 {
        let later = if minute >= QUIET + 40 { 720 } else { 0 };
        let mut samples = PeerSamples::new();
        add_shelf(&mut samples, "shelf", 12, minute, |slot| match minute - QUIET {
            0..40 if slot == 2 => 0.75,
            40.. if slot == 2 => 1.12,
            _ => 1.0,
        });
        alarmed |= cohorts.push(at(minute + later), &samples).iter().any(|verdict| verdict.alarm);
    }
    assert!(!alarmed);
}

#[test]
fn each_shelf_is_judged_by_itself() {
    let mut cohorts = Cohorts::default();
    let mut alarmed = std::collections::BTreeSet::new();
    for minute in 0..QUIET + 30 {
        let mut samples = PeerSamples::new();
        let lifted = if minute >= QUIET { 3.0 } else { 1.0 };
        add_shelf(&mut samples, "busy", 12, minute, |_| lifted);
        add_shelf(&mut samples, "calm", 12, minute, |slot| if slot == 0 { lifted } else { 1.0 });
        let verdicts = cohorts.push(at(minute), &samples);
        alarmed.extend(verdicts.into_iter().filter(|verdict| verdict.alarm).map(|verdict| verdict.device));
    }
    assert_eq!(Vec::from_iter(alarmed), [name("calm", 0)]);
}

#[test]
fn missing_minutes_and_devices_that_leave_change_no_verdict_on_the_others() {
    let mut cohorts = Cohorts::default();
    let mut alarmed = BTreeMap::new();
    for minute in 0..QUIET + 60 {
        let mut samples = PeerSamples::new();
        add_shelf(&mut samples, "shelf", 12, minute, |slot| if slot == 5 && minute >= QUIET { 2.0 } else { 1.0 });
        samples.retain(|device, _| {
            let leaves = *device == name("shelf", 11) && minute >= 200;
            let gap = (minute as usize + device.len()).is_multiple_of(7) && *device != name("shelf", 5);
            !leaves && !gap
        });
        if (100..160).contains(&minute) {
            continue;
        }
        for verdict in cohorts.push(at(minute), &samples) {
            assert!(samples.contains_key(&verdict.device), "a verdict without a value");
            if verdict.alarm {
                alarmed.entry(verdict.device).or_insert(minute - QUIET);
            }
        }
    }
    assert_eq!(alarmed.keys().cloned().collect::<Vec<_>>(), [name("shelf", 5)]);
    assert!(alarmed[&name("shelf", 5)] < 5, "{alarmed:?}");
}

#[test]
fn fewer_than_three_peers_give_no_verdict() {
    let mut cohorts = Cohorts::default();
    for minute in 0..60 {
        let mut samples = PeerSamples::new();
        add_shelf(&mut samples, "shelf", 3, minute, |slot| if slot == 0 { 9.0 } else { 1.0 });
        assert_eq!(cohorts.push(at(minute), &samples), []);
    }
    let mut samples = PeerSamples::new();
    add_shelf(&mut samples, "shelf", 4, 60, |_| 1.0);
    assert_eq!(cohorts.push(at(60), &samples).len(), 4);
}

#[test]
fn a_device_unseen_for_a_month_is_forgotten() {
    let mut cohorts = Cohorts::default();
    let mut samples = PeerSamples::new();
    add_shelf(&mut samples, "shelf", 12, 0, |_| 1.0);
    cohorts.push(at(0), &samples);
    samples.remove(&name("shelf", 4));
    cohorts.push(at(29 * 1440), &samples);
    assert_eq!(cohorts.n_devices(), 12);
    cohorts.push(at(31 * 1440), &samples);
    assert_eq!(cohorts.n_devices(), 11);
}

#[test]
fn the_state_survives_a_restart() {
    let mut before = Cohorts::default();
    let minute_of = |minute: i64| {
        let mut samples = PeerSamples::new();
        add_shelf(&mut samples, "shelf", 12, minute, |slot| if slot == 1 && minute > 195 { 1.5 } else { 1.0 });
        samples
    };
    for minute in 0..200 {
        before.push(at(minute), &minute_of(minute));
    }
    let bytes = serde_json::to_vec(&before).unwrap();
    assert!(bytes.len() < 12 * 8192, "{} bytes", bytes.len());
    let mut after: Cohorts = serde_json::from_slice(&bytes).unwrap();
    for minute in 200..220 {
        assert_eq!(after.push(at(minute), &minute_of(minute)), before.push(at(minute), &minute_of(minute)));
    }
}

fn latency(device: &str, seconds: i64, value: f64, labels: &[(&str, &str)]) -> DeviceMetric {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    DeviceMetric {
        timestamp: Timestamp::from_seconds(seconds),
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new("Latency").unwrap(),
        value,
        seq: None,
        labels: (!labels.is_empty()).then(|| Box::new(labels)),
    }
}

#[test]
fn metrics_become_minutes_of_means_by_cohort() {
    let mut minutes = Minutes::default();
    assert_eq!(minutes.push(&latency("a", 60, 4.0, &[("enclosure", "e1"), ("model", "M")])), None);
    assert_eq!(minutes.push(&latency("a", 75, 6.0, &[])), None, "labels need not be on every metric");
    assert_eq!(minutes.push(&latency("b", 80, 9.0, &[("model", "M"), ("class", "ssd")])), None);
    assert_eq!(minutes.push(&latency("lonely", 80, 9.0, &[])), None);
    let mut other = latency("a", 80, 99.0, &[]);
    other.metric_type = MetricType::new("IOPs").unwrap();
    assert_eq!(minutes.push(&other), None);

    let (start, samples) = minutes.push(&latency("a", 125, 5.0, &[])).unwrap();
    assert_eq!(start, Timestamp::from_seconds(60));
    let expected = [("a", "enclosure e1 ", 5.0), ("b", "model M ssd", 9.0)];
    assert_eq!(samples.len(), 2);
    for (device, cohort, value) in expected {
        let sample = &samples[&DeviceName::new(device).unwrap()];
        assert_eq!((sample.cohort.as_str(), sample.value), (cohort, value));
    }

    assert_eq!(minutes.push(&latency("b", 100, 1.0, &[])), None, "its minute is closed");
    assert_eq!(minutes.n_late(), 1);
    let (start, samples) = minutes.close().unwrap();
    assert_eq!((start, samples.len()), (Timestamp::from_seconds(120), 1));
    assert_eq!(minutes.close(), None);
}
