//! Pages: each cause calls a person once, and none hides another.

use super::*;

/// Feeds minutes of one device: temperature and further values by `values`; the judge gets its own events back.
fn play(
    judge: &mut FleetJudge,
    minutes: std::ops::Range<i64>,
    values: impl Fn(i64) -> Vec<(&'static str, f64)>,
) -> Vec<Event> {
    let mut made = Vec::new();
    for i in minutes {
        for (metric_type, value) in values(i) {
            send(judge, "d", metric_type, minute(i), value);
        }
        let said = judge.take();
        said.iter().for_each(|event| judge.event(event, minute(i)));
        made.extend(said);
    }
    made
}

fn pages(events: &[Event]) -> Vec<(&str, &str)> {
    let pages = events.iter().filter(|event| event.criticality.calls());
    pages.map(|event| (event.event_type.as_str(), label(event, "why"))).collect()
}

#[test]
fn flash_is_judged_by_its_own_limits() {
    let flash = |celsius: f64| move |_| vec![("DiskTemp", celsius), ("IsFlash", 1.0)];
    assert_eq!(pages(&play(&mut FleetJudge::default(), 0..90, flash(66.0))), []);
    assert_eq!(pages(&play(&mut FleetJudge::default(), 0..90, flash(91.0))), [("HealthChanged", "DiskTemp")]);
    let cool = |i: i64| {
        vec![("DiskTemp", if i < 40 { 40.0 } else { 47.0 }), ("DiskTempWarning", 44.0), ("DiskTempCritical", 46.0)]
    };
    assert_eq!(pages(&play(&mut FleetJudge::default(), 0..90, cool)), [("HealthChanged", "DiskTemp")]);
}

/// A limit that is stated later, or no longer, changes the verdict without a new temperature.
#[test]
fn a_limit_that_changes_judges_again() {
    let late = |i: i64| {
        let limit = (i >= 40).then_some(("DiskTempCritical", 46.0));
        [Some(("DiskTemp", 47.0)), limit].into_iter().flatten().collect()
    };
    assert_eq!(pages(&play(&mut FleetJudge::default(), 0..90, late)), [("HealthChanged", "DiskTemp")]);
    let ended = |i: i64| {
        let flash = (i < 40).then_some(("IsFlash", 1.0));
        [Some(("DiskTemp", 66.0)), flash].into_iter().flatten().collect()
    };
    assert_eq!(pages(&play(&mut FleetJudge::default(), 0..120, ended)), [("HealthChanged", "DiskTemp")]);
}

/// Events keep their own severity; what they say counts as a page of the device.
#[test]
fn a_page_of_a_verdict_stands_for_what_follows() {
    let mut judge = FleetJudge::default();
    play(&mut judge, 0..60, |i| vec![("DiskTemp", if i < 30 { 40.0 } else { 70.0 })]);
    assert!(judge.devices.at(0).pages.stands(minute(60)));
    assert!(judge.devices.at(0).pages.stands_for_slowness(minute(60)));
    assert!(!judge.devices.at(0).pages.stands(minute(60 + 24 * 60)));
}

#[test]
fn an_old_counter_hides_no_heat() {
    let mut judge = FleetJudge::default();
    let values =
        |i: i64| vec![("smart_5_raw", 5_000.0), ("DiskTemp", if (60..120).contains(&i) { 70.0 } else { 40.0 })];
    let events = play(&mut judge, 0..180, values);
    let critical =
        of_type(&events, events::HEALTH_CHANGED).into_iter().filter(|event| label(event, "to") == "critical");
    let heat: Vec<_> = critical.filter(|event| event.criticality.calls()).collect();
    assert_eq!(heat.len(), 1, "{events:?}");
    assert_eq!((label(heat[0], "from"), label(heat[0], "why")), ("critical", "DiskTemp"));
    assert!((minute(60)..minute(62)).contains(&heat[0].timestamp));
}

#[test]
fn heat_that_lasts_is_one_page_and_the_next_drive_has_its_own() {
    let mut judge = FleetJudge::default();
    let hot = |_| vec![("DiskTemp", 70.0)];
    let mut events = play(&mut judge, 0..600, hot);
    assert_eq!(pages(&events).len(), 1, "{:?}", pages(&events));
    events = play(&mut judge, 600..601, |_| vec![("DiskTemp", 40.0)]);
    judge.event(&event("d", "DriveReplaced", minute(601), 2), minute(601));
    events.extend(play(&mut judge, 602..620, |_| vec![("DiskTemp", 40.0)]));
    events.extend(play(&mut judge, 620..640, hot));
    assert_eq!(pages(&events).len(), 1, "{:?}", pages(&events));
}

#[test]
fn values_of_a_replaced_drive_are_not_those_of_the_next() {
    let mut judge = FleetJudge::default();
    let values = |_| vec![("smart_5_raw", 5_000.0), ("smart_197_raw", 900.0), ("DiskTemp", 70.0)];
    play(&mut judge, 0..30, values);
    judge.event(&event("d", "DriveReplaced", minute(30), 2), minute(30));
    let events = play(&mut judge, 31..60, |_| vec![("IOPs", 10.0), ("DiskTemp", 40.0)]);
    let newest = |judge: &mut FleetJudge, place: usize| judge.devices.at(0).series[place].newest.clone();
    let names: Vec<String> = judge.devices.at(0).series.iter().map(|series| series.metric_type.to_string()).collect();
    let of_old = names.iter().position(|name| name == "smart_5_raw").unwrap();
    assert!(newest(&mut judge, of_old).is_none());
    assert_eq!(pages(&events), []);
    let verdict = device::verdicts::judge(judge.devices.at(0), minute(60));
    assert_eq!(verdict.health, crate::health::Health::Ok, "{verdict:?}");
    let watch = judge.devices.at(0).drive.clone();
    // Told once more, as after a restart of the sender, it is no news.
    judge
        .event(&Event { id: EventId::new("again").unwrap(), ..event("d", "DriveReplaced", minute(30), 2) }, minute(60));
    assert_eq!(judge.devices.at(0).drive, watch);
}

#[test]
fn only_an_acceptance_that_is_understood_forgets_a_page() {
    let mut judge = FleetJudge::default();
    play(&mut judge, 0..30, |_| vec![("DiskTemp", 70.0)]);
    let accept = |until: &str, at: i64| {
        let labels = [("metric", "DiskTemp"), ("value", "70"), ("until", until)];
        let labels: Labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Event { labels: Some(Box::new(labels)), ..event("d", "FindingAccepted", minute(at), 1) }
    };
    let has_paged = |judge: &mut FleetJudge| judge.devices.at(0).pages.stands(minute(40));
    judge.event(&accept("soon", 31), minute(31));
    assert!(has_paged(&mut judge));
    judge.event(&accept("2100-01-01T00:00:00Z", 32), minute(32));
    assert!(!has_paged(&mut judge));
}

/// A recording of a week ago, with heat, slowness and a failing drive.
#[test]
fn a_recording_calls_nobody() {
    let mut judge = FleetJudge::default();
    let week = Duration::from_secs(7 * 86_400);
    for i in 0..700 {
        for disk in 0..8 {
            let name = format!("disk{disk}");
            let is_bad = disk == 0 && i >= 400;
            for (metric_type, value) in [
                ("Latency", (5.0 + 0.1 * noise(10 * i + disk)) * if is_bad { 4.0 } else { 1.0 }),
                ("IOPs", 100.0),
                ("DiskTemp", if is_bad { 70.0 } else { 40.0 }),
                ("smart_5_raw", if is_bad { 5_000.0 } else { 0.0 }),
                ("smart_failed", if is_bad { 1.0 } else { 0.0 }),
            ] {
                let metric = labelled(metric(&name, metric_type, minute(i), value), &[("enclosure", "shelf")]);
                judge.metric(&metric, minute(i).plus(week));
            }
        }
    }
    judge.advance(minute(800).plus(week));
    let events = judge.take();
    let findings: Vec<_> = events.iter().filter(|event| &*event.event_type != events::HEALTH_CHANGED).collect();
    assert_eq!((n_pages(&events), findings.len()), (0, 0), "{findings:?}");
}

/// Of 512 series 256 are kept; the values of the others are counted.
#[test]
fn a_value_beyond_the_room_of_its_device_is_counted() {
    let mut judge = FleetJudge::default();
    for i in 0..300 {
        send(&mut judge, "d", &format!("Vendor{i}"), minute(0), 1.0);
    }
    assert_eq!(judge.n_left_out(), 44);
}
