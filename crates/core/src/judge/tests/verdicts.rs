//! Verdicts over time: stated when they change and once a day, without false silence.

use super::*;

fn statements(events: &[Event]) -> Vec<(&str, &str, u8)> {
    let changed = of_type(events, events::HEALTH_CHANGED);
    changed.into_iter().map(|event| (label(event, "from"), label(event, "to"), event.criticality.level())).collect()
}

#[test]
fn a_verdict_is_stated_when_it_changes_and_once_a_day() {
    let mut judge = FleetJudge::default();
    for i in 0..4_000 {
        let value = if (2_000..2_200).contains(&i) { 70.0 } else { 40.0 };
        send(&mut judge, "d", "DiskTemp", minute(i), value);
    }
    let events = judge.take();
    let expected = [("ok", "ok", 3), ("ok", "ok", 3), ("ok", "critical", 8), ("critical", "ok", 3), ("ok", "ok", 3)];
    assert_eq!(statements(&events), expected);
    let page = &of_type(&events, events::HEALTH_CHANGED)[2];
    assert_eq!((label(page, "why"), label(page, "score")), ("DiskTemp", "39"));
    assert!(page.timestamp <= minute(2_001) && !label(page, "advice").is_empty());
}

#[test]
fn a_value_that_hovers_at_a_limit_is_one_page_a_day() {
    let mut judge = FleetJudge::default();
    for i in 0..2_800 {
        let value = if i >= 100 && (i / 15) % 2 == 0 { 65.5 } else { 64.5 };
        send(&mut judge, "d", "DiskTemp", minute(i), value);
    }
    let events = judge.take();
    let changes = statements(&events).iter().filter(|(from, to, _)| from != to).count();
    assert!(n_pages(&events) == 2 && changes <= 4 * 47, "{} pages, {changes} changes", n_pages(&events));
    let flapping: Vec<_> = (0..2_800).map(|i| if i % 2 == 0 { 55.1 } else { 54.9 }).collect();
    let mut judge = FleetJudge::default();
    for (i, value) in flapping.into_iter().enumerate() {
        send(&mut judge, "d", "DiskTemp", minute(i as i64), value);
    }
    let events = judge.take();
    assert!(statements(&events).iter().filter(|(from, to, _)| from != to).count() <= 1, "{events:?}");
}

#[test]
fn silence_is_found_and_a_pause_of_the_whole_stream_is_none() {
    let mut judge = FleetJudge::default();
    for i in 0..100 {
        send(&mut judge, "a", "DiskTemp", minute(i), 40.0);
        if i < 50 {
            send(&mut judge, "b", "DiskTemp", minute(i), 40.0);
        }
    }
    // The detector was down from here on: what it missed lies in the streams.
    for i in 100..1_000 {
        send(&mut judge, "a", "DiskTemp", minute(i), 40.0);
    }
    let events = judge.take();
    let of = |device: &str| {
        let of_device: Vec<Event> = events.iter().filter(|event| &*event.source_device == device).cloned().collect();
        statements(&of_device).iter().map(|(_, to, _)| (*to).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("b")), (vec!["ok".to_owned()], vec!["ok".to_owned(), "unknown".to_owned()]));
    let silent = of_type(&events, events::HEALTH_CHANGED).into_iter().find(|event| label(event, "to") == "unknown");
    assert!(silent.is_some_and(|event| (minute(59)..minute(63)).contains(&event.timestamp)), "{silent:?}");
}

#[test]
fn an_event_that_has_paged_makes_the_verdict_a_note() {
    let mut judge = FleetJudge::default();
    send(&mut judge, "d", "DiskTemp", minute(0), 40.0);
    judge.event(&event("d", "DriveFailure", minute(20), 9), minute(20));
    judge.event(&event("array", "ShelfOffline", minute(20), 9), minute(20));
    judge.advance(minute(30));
    let events = judge.take();
    let critical = events.iter().filter(|event| label(event, "to") == "critical");
    assert_eq!((critical.count(), n_pages(&events)), (2, 0), "{events:?}");
}

#[test]
fn the_first_start_on_an_old_stream_says_only_what_is_still_the_case() {
    let mut judge = FleetJudge::default();
    judge.stay_quiet_until(minute(500));
    for i in 0..600 {
        let hot_until = |end| if (100..end).contains(&i) { 70.0 } else { 40.0 };
        send(&mut judge, "over", "DiskTemp", minute(i), hot_until(400));
        send(&mut judge, "lasting", "DiskTemp", minute(i), hot_until(1_000));
    }
    let events = judge.take();
    assert!(events.iter().all(|event| event.timestamp >= minute(500)), "{events:?}");
    assert_eq!(n_pages(&events), 1);
    assert!(events.iter().any(|event| &*event.source_device == "lasting" && event.criticality.level() == 8));
}

#[test]
fn heat_after_a_stopped_fan_calls_nobody_again() {
    let mut judge = FleetJudge::default();
    for i in 0..200 {
        for device in ["a", "b", "elsewhere"] {
            let value = if i >= 100 { 66.0 } else { 40.0 };
            let enclosure = if device == "elsewhere" { "2" } else { "1" };
            judge.metric(
                &labelled(metric(device, "DiskTemp", minute(i), value), &[("enclosure", enclosure)]),
                minute(i),
            );
        }
        if i == 90 {
            judge.event(&event("a", "FanFailure", minute(i), 7), minute(i));
        }
    }
    let events = judge.take();
    let pages: Vec<_> = events.iter().filter(|event| event.criticality.level() >= 7).collect();
    assert!(pages.len() == 1 && &*pages[0].source_device == "elsewhere", "{pages:?}");
}

/// The newest value is always newer than the step that is judged.
#[test]
fn a_device_that_reports_every_second_is_well_and_its_clock_may_be_minutes_ahead() {
    for ahead_s in [0, 120] {
        let mut judge = FleetJudge::default();
        for i in 0..200_i64 {
            let received = Timestamp::from_ns(minute(0).as_ns() + i * 1_000_000_000 + 7_000_000);
            let measured = Timestamp::from_ns(received.as_ns() + ahead_s * 1_000_000_000 - 5_000_000);
            judge.metric(&metric("d", "DiskTemp", measured, 40.0), received);
        }
        assert_eq!(statements(&judge.take()), [("ok", "ok", 3)], "{ahead_s} s ahead");
    }
}
