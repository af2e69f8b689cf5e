//! Judgement of invented drives.

use super::*;

const DAY_S: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_ns(day * DAY_S * 1_000_000_000)
}

fn judge(fleet: &mut DriveFleet, device: &str, day: i64, values: &[(&str, f64)]) -> DriveVerdict {
    fleet.judge(&DriveRow { device, model: "M", serial: None, time: at(day), values })
}

#[test]
fn a_rise_counts_more_than_what_was_there_and_is_named_first() {
    let mut fleet = DriveFleet::default();
    for day in 0..10 {
        for drive in 0..50 {
            judge(&mut fleet, &format!("fine{drive}"), day, &[("smart_5_raw", 0.0), ("smart_187_raw", 0.0)]);
        }
    }
    for day in 0..10 {
        judge(&mut fleet, "old", 10 + day, &[("smart_5_raw", 30.0), ("smart_187_raw", 0.0)]);
        judge(&mut fleet, "new", 10 + day, &[("smart_5_raw", 0.0), ("smart_187_raw", 0.0)]);
    }
    let old = judge(&mut fleet, "old", 20, &[("smart_5_raw", 30.0), ("smart_187_raw", 0.0)]);
    let new = judge(&mut fleet, "new", 20, &[("smart_5_raw", 30.0), ("smart_187_raw", 3.0)]);
    assert!(new.risk > old.risk + 3.0, "{} {}", new.risk, old.risk);
    let reason = &old.reasons[0];
    assert_eq!((reason.finding, reason.value, reason.since), (Finding::Reallocated, Some(30.0), Some(at(10))));
    let reason = &new.reasons[0];
    assert_eq!(reason.finding, Finding::Reallocated);
    assert_eq!(reason.trend, "rose by 30 in 24 h");
    assert!(new.reasons.iter().any(|reason| reason.trend == "rose by 3 in 24 h"), "{:?}", new.reasons);
    assert_eq!(new.advice, Some("Copy the data off this drive and replace it."));
}
