//! Live judgement over days: decisions of operators, devices that are gone, faults that last.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use spindle_core::decision::{AcceptedFinding, Decision};
use spindle_core::judge::FleetJudge;
use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventId, EventType, Labels, MetricType, Timestamp};

/// A midnight.
const START_S: i64 = 1_700_006_400;
const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

fn minute(n: i64) -> Timestamp {
    Timestamp::from_seconds(START_S + 60 * n)
}

fn send(judge: &mut FleetJudge, device: &str, metric_type: &str, at: i64, value: f64) {
    let labels = Labels::from([("model".to_owned(), "M".to_owned()), ("serial".to_owned(), device.to_owned())]);
    let metric = DeviceMetric {
        timestamp: minute(at),
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new(metric_type).unwrap(),
        value,
        seq: None,
        labels: Some(Box::new(labels)),
    };
    judge.metric(&metric, minute(at));
}

/// Takes what the judge made, and gives it back to it, as EVENTS does.
fn turn(judge: &mut FleetJudge, at: i64) -> Vec<Event> {
    judge.advance(minute(at));
    let made = judge.take();
    made.iter().for_each(|event| judge.event(event, minute(at)));
    made
}

fn accept(judge: &mut FleetJudge, device: &str, (metric, value): (&str, Option<f64>), at: i64) {
    let accepts = Some(AcceptedFinding { metric: MetricType::new(metric).unwrap(), value });
    let (device, reason) = (DeviceName::new(device).unwrap(), "known".to_owned());
    let until = minute(at + 90 * DAY);
    let decision = Decision { device, accepts, reason, until, by: None };
    judge.event(&decision.into_event(EventId::new(&format!("accept {at}")).unwrap(), minute(at)), minute(at));
}

fn label<'a>(event: &'a Event, key: &str) -> &'a str {
    event.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str)
}

fn is_page(event: &Event) -> bool {
    event.criticality.level() >= 7
}

fn last_verdict(made: &[Event], device: &str) -> String {
    let of_device = |event: &&Event| &*event.event_type == "HealthChanged" && &*event.source_device == device;
    made.iter().rfind(of_device).map_or_else(String::new, |event| label(event, "to").to_owned())
}

#[test]
fn a_finding_that_gets_worse_than_accepted_calls_again() {
    let mut judge = FleetJudge::default();
    let mut made = Vec::new();
    for at in 0..6 * HOUR {
        let temperature = match at {
            ..60 => 40.0,
            60..240 => 70.0,
            _ => 75.0,
        };
        send(&mut judge, "disk", "DiskTemp", at, temperature);
        if at == 90 {
            accept(&mut judge, "disk", ("DiskTemp", Some(70.0)), at);
        }
        made.extend(turn(&mut judge, at));
    }
    let pages: Vec<String> =
        made.iter().filter(|event| is_page(event)).map(|event| event.timestamp.to_string()).collect();
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert_eq!(last_verdict(&made, "disk"), "critical");
}

#[test]
fn a_decision_that_is_not_understood_displaces_no_good_one() {
    let mut judge = FleetJudge::default();
    let mut made = Vec::new();
    for at in 0..6 * HOUR {
        send(&mut judge, "disk", "DiskTemp", at, 60.0);
        if at == 30 {
            accept(&mut judge, "disk", ("DiskTemp", Some(60.0)), at);
        }
        if at == 120 {
            let odd = Event {
                id: EventId::new("odd").unwrap(),
                criticality: Criticality::MIN,
                timestamp: minute(at),
                source_device: DeviceName::new("disk").unwrap(),
                event_type: EventType::new("FindingAccepted").unwrap(),
                event_message: None,
                seq: None,
                labels: Some(Box::new(Labels::from([("metric".to_owned(), "DiskTemp".to_owned())]))),
            };
            judge.event(&odd, minute(at));
        }
        made.extend(turn(&mut judge, at));
    }
    assert_eq!(last_verdict(&made, "disk"), "ok");
}

/// The events about it that come back are no sign of life.
#[test]
fn a_device_that_is_gone_is_forgotten() {
    let mut judge = FleetJudge::default();
    for at in 0..HOUR {
        send(&mut judge, "gone", "DiskTemp", at, 30.0);
        turn(&mut judge, at);
    }
    assert_eq!(judge.n_series(), 1);
    let mut last = 0;
    for at in (HOUR..70 * DAY).step_by(60) {
        send(&mut judge, "here", "DiskTemp", at, 30.0);
        let made = turn(&mut judge, at);
        if made.iter().any(|event| &*event.source_device == "gone") {
            last = at / DAY;
        }
    }
    assert_eq!(judge.n_series(), 1);
    assert!(last <= 32, "stated until day {last}");
}

/// Faults count for 30 days since their last event, so one that lasts must be stated again. It calls nobody then.
#[test]
fn a_prediction_that_lasts_stays_in_the_verdict() {
    let mut judge = FleetJudge::default();
    let mut made = Vec::new();
    for hour in 0..50 * 24 {
        let at = hour * HOUR;
        for drive in 0..40 {
            let device = format!("disk{drive:02}");
            let bad = if drive == 7 && hour >= 48 { 400.0 } else { 0.0 };
            for (metric_type, value) in
                [("smart_5_raw", bad), ("smart_197_raw", bad), ("smart_187_raw", bad), ("smart_194_raw", 30.0)]
            {
                send(&mut judge, &device, metric_type, at, value);
            }
        }
        made.extend(turn(&mut judge, at + 30));
    }
    let predicted: Vec<&Event> = made.iter().filter(|event| &*event.event_type == "FailurePredicted").collect();
    assert!(!predicted.is_empty());
    let newest = predicted.last().unwrap().timestamp;
    assert!(newest >= minute(50 * DAY).minus(Duration::from_secs(30 * 86_400)), "last said at {newest}");
    assert_eq!(predicted.iter().filter(|event| is_page(event)).count(), 1, "{predicted:?}");
}

#[test]
fn a_good_verdict_gives_no_finding_as_its_reason() {
    let mut judge = FleetJudge::default();
    let mut made = Vec::new();
    for at in 0..3 * HOUR {
        send(&mut judge, "disk", "DiskTemp", at, 60.0);
        if at == 30 {
            accept(&mut judge, "disk", ("DiskTemp", Some(60.0)), at);
        }
        made.extend(turn(&mut judge, at));
    }
    let changed: Vec<&Event> = made.iter().filter(|event| &*event.event_type == "HealthChanged").collect();
    let good = changed.iter().rfind(|event| label(event, "to") == "ok").unwrap();
    assert_eq!(label(good, "why"), "", "{good:?}");
}
