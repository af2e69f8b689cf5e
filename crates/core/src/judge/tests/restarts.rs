//! A detector whose state was lost reads back what it has said, and a first one stays quiet.

use super::*;

fn found(device: &str, event_type: &str, at: i64, criticality: u64, labels: &[(&str, &str)]) -> Event {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Event { labels: Some(Box::new(labels)), ..event(device, event_type, minute(at), criticality) }
}

/// Sends a minute of eight drives, of which the first is `factor` times as slow.
fn shelf(judge: &mut FleetJudge, i: i64, factor: f64) {
    for disk in 0..8 {
        let factor = if disk == 0 { factor } else { 1.0 };
        let name = format!("disk{disk}");
        for (metric_type, value) in [("Latency", factor * (5.0 + 0.5 * noise(10 * i + disk))), ("IOPs", 100.0)] {
            judge.metric(&labelled(metric(&name, metric_type, minute(i), value), &[("enclosure", "shelf")]), minute(i));
        }
    }
}

#[test]
fn slowness_that_was_found_before_ends_only_once_it_is_known_to_be_over() {
    for (factor, n_ended) in [(2.0, 0), (1.0, 1)] {
        let mut judge = FleetJudge::default();
        let raised = found("disk0", "LatencyRaised", 0, 7, &[("expected", "5"), ("value", "10.4")]);
        judge.event(&raised, minute(0));
        judge.event(&found("disk0", "DeviceSlow", 0, 7, &[]), minute(0));
        let mut events = Vec::new();
        for i in 1..400 {
            shelf(&mut judge, i, factor);
            events.extend(judge.take());
        }
        for (event_type, first) in [("DeviceSlowEnded", 180), ("LatencyRaisedEnded", 9)] {
            let ended = of_type(&events, event_type);
            assert_eq!(ended.len(), n_ended, "{factor}: {ended:?}");
            assert!(ended.iter().all(|event| event.timestamp >= minute(first)), "{ended:?}");
        }
        assert_eq!(n_pages(&events), 0, "{events:?}");
    }
}

#[test]
fn a_note_of_an_earlier_run_is_no_page() {
    let mut judge = FleetJudge::default();
    let notes = [
        found("d", "AnomaliesAgree", 0, 6, &[("families", "latency,temperature")]),
        found("d", "FailurePredicted", 0, 6, &[]),
        found("d", "LatencyRaised", 0, 6, &[("expected", "5")]),
        found("d", "HealthChanged", 0, 3, &[("to", "critical"), ("why", "smart_5_raw")]),
    ];
    notes.iter().for_each(|note| judge.event(note, minute(0)));
    let stands = |judge: &mut FleetJudge, at: i64| judge.devices.at(0).pages.stands(minute(at));
    assert!(!stands(&mut judge, 1));
    judge.event(&found("d", "FailurePredicted", 2, 8, &[]), minute(2));
    assert!(stands(&mut judge, 3));
    assert!(judge.devices.at(0).pages.has("FailurePredicted", Duration::from_secs(86_400), minute(3)));
}

/// What was open before the first start ends after the quiet time, and is stated again after it.
#[test]
fn nothing_is_said_while_the_judge_is_quiet() {
    let quiet_until = minute(6 * 1_440);
    let mut judge = FleetJudge::default();
    judge.stay_quiet_until(quiet_until);
    let old = minute(-14 * 1_440);
    for (device, event_type) in [
        ("disk0", "DeviceSlow"),
        ("disk1", "AnomaliesAgree"),
        ("disk2", "LatencyRaised"),
        ("disk3", "FailurePredicted"),
    ] {
        let known =
            Event { timestamp: old, ..found(device, event_type, 0, 7, &[("families", "latency"), ("expected", "5")]) };
        judge.event(&known, minute(0));
    }
    let mut events = Vec::new();
    for i in (1..8 * 1_440).step_by(3) {
        shelf(&mut judge, i, 1.0);
        events.extend(judge.take());
    }
    let early: Vec<_> = events.iter().filter(|event| event.timestamp < quiet_until).collect();
    assert_eq!(early.len(), 0, "{early:?}");
    for event_type in ["DeviceSlowEnded", "AnomaliesEnded", "LatencyRaisedEnded"] {
        assert_eq!(of_type(&events, event_type).len(), 1, "{event_type}: {events:?}");
    }
}

/// Sends an hour of forty drives; the eighth has `bad` sectors.
fn poll(judge: &mut FleetJudge, hour: i64, bad: f64) {
    let at = minute(60 * hour);
    for drive in 0..40 {
        let device = format!("disk{drive:02}");
        let sectors = if drive == 7 { bad } else { 0.0 };
        let labels = [("model", "M"), ("serial", device.as_str())];
        for metric_type in ["smart_5_raw", "smart_197_raw", "smart_187_raw"] {
            judge.metric(&labelled(metric(&device, metric_type, at, sectors), &labels), at);
        }
    }
}

/// While it is quiet, a verdict that waits is not looked at every ten seconds.
#[test]
fn a_verdict_that_must_wait_costs_no_looks() {
    let mut judge = FleetJudge::default();
    judge.stay_quiet_until(minute(60 * 60));
    (0..50).for_each(|hour| poll(&mut judge, hour, 400.0));
    let due = judge.devices.find(&name("disk07")).unwrap().due;
    assert!(due >= minute(60 * 49), "{due}");
    judge.event(&event("disk07", "DriveFailure", minute(60 * 49 + 1), 9), minute(60 * 49 + 1));
    judge.advance(minute(60 * 50));
    let due = judge.devices.find(&name("disk07")).unwrap().due;
    assert!(due > minute(60 * 50), "{due}");
}

#[test]
fn a_risk_said_again_lowers_no_prediction() {
    let mut judge = FleetJudge::default();
    let mut events = Vec::new();
    for hour in 0..40 * 24 {
        poll(
            &mut judge,
            hour,
            if hour < 48 {
                0.0
            } else if hour < 72 {
                3.0
            } else {
                400.0
            },
        );
        let said = judge.take();
        said.iter().for_each(|event| judge.event(event, minute(60 * hour)));
        events.extend(said);
    }
    let of_drive = |event_type: &str| of_type(&events, event_type).len();
    assert_eq!(
        (of_drive(events::FAILURE_RISK_RAISED), of_drive(events::FAILURE_PREDICTION_ENDED)),
        (1, 0),
        "{events:?}"
    );
    assert_eq!(n_pages(&events), 1);
    assert!(of_drive(events::FAILURE_PREDICTED) >= 4, "stated weekly");
}

#[test]
fn a_risk_follows_the_end_of_a_prediction_at_once() {
    let mut judge = FleetJudge::default();
    let mut events = Vec::new();
    for hour in 0..300 {
        poll(
            &mut judge,
            hour,
            if hour < 48 {
                0.0
            } else if hour < 60 {
                400.0
            } else {
                5.0
            },
        );
        events.extend(judge.take());
    }
    let ended = of_type(&events, events::FAILURE_PREDICTION_ENDED);
    let raised = of_type(&events, events::FAILURE_RISK_RAISED);
    let raised = raised.iter().find(|event| ended.first().is_some_and(|ended| event.timestamp > ended.timestamp));
    let (Some(ended), Some(raised)) = (ended.first(), raised) else { panic!("{events:?}") };
    assert!(raised.timestamp <= ended.timestamp.plus(Duration::from_secs(10)), "{ended:?} {raised:?}");
}
