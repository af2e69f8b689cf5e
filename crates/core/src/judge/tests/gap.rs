//! Holes in the streams: messages are missing, and nothing is concluded from that.

use super::*;

/// Hole of ten hours behind minute 100.
const BEHIND: i64 = 700;

fn to<'a>(events: &'a [Event], device: &str) -> Vec<&'a str> {
    let changed = of_type(events, events::HEALTH_CHANGED);
    let of_device = changed.into_iter().filter(|event| &*event.source_device == device);
    of_device.map(|event| label(event, "to")).collect()
}

/// Sends minutes on both sides of a hole; `lost` does not come back. An event about each device is the first message behind
/// the hole, and their values follow some minutes later.
fn events_over_a_hole(is_told: bool) -> Vec<Event> {
    let mut judge = FleetJudge::default();
    for i in (0..=100).chain(BEHIND + 3..BEHIND + 30) {
        if i == BEHIND + 3 {
            if is_told {
                judge.gap(minute(BEHIND));
            }
            for device in ["well", "lost"] {
                judge.event(&event(device, "Moved", minute(BEHIND), 3), minute(BEHIND));
                // A repetition, and a hole that lies in the past.
                judge.gap(minute(BEHIND - 5));
            }
        }
        send(&mut judge, "well", "DiskTemp", minute(i), 40.0);
        if i <= 100 {
            send(&mut judge, "lost", "DiskTemp", minute(i), 40.0);
        }
    }
    judge.take()
}

#[test]
fn a_hole_is_no_silence_and_silence_behind_it_is_found() {
    let events = events_over_a_hole(true);
    assert_eq!((to(&events, "well"), to(&events, "lost")), (vec!["ok"], vec!["ok", "unknown"]));
    let unknown = events.iter().find(|event| label(event, "to") == "unknown").unwrap();
    assert!((minute(BEHIND + 9)..minute(BEHIND + 13)).contains(&unknown.timestamp), "{unknown:?}");
    // The judge cannot tell a hole of which it does not hear.
    assert!(to(&events_over_a_hole(false), "well").contains(&"unknown"));
}

/// Sends latencies that double for twelve minutes, with a hole in the middle of them if `is_cut`; returns the number of pages.
fn slow_for_twelve_minutes(is_cut: bool) -> usize {
    let mut judge = FleetJudge::default();
    for i in 0..340 {
        let is_slow = (300..312).contains(&i);
        let time = if is_cut && i >= 306 { minute(i + 180) } else { minute(i) };
        if is_cut && i == 306 {
            judge.gap(time);
        }
        let latency = if is_slow { 12.0 } else { 5.0 };
        send(&mut judge, "d", "IOPs", time, 100.0);
        send(&mut judge, "d", "Latency", time, latency + 0.1 * noise(i));
    }
    n_pages(&judge.take())
}

#[test]
fn minutes_on_both_sides_of_a_hole_are_not_one_spell_of_slowness() {
    assert_eq!((slow_for_twelve_minutes(false), slow_for_twelve_minutes(true)), (1, 0));
}

#[test]
fn a_hole_longer_than_a_month_forgets_nothing() {
    let mut judge = FleetJudge::default();
    for i in 0..500 {
        send(&mut judge, "d", "Latency", minute(i), 5.0 + noise(i));
    }
    judge.gap(minute(500 + 45 * 1_440));
    judge.advance(minute(500 + 45 * 1_440 + 20));
    assert_eq!(judge.n_series(), 1);
}
