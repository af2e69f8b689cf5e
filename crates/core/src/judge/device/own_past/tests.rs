//! Levels of one device, minute by minute.

use super::*;

/// Pushes a minute that follows the newest one.
fn next(past: &mut OwnPast, values: [Option<f64>; METRICS.len()]) -> Option<Change> {
    past.push(past.levels[0].newest + 1, values)
}

/// Pushes minutes with this latency and load; returns the changes.
fn push(past: &mut OwnPast, minutes: usize, latency: f64, iops: f64) -> Vec<Change> {
    let noise = |minute: usize| 1.0 + 0.05 * ((minute * 7) % 11) as f64 / 11.0;
    (0..minutes).filter_map(|n| next(past, [Some(latency * noise(n)), Some(iops), None, None])).collect()
}

#[test]
fn twice_the_latency_without_more_load_is_slow_until_it_is_over() {
    let mut past = OwnPast::default();
    assert_eq!(push(&mut past, 300, 5.0, 100.0), []);
    let found = push(&mut past, 12, 11.5, 60.0);
    let [Change::Slow { level, usual, minutes: 10 }] = found[..] else { panic!("{found:?}") };
    assert!(level > 11.0 && (4.9..5.3).contains(&usual), "{level} {usual}");
    assert_eq!(push(&mut past, 600, 11.5, 60.0), []);
    assert!(past.is_slow);
    assert_eq!(push(&mut past, 12, 5.0, 100.0), [Change::Usual]);
}

#[test]
fn load_spikes_and_a_first_hour_explain_slowness() {
    let usual = || {
        let mut past = OwnPast::default();
        push(&mut past, 300, 5.0, 100.0);
        past
    };
    assert_eq!(push(&mut usual(), 60, 12.0, 180.0), [], "more load");
    assert_eq!(push(&mut usual(), 60, 12.0, 1.0), [], "idle");
    let mut past = usual();
    for _ in 0..10 {
        assert_eq!(push(&mut past, 5, 2_000.0, 60.0), [], "spike");
        assert_eq!(push(&mut past, 5, 5.0, 100.0), []);
    }
    let mut young = OwnPast::default();
    assert_eq!(push(&mut young, 20, 5.0, 100.0), []);
    assert_eq!(push(&mut young, 20, 15.0, 100.0), [], "too young");
    let mut alone = OwnPast::default();
    let latency_only =
        (0..300).filter_map(|n| next(&mut alone, [Some(if n < 200 { 5.0 } else { 50.0 }), None, None, None]));
    assert_eq!(latency_only.count(), 0, "no load known");
}

#[test]
fn values_of_any_kind_do_no_harm() {
    let mut past = OwnPast::default();
    for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE] {
        for _ in 0..100 {
            next(&mut past, [Some(value), Some(value), None, Some(value)]);
            assert!(past.levels.iter().all(|level| level.usual.is_finite()));
        }
    }
}

#[test]
fn values_on_both_sides_of_a_gap_are_no_level_and_the_minutes_are_those_of_the_clock() {
    let mut past = OwnPast::default();
    push(&mut past, 300, 5.0, 100.0);
    assert_eq!(push(&mut past, 9, 12.0, 60.0), []);
    let after_gap = past.levels[0].newest + 600;
    assert_eq!(past.push(after_gap, [Some(12.0), Some(60.0), None, None]), None);
    assert!(!past.is_slow);
    let mut seldom = OwnPast::default();
    let mut every_ten = |n: i64, latency: f64| {
        let minutes = (1..=n).filter_map(|_| {
            let minute = seldom.levels[0].newest + 10;
            seldom.push(minute, [Some(latency), Some(60.0), None, None])
        });
        minutes.collect::<Vec<_>>()
    };
    assert_eq!(every_ten(100, 5.0), []);
    let found = every_ten(12, 12.0);
    assert!(matches!(found[..], [Change::Slow { minutes: 91, .. }]), "{found:?}");
}

#[test]
fn a_load_that_is_no_longer_sent_explains_nothing_and_judges_nothing() {
    let mut past = OwnPast::default();
    push(&mut past, 300, 5.0, 100.0);
    for _ in 0..60 {
        assert_eq!(next(&mut past, [Some(5.0), None, None, None]), None);
    }
    for _ in 0..60 {
        assert_eq!(next(&mut past, [Some(12.0), None, None, None]), None);
    }
}
