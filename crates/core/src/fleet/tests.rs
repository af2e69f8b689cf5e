//! Judgement of invented drives.

use proptest::prelude::*;

use super::*;

fn at(day: i64) -> Timestamp {
    Timestamp::from_ns(day * 86_400_000_000_000)
}

fn judge(fleet: &mut DriveFleet, device: &str, day: i64, values: &[(&str, f64)]) -> DriveVerdict {
    fleet.judge(&DriveRow { device, model: "M", serial: None, time: at(day), values })
}

const HEALTHY: [(&str, f64); 3] = [("smart_5_raw", 0.0), ("smart_187_raw", 0.0), ("smart_199_raw", 0.0)];

/// Returns a fleet of 50 healthy drives on days 0 to 9.
fn healthy_fleet() -> DriveFleet {
    let mut fleet = DriveFleet::default();
    for day in 0..10 {
        for drive in 0..50 {
            judge(&mut fleet, &format!("fine{drive}"), day, &HEALTHY);
        }
    }
    fleet
}

#[test]
fn a_rise_counts_more_than_what_was_there_and_says_since_when() {
    let mut fleet = healthy_fleet();
    for day in 10..20 {
        judge(&mut fleet, "old", day, &[("smart_5_raw", 30.0)]);
        judge(&mut fleet, "new", day, &[("smart_5_raw", 0.0)]);
    }
    let old = judge(&mut fleet, "old", 20, &[("smart_5_raw", 30.0)]);
    let new = judge(&mut fleet, "new", 20, &[("smart_5_raw", 30.0), ("smart_187_raw", 3.0)]);
    assert!(new.risk > old.risk + 3.0, "{} {}", new.risk, old.risk);
    let reason = &old.reasons[0];
    assert_eq!((reason.finding, reason.value, reason.since), (Finding::Reallocated, Some(30.0), Some(at(10))));
    assert_eq!(reason.expected, "less on each of the 51 other drives of this model");
    assert!(new.reasons.windows(2).all(|pair| pair[0].points >= pair[1].points), "{:?}", new.reasons);
    let reallocated = new.reasons.iter().find(|reason| reason.finding == Finding::Reallocated).unwrap();
    assert_eq!((reallocated.trend.as_str(), reallocated.since), ("rose by 30 in 24 h", Some(at(20))));
    assert_eq!(new.advice, Some("Copy the data off this drive and replace it."));
}

#[test]
fn the_own_verdict_of_a_drive_decides_and_ends_with_it() {
    let mut fleet = healthy_fleet();
    let row = |failed, test, worn| {
        [
            ("smart_5_raw", 0.0),
            ("smart_failed", failed),
            ("smart_self_tests_failed", test),
            ("smart_usage_at_threshold", worn),
        ]
    };
    // A model that never fails in a fleet that does: its low rate must not outweigh the drive's word.
    for drive in 0..50 {
        let device = format!("other{drive}");
        fleet.judge(&DriveRow { device: &device, model: "N", serial: None, time: at(10), values: &HEALTHY });
        fleet.fail(&device, at(10));
    }
    assert_eq!(judge(&mut fleet, "a", 11, &row(0.0, 0.0, 0.0)).health, Health::Ok);
    let failing = judge(&mut fleet, "a", 12, &row(1.0, 0.0, 0.0));
    assert_eq!((failing.health, failing.reasons[0].finding), (Health::Critical, Finding::SelfReported), "{failing:?}");
    assert_eq!(failing.reasons[0].trend, "rose by 1 in 24 h");
    assert_eq!(judge(&mut fleet, "a", 13, &[("smart_5_raw", 0.0)]).health, Health::Critical, "silence does not heal");
    assert_eq!(judge(&mut fleet, "a", 14, &row(0.0, 0.0, 0.0)).health, Health::Ok);
    assert_eq!(judge(&mut fleet, "b", 14, &row(0.0, 1.0, 0.0)).health, Health::Warning);
    let worn = judge(&mut fleet, "c", 14, &row(0.0, 0.0, 1.0));
    assert_eq!((worn.health, worn.reasons[0].finding), (Health::Warning, Finding::Worn));
}

#[test]
fn errors_of_a_cable_accuse_no_drive_and_have_their_own_advice() {
    let mut fleet = healthy_fleet();
    for day in 10..30 {
        let verdict = judge(&mut fleet, "cable", day, &[("smart_5_raw", 0.0), ("smart_199_raw", 1200.0)]);
        assert_eq!(verdict.health, Health::Ok, "{verdict:?}");
        assert_eq!(verdict.advice, Some("Reseat or replace the cable of the drive."));
        assert!(verdict.reasons[0].trend.starts_with("unchanged since "), "{verdict:?}");
    }
}

#[test]
fn what_is_not_understood_or_missing_is_not_good() {
    let mut fleet = healthy_fleet();
    assert_eq!(judge(&mut fleet, "packed", 10, &[("smart_5_raw", 65_535.0)]).health, Health::Unknown);
    assert_eq!(
        judge(&mut fleet, "packed", 10, &[("smart_5_raw", 65_535.0), ("smart_187_raw", 0.0)]).health,
        Health::Unknown
    );
    assert_eq!(judge(&mut fleet, "mute", 10, &[("NoSuchMetric", 1.0)]).health, Health::Unknown);
    judge(&mut fleet, "bad", 10, &[("smart_5_raw", 0.0), ("smart_197_raw", 0.0)]);
    let bad = judge(&mut fleet, "bad", 11, &[("smart_5_raw", 5_000.0), ("smart_197_raw", 900.0)]);
    assert_eq!(bad.health, Health::Critical, "{bad:?}");
    assert!(bad.score.unwrap() < 40);
    let after = judge(&mut fleet, "bad", 12, &[("smart_5_raw", 65_535.0)]);
    assert_eq!(after.health, Health::Critical, "{after:?}");
    assert!(after.risk >= bad.risk - 0.5, "{} {}", after.risk, bad.risk);
}

#[test]
fn a_failure_counts_for_its_model_from_the_next_day_on() {
    let mut fleet = healthy_fleet();
    let row =
        |model, day| DriveRow { device: "other", model, serial: None, time: at(day), values: &[("smart_5_raw", 0.0)] };
    for drive in 0..50 {
        fleet.judge(&DriveRow { device: &format!("other{drive}"), ..row("N", 10) });
    }
    let before = fleet.judge(&row("M", 10)).risk;
    for drive in 0..10 {
        fleet.fail(&format!("fine{drive}"), at(10));
    }
    assert_eq!(fleet.judge(&row("M", 10)).risk, before);
    let mut other = fleet.clone();
    let (same, different) =
        (fleet.judge(&row("M", 11)).risk, other.judge(&DriveRow { device: "x", ..row("N", 11) }).risk);
    assert!(same > different, "{same} {different}");
}

#[test]
fn another_drive_under_the_same_name_starts_without_history() {
    let row = |hours| [("smart_5_raw", 0.0), ("smart_9_raw", hours)];
    let mut fleet = healthy_fleet();
    let bad = [("smart_5_raw", 3_000.0), ("smart_9_raw", 20_000.0)];
    fleet.judge(&DriveRow { device: "bay", model: "M", serial: Some("A"), time: at(10), values: &bad });
    let mut by_serial = fleet.clone();
    let values = row(20_024.0);
    let new =
        by_serial.judge(&DriveRow { device: "bay", model: "M", serial: Some("B"), time: at(11), values: &values });
    assert_eq!(new.health, Health::Ok, "{new:?}");
    assert_eq!(new.reasons[0].finding, Finding::Replaced);
    let values = row(12.0);
    let new = fleet.judge(&DriveRow { device: "bay", model: "M", serial: None, time: at(11), values: &values });
    assert_eq!((new.health, new.reasons[0].finding), (Health::Ok, Finding::Replaced), "{new:?}");
}

#[test]
fn drives_that_fall_silent_are_forgotten() {
    let mut fleet = healthy_fleet();
    judge(&mut fleet, "last", 13, &[("smart_5_raw", 0.0)]);
    let back = judge(&mut fleet, "fine1", 14, &[("smart_5_raw", 0.0)]);
    assert!(back.reasons.iter().any(|reason| reason.finding == Finding::Silent), "{back:?}");
    judge(&mut fleet, "last", 120, &[("smart_5_raw", 0.0)]);
    assert_eq!(fleet.drives.len(), 1, "state is bounded");
    assert_eq!(fleet.models.rarity(0, 0, 0.0, None).n_drives, 1.0);
}

#[test]
fn a_restored_fleet_continues_exactly() {
    let mut fleet = healthy_fleet();
    judge(&mut fleet, "bad", 10, &[("smart_5_raw", 3.0), ("smart_194_raw", 41.3), ("smart_9_raw", 1_234.0)]);
    fleet.fail("fine7", at(10));
    let mut restored: DriveFleet = serde_json::from_slice(&serde_json::to_vec(&fleet).unwrap()).unwrap();
    assert_eq!(restored, fleet);
    for day in 10..13 {
        let values = [("smart_5_raw", day as f64), ("smart_188_raw", 0.0)];
        assert_eq!(judge(&mut restored, "bad", day, &values), judge(&mut fleet, "bad", day, &values));
    }
    assert_eq!(restored, fleet);
}

#[test]
fn a_history_keeps_a_bounded_number_of_changes() {
    let mut track = Track::new(0, 0.0);
    for day in 1..1_000 {
        track.push(day, day as f64);
    }
    assert_eq!((track.first, track.value(), track.on(990), track.on(3)), (0.0, 999.0, 990.0, 984.0));
}

const COUNTERS: [&str; 5] = ["smart_5_raw", "smart_187_raw", "smart_197_raw", "smart_198_raw", "smart_199_raw"];

proptest! {
    /// The same drive, in the same fleet, with more of one counter, or hotter.
    #[test]
    fn more_of_a_bad_thing_never_improves_a_verdict(
        rows in prop::collection::vec((0_u8..6, prop::array::uniform5(0_u16..300)), 1..60),
        counter in 0_usize..5,
        more in 1_u16..5_000,
        degrees in 0_u8..40,
    ) {
        let mut fleet = DriveFleet::default();
        for (index, (drive, values)) in rows.iter().enumerate() {
            let values: Vec<_> = COUNTERS.into_iter().zip(values.map(f64::from)).collect();
            judge(&mut fleet, &drive.to_string(), index as i64 / 4, &values);
        }
        let (drive, values) = rows.last().unwrap();
        let day = rows.len() as i64 / 4 + 1;
        let mut values: Vec<_> = COUNTERS.into_iter().zip(values.map(f64::from)).chain([("smart_194_raw", 35.0)]).collect();
        let before = judge(&mut fleet.clone(), &drive.to_string(), day, &values);
        values[counter].1 += f64::from(more);
        values[5].1 += f64::from(degrees);
        let after = judge(&mut fleet, &drive.to_string(), day, &values);
        prop_assert!(after.risk >= before.risk - 1e-9, "{} {}", after.risk, before.risk);
        prop_assert!(after.health >= before.health);
    }

    /// Any value of any counter: no panic, a finite risk, a score that agrees with the health.
    #[test]
    fn no_value_breaks_the_judgement(values in prop::collection::vec(any::<f64>(), 5), day in any::<i64>()) {
        let mut fleet = healthy_fleet();
        let values: Vec<_> = COUNTERS.into_iter().zip(values).collect();
        let time = Timestamp::from_ns(day);
        let verdict = fleet.judge(&DriveRow { device: "x", model: "", serial: None, time, values: &values });
        prop_assert!(verdict.risk.is_finite());
        let in_range = match verdict.health {
            Health::Ok => verdict.score.is_some_and(|score| score > 75),
            Health::Warning => verdict.score.is_some_and(|score| (40..=75).contains(&score)),
            Health::Critical => verdict.score.is_some_and(|score| score < 40),
            Health::Unknown => verdict.score.is_none(),
        };
        prop_assert!(in_range, "{verdict:?}");
    }
}

#[test]
fn failures_of_unknown_drives_and_repeated_ones_take_no_room() {
    let mut fleet = healthy_fleet();
    for i in 0..1_000 {
        fleet.fail("fine7", at(10));
        fleet.fail(&format!("never seen {i}"), at(10));
    }
    assert_eq!(fleet.failed.len(), 1);
}
