//! Verdicts over silence, limits and faults.

use super::*;
use crate::name::{DeviceName, EventType, MetricType};
use crate::wire::{Criticality, Event};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

fn latest(metric: &str, value: f64) -> LatestSample {
    LatestSample { metric_type: MetricType::new(metric).unwrap(), time: NOW, value }
}

fn event(event_type: &str, seconds_ago: u64) -> EventRecord {
    let timestamp = NOW.minus(Duration::from_secs(seconds_ago));
    let event = Event {
        id: uuid::Uuid::nil().into(),
        criticality: Criticality::MAX,
        timestamp,
        source_device: DeviceName::new("d").unwrap(),
        event_type: EventType::new(event_type).unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    };
    EventRecord { event, received: timestamp }
}

fn verdict(latest: &[LatestSample], events: &[EventRecord]) -> Verdict {
    verdict_with(latest, events, None)
}

fn verdict_with(latest: &[LatestSample], events: &[EventRecord], rhythm: Option<Duration>) -> Verdict {
    // Clocks agree: each value arrived when it was measured.
    let newest = latest.iter().map(|sample| sample.time).max();
    verdict_at(latest, events, rhythm, newest.map(|time| arrival(time, time)))
}

fn verdict_at(
    latest: &[LatestSample],
    events: &[EventRecord],
    rhythm: Option<Duration>,
    arrival: Option<Arrival>,
) -> Verdict {
    judge(&Evidence {
        window: window(),
        latest,
        earlier: &[],
        events,
        events_cut_off: false,
        last_seen: None,
        arrival,
        rhythm,
        decisions: &[],
    })
}

fn window() -> Window {
    Window::ending_at(NOW, Duration::from_secs(3600))
}

fn arrival(received: Timestamp, measured: Timestamp) -> Arrival {
    Arrival { received, measured }
}

fn minutes(n_minutes: u64) -> Duration {
    Duration::from_secs(60 * n_minutes)
}

fn old(metric: &str, value: f64, minutes: u64) -> LatestSample {
    LatestSample { time: NOW.minus(Duration::from_secs(60 * minutes)), ..latest(metric, value) }
}

#[test]
fn silence_is_never_ok() {
    let silent = verdict(&[], &[]);
    assert_eq!((silent.health, silent.score), (Health::Unknown, None));
    assert!(silent.reasons[0].why.contains("no data in the 60 minutes"));
    assert_eq!(verdict(&[], &[event("DriveFailure", 90_000)]).health, Health::Critical);
    let stale = verdict(&[old("DiskTemp", 40.0, 25), old("IOPs", 1.0, 30)], &[]);
    assert_eq!((stale.health, stale.score, stale.reasons.len()), (Health::Unknown, None, 1));
    let since = NOW.minus(Duration::from_secs(1500));
    assert_eq!((stale.reasons[0].metric.as_str(), stale.reasons[0].time), ("silence", Some(since)));
    assert_eq!(stale.reasons[0].why, format!("silent since {since}, 25 minutes"));
    // Earlier findings are still listed, but decide only if critical.
    let warm = verdict(&[old("DiskTemp", 58.0, 25)], &[]);
    assert_eq!((warm.health, warm.reasons.len()), (Health::Unknown, 2));
    let burnt = verdict(&[old("DiskTemp", 80.0, 25)], &[]);
    assert_eq!((burnt.health, burnt.reasons[1].metric.as_str()), (Health::Critical, "silence"));
}

#[test]
fn how_long_a_silence_is_allowed_depends_on_the_rhythm() {
    let after = |minutes: u64, rhythm_s: Option<u64>| {
        verdict_with(&[old("DiskTemp", 40.0, minutes)], &[], rhythm_s.map(Duration::from_secs)).health
    };
    assert_eq!((after(5, Some(2)), after(6, Some(2))), (Health::Ok, Health::Unknown));
    assert_eq!((after(20, Some(120)), after(21, Some(120))), (Health::Ok, Health::Unknown));
    assert_eq!((after(15, None), after(16, None)), (Health::Ok, Health::Unknown));
    let ask = |latest: &[LatestSample], age| {
        let received = NOW.minus(minutes(age));
        may_be_silent(latest, Some(arrival(received, received)), window()).cloned()
    };
    assert_eq!(ask(&[old("a", 1.0, 5), old("b", 1.0, 50)], 5), None);
    assert_eq!(ask(&[old("a", 1.0, 6), old("b", 1.0, 50)], 6), Some(old("a", 1.0, 6)));
    assert_eq!(may_be_silent(&[old("a", 1.0, 6)], None, window()), None);
}

#[test]
fn what_nobody_judges_is_no_ground_for_ok() {
    let strange = verdict(&[latest("Zing", 1.0), latest("Zong", 2.0)], &[]);
    assert_eq!((strange.health, strange.score), (Health::Unknown, None));
    assert!(strange.reasons[0].why.contains("nothing it sends is judged"), "{:?}", strange.reasons);
    assert_eq!(verdict(&[latest("Zing", 1.0)], &[event("FanFailure", 60)]).health, Health::Warning);
}

#[test]
fn limits_give_warning_and_critical_with_the_reason() {
    assert_eq!(verdict(&[latest("DiskTemp", 41.0), latest("Unheard", 1e9)], &[]).health, Health::Ok);
    let warm = verdict(&[latest("DiskTemp", 58.2)], &[]);
    assert_eq!((warm.health, warm.score), (Health::Warning, Some(75)));
    assert_eq!((warm.reasons[0].value, warm.reasons[0].limit), (Some(58.2), Some(55.0)));
    let worn = verdict(&[latest("DiskTemp", 58.2), latest("smart_5_raw", 4094.0)], &[]);
    assert_eq!((worn.health, worn.reasons[0].metric.as_str()), (Health::Critical, "smart_5_raw"));
}

#[test]
fn the_limits_of_a_temperature_are_those_of_the_device() {
    let judged = |values: &[(&str, f64)]| {
        let latest: Vec<_> = values.iter().map(|(metric, value)| latest(metric, *value)).collect();
        verdict(&latest, &[])
    };
    let health = |celsius: f64, stated: &[(&str, f64)]| judged(&[&[("DiskTemp", celsius)], stated].concat()).health;
    let (warning, critical) = ("DiskTempWarning", "DiskTempCritical");
    for (stated, from_warning, from_critical) in [
        (&[][..], 55.0, 65.0),
        (&[("IsFlash", 0.0)], 55.0, 65.0),
        (&[("IsFlash", 1.0)], 80.0, 90.0),
        (&[("IsFlash", 1.0), (warning, 70.0), (critical, 80.0)], 70.0, 80.0),
        (&[("IsFlash", 1.0), (warning, 70.0)], 70.0, 90.0),
        (&[(warning, 70.0)], 70.0, 75.0),
        (&[(critical, 68.0)], 55.0, 68.0),
        (&[(critical, 50.0)], 45.0, 50.0),
        // Nothing that a drive can mean.
        (&[(warning, 0.0), (critical, 127.0), ("IsFlash", 3.0)], 55.0, 65.0),
        (&[(warning, 80.0), (critical, 70.0)], 70.0, 70.0),
    ] {
        assert_eq!(health(from_warning - 0.5, stated), Health::Ok, "{stated:?}");
        assert_eq!(health(from_critical, stated), Health::Critical, "{stated:?}");
        if from_warning < from_critical {
            assert_eq!(health(from_warning, stated), Health::Warning, "{stated:?}");
            assert_eq!(health(from_critical - 0.5, stated), Health::Warning, "{stated:?}");
        }
    }
    let own = judged(&[("smart_194_raw", 66.0), (critical, 60.0)]);
    assert_eq!((own.reasons[0].limit, own.reasons.len()), (Some(60.0), 1));
    assert_eq!(own.reasons[0].why, "hotter than the drive itself allows: smart_194_raw is 66 °C, limit 60 °C");
    assert_eq!(judged(&[("Latency", 200.0), (warning, 90.0)]).health, Health::Warning, "no other metric");
    assert_eq!(judged(&[(warning, 70.0), (critical, 80.0)]).health, Health::Unknown, "a limit is no reading");
}

#[test]
fn what_is_not_understood_is_unknown_and_says_why() {
    for (metric, value) in [
        ("smart_5_raw", 65_535.0),
        ("smart_5_raw", 65_536.0),
        ("smart_197_raw", 70_000.0),
        ("smart_198_raw", 281_474_976_710_655.0),
        ("smart_194_raw", 330.0),
        ("DiskTemp", 150.0),
        ("DiskTemp", f64::NAN),
        ("CapacityUsed", -3.0),
    ] {
        let alone = verdict(&[latest(metric, value)], &[]);
        assert_eq!((alone.health, alone.score), (Health::Unknown, None), "{metric} {value}");
        let reason = &alone.reasons[0];
        assert_eq!((reason.metric.as_str(), reason.value), (metric, None));
        assert!(reason.why.starts_with(&format!("not understood: {metric} is ")), "{}", reason.why);
        assert_eq!(verdict(&[latest(metric, value), latest("Latency", 1.0)], &[]).health, Health::Unknown);
        let worse = verdict(&[latest(metric, value), latest("Latency", 200.0)], &[]);
        assert_eq!((worse.health, worse.reasons.len()), (Health::Warning, 2), "{metric} {value}");
        let failed = verdict(&[latest(metric, value)], &[event("DriveFailure", 600)]);
        assert_eq!(failed.health, Health::Critical, "{metric} {value}");
    }
}

#[test]
fn raw_values_are_judged_as_they_are_decoded() {
    let cool = verdict(&[latest("smart_194_raw", 8481.0), latest("smart_190_raw", 622_460_961.0)], &[]);
    assert_eq!((cool.health, cool.score), (Health::Ok, Some(100)));
    // 57 °C, between 13 and 61 °C.
    let warm = verdict(&[latest("smart_194_raw", f64::from(61 << 16 | 13 << 8) * 65_536.0 / 256.0 + 57.0)], &[]);
    assert_eq!(
        (warm.health, warm.reasons[0].value, warm.reasons[0].raw.is_some()),
        (Health::Warning, Some(57.0), true)
    );
    // All layouts of attribute 5 agree on at least 4,464 sectors.
    assert_eq!(verdict(&[latest("smart_5_raw", 70_000.0)], &[]).health, Health::Critical);
    // No reading is neither good nor bad.
    assert_eq!(verdict(&[latest("smart_194_raw", 0.0)], &[]).health, Health::Unknown);
    assert_eq!(verdict(&[latest("smart_194_raw", 255.0), latest("smart_5_raw", 0.0)], &[]).health, Health::Ok);
}

#[test]
fn only_a_judged_value_makes_a_device_ok() {
    for metrics in [&[latest("IOPs", 1.0)][..], &[latest("Zing", 1.0), latest("PowerOnHours", 5.0)]] {
        let verdict = verdict(metrics, &[]);
        assert_eq!((verdict.health, verdict.score), (Health::Unknown, None));
        assert!(verdict.reasons[0].why.contains("nothing it sends is judged"), "{:?}", verdict.reasons);
    }
    assert_eq!(verdict(&[latest("IOPs", 1.0), latest("DiskTemp", 40.0)], &[]).health, Health::Ok);
}

#[test]
fn cut_off_events_are_not_read_as_none() {
    let latest = [latest("DiskTemp", 40.0)];
    let cut = |events: &[EventRecord]| {
        let arrival = Some(arrival(NOW, NOW));
        let window = window();
        judge(&Evidence {
            window,
            latest: &latest,
            earlier: &[],
            events,
            events_cut_off: true,
            last_seen: None,
            arrival,
            rhythm: None,
            decisions: &[],
        })
    };
    assert_eq!((cut(&[]).health, cut(&[]).reasons[0].metric.as_str()), (Health::Unknown, "events"));
    assert_eq!(cut(&[event("FanFailure", 60)]).health, Health::Warning);
    assert_eq!(cut(&[event("DriveFailure", 60)]).health, Health::Critical);
    let at = |seconds_ahead: u64, received_ago: u64| {
        let mut record = event("DriveFailure", 0);
        record.event.timestamp = NOW.plus(Duration::from_secs(seconds_ahead));
        record.received = NOW.minus(Duration::from_secs(received_ago));
        record
    };
    assert!(!may_hide_newer(&[event("DriveFailure", 5), event("DriveFailure", 9)]));
    assert!(may_hide_newer(&[at(900, 100), at(800, 200)]));
    assert!(!may_hide_newer(&[]));
}

#[test]
fn an_event_of_any_type_that_calls_a_person_is_a_warning() {
    let fine = [latest("DiskTemp", 40.0)];
    let mut record = event("ControllerLost", 60);
    assert_eq!(verdict(&fine, std::slice::from_ref(&record)).health, Health::Warning);
    assert_eq!(verdict(&fine, &[event("ControllerLost", 3700)]).health, Health::Ok, "before the window");
    record.event.criticality = Criticality::new(u64::from(PAGING_CRITICALITY) - 1).unwrap();
    assert_eq!(verdict(&fine, &[record]).health, Health::Ok);
    assert_eq!(verdict(&fine, &[event("DriveReplaced", 60)]).health, Health::Ok, "good news");
}

/// A year ahead and dead since yesterday; an hour behind and alive.
#[test]
fn silence_is_judged_by_arrival() {
    let year = minutes(365 * 24 * 60);
    let dead = arrival(NOW.minus(minutes(24 * 60)), NOW.minus(minutes(24 * 60)).plus(year));
    let stamped = |time| LatestSample { time, ..latest("DiskTemp", 40.0) };
    let found = verdict_at(&[stamped(NOW)], &[], None, Some(dead));
    assert_eq!((found.health, found.reasons[0].metric.as_str()), (Health::Unknown, "silence"));
    assert!(found.reasons[0].why.contains("by its own clock"), "{}", found.reasons[0].why);

    let behind = arrival(NOW, NOW.minus(minutes(60)));
    assert_eq!(verdict_at(&[stamped(behind.measured)], &[], None, Some(behind)).health, Health::Ok);
    let ahead = arrival(NOW, NOW.plus(year));
    assert_eq!(verdict_at(&[stamped(ahead.measured)], &[], None, Some(ahead)).health, Health::Ok);
    assert!(clock_disagrees(behind) && clock_disagrees(ahead) && !clock_disagrees(arrival(NOW, NOW)));
}

#[test]
fn a_recording_that_arrives_now_is_not_current() {
    let replayed = arrival(NOW, NOW.minus(minutes(60 * 24 * 365)));
    let found = verdict_at(&[], &[], None, Some(replayed));
    assert_eq!((found.health, found.score, found.reasons[0].metric.as_str()), (Health::Unknown, None, "clock"));
    assert!(found.reasons[0].why.contains("not current"), "{}", found.reasons[0].why);
    assert_eq!(verdict_at(&[], &[], None, None).reasons[0].metric, "silence");
}

#[test]
fn the_window_follows_the_clock_of_the_sender() {
    let check = |measured: Timestamp, from: Timestamp, until: Timestamp| {
        assert_eq!(current_window(window(), Some(arrival(NOW, measured))), Window { from, until });
    };
    let Window { from, until } = window();
    assert_eq!(current_window(window(), None), window());
    check(NOW.plus(minutes(5)), from, until);
    check(NOW.minus(minutes(5)), from, until);
    check(NOW.plus(minutes(6)), from.plus(minutes(6)), until.plus(minutes(6)));
    check(NOW.minus(minutes(60)), from.minus(minutes(60)), until);
    check(NOW.minus(MAX_CLOCK_LAG), from.minus(MAX_CLOCK_LAG), until);
    check(NOW.minus(minutes(24 * 60 + 1)), from, until);
}

/// A clock that is ahead must not hide what happened later.
#[test]
fn an_event_that_arrives_now_counts_though_the_clock_is_behind() {
    let fine = [latest("DiskTemp", 40.0)];
    for event_type in ["Overheat", "DataCorruption"] {
        let mut record = event(event_type, 30);
        record.event.timestamp = NOW.minus(Duration::from_secs(7_200));
        assert_eq!(verdict(&fine, &[record]).health, Health::Warning, "{event_type}");
    }
}

#[test]
fn events_are_ordered_by_arrival_where_a_clock_is_ahead() {
    let fine = [latest("DiskTemp", 40.0)];
    let stamped = |event_type: &str, ahead: u64, received_ago: u64| {
        let mut record = event(event_type, received_ago);
        record.event.timestamp = NOW.plus(Duration::from_secs(ahead));
        record
    };
    let failed = stamped("DriveFailure", 1_000_000, 600);
    assert_eq!(verdict(&fine, std::slice::from_ref(&failed)).health, Health::Critical);
    assert_eq!(verdict(&fine, &[failed.clone(), event("DriveReplaced", 60)]).health, Health::Ok);
    assert_eq!(
        verdict(&fine, &[failed, event("DriveReplaced", 60), event("DriveFailure", 30)]).health,
        Health::Critical
    );
    assert_eq!(verdict(&fine, &[event("DriveFailure", 31 * 86_400)]).health, Health::Ok, "too old to count");
}

#[test]
fn a_fault_counts_until_it_is_resolved() {
    let fine = [latest("DiskTemp", 40.0)];
    assert_eq!(verdict(&fine, &[event("DriveFailure", 600)]).health, Health::Critical);
    assert_eq!(verdict(&fine, &[event("DriveFailure", 600), event("DriveReplaced", 60)]).health, Health::Ok);
    assert_eq!(verdict(&fine, &[event("DataCorruption", 600)]).health, Health::Warning);
    assert_eq!(verdict(&fine, &[event("DataCorruption", 6000)]).health, Health::Ok);
}

#[test]
fn a_finding_against_a_device_has_an_advice() {
    let found = verdict(&[latest("DiskTemp", 60.0)], &[event("DriveFailure", 600)]);
    let advice: Vec<_> = found.reasons.iter().map(|reason| reason.advice.as_deref()).collect();
    let expected =
        ["Replace the drive and rebuild the array.", "Check fans, filters and air flow at the place of the drive."];
    assert_eq!(advice, expected.map(Some), "{:?}", found.reasons);
}

#[test]
fn what_a_drive_says_of_itself_counts_until_it_is_over() {
    let fine = [latest("smart_failed", 0.0)];
    let check = |events: &[EventRecord]| verdict(&fine, events).health;
    assert_eq!(check(&[]), Health::Ok);
    assert_eq!(verdict(&[latest("smart_failed", 1.0)], &[]).health, Health::Critical);
    assert_eq!(check(&[event("SmartFailed", 600)]), Health::Critical);
    assert_eq!(check(&[event("SelfTestFailed", 600)]), Health::Warning);
    for closing in ["SmartRecovered", "DriveReplaced"] {
        assert_eq!(check(&[event("SmartFailed", 600), event(closing, 60)]), Health::Ok, "{closing}");
        assert_eq!(check(&[event(closing, 600), event("SmartFailed", 60)]), Health::Critical, "{closing}");
    }
    assert_eq!(check(&[event("SelfTestFailed", 600), event("SelfTestPassed", 60)]), Health::Ok);
}

#[test]
fn an_event_that_calls_is_since_the_first_of_its_kind() {
    let events = [event("SlowReads", 60), event("SlowReads", 600), event("SlowReads", 300)];
    let found = verdict(&[latest("DiskTemp", 40.0)], &events);
    assert_eq!((found.reasons.len(), found.reasons[0].time), (1, Some(NOW.minus(minutes(1)))));
    assert_eq!(found.reasons[0].since, Some(NOW.minus(minutes(10))));
}
