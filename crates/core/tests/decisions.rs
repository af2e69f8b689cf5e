//! Accepted findings and acknowledgments in verdicts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use spindle_core::decision::{AcceptedFinding, Decision, accepted, acknowledged, not_understood};
use spindle_core::health::{Evidence, Health, Verdict, judge};
use spindle_core::records::{Arrival, EventRecord, LatestSample, Window};
use spindle_core::{DeviceName, EventId, EventType, MetricType, Timestamp};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn decision(metric: Option<(&str, Option<f64>)>, days_ago: u32, holds: Duration) -> EventRecord {
    let at = NOW.minus(DAY * days_ago);
    let accepts = metric.map(|(name, value)| AcceptedFinding { metric: MetricType::new(name).unwrap(), value });
    let device = DeviceName::new("d").unwrap();
    let by = Some("anna".to_owned());
    let decision = Decision { device, accepts, reason: "known".to_owned(), until: at.plus(holds), by };
    EventRecord { event: decision.into_event(EventId::new("1").unwrap(), at), received: at }
}

fn verdict(values: &[(&str, f64)], decisions: &[EventRecord]) -> Verdict {
    let sample = |(name, value): &(&str, f64)| LatestSample {
        metric_type: MetricType::new(name).unwrap(),
        time: NOW.minus(Duration::from_secs(1)),
        value: *value,
    };
    judge(&Evidence {
        window: Window::ending_at(NOW, Duration::from_secs(3600)),
        latest: &values.iter().map(sample).collect::<Vec<_>>(),
        earlier: &[],
        events: &[],
        events_cut_off: false,
        last_seen: None,
        arrival: Some(Arrival { received: NOW, measured: NOW }),
        rhythm: None,
        decisions,
    })
}

#[test]
fn the_rest_of_a_verdict_stays() {
    let accepted = [decision(Some(("smart_5_raw", Some(60.0))), 100, DAY * 300)];
    let hot = verdict(&[("smart_5_raw", 60.0), ("DiskTemp", 70.0)], &accepted);
    assert_eq!((hot.health, hot.score), (Health::Critical, Some(39)));
    assert_eq!(hot.reasons.iter().map(|reason| reason.accepted.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(verdict(&[("smart_5_raw", 60.0)], &accepted).health, Health::Ok);
    assert_eq!(verdict(&[("smart_5_raw", 59.0)], &accepted).health, Health::Ok);
    assert_eq!(verdict(&[("smart_5_raw", 60.5)], &accepted).health, Health::Warning);
    assert_eq!(verdict(&[("smart_5_raw", 5_000.0)], &accepted).health, Health::Critical);
    assert_eq!(verdict(&[("smart_197_raw", 60.0)], &accepted).health, Health::Warning, "another metric");
}

#[test]
fn the_newest_decision_counts_while_it_holds() {
    let health = |decisions: &[EventRecord]| verdict(&[("smart_5_raw", 60.0)], decisions).health;
    let accept = |days_ago, holds| decision(Some(("smart_5_raw", Some(60.0))), days_ago, holds);
    assert_eq!(health(&[accept(3, DAY * 2)]), Health::Warning, "over");
    assert_eq!(health(&[accept(3, DAY * 2), accept(2, DAY * 9)]), Health::Ok);
    assert_eq!(health(&[accept(2, DAY * 9), accept(1, Duration::ZERO)]), Health::Warning, "revoked");
    assert_eq!(health(&[accept(1, Duration::ZERO), accept(2, DAY * 9)]), Health::Warning, "in any order");
    assert_eq!(health(&[accept(400, DAY * 9_000)]), Health::Warning, "longer than any decision");
}

#[test]
fn a_decision_that_is_not_understood_decides_nothing() {
    for (label, text) in [("value", "many"), ("value", "NaN"), ("value", "inf"), ("until", "soon"), ("metric", "")] {
        let mut odd = decision(Some(("smart_5_raw", Some(60.0))), 1, DAY * 9);
        odd.event.labels.as_mut().unwrap().insert(label.to_owned(), text.to_owned());
        assert_eq!(verdict(&[("smart_5_raw", 60.0)], &[odd]).health, Health::Warning, "{label}={text}");
    }
    let mut bare = decision(Some(("smart_5_raw", Some(60.0))), 1, DAY * 9);
    bare.event.labels = None;
    assert_eq!(verdict(&[("smart_5_raw", 60.0)], &[bare]).health, Health::Warning);
}

/// Nobody gets an answer to a published event, so the verdict lists the ones that it ignores.
#[test]
fn a_decision_that_is_not_understood_is_listed_and_revokes_nothing() {
    let good = decision(Some(("smart_5_raw", Some(60.0))), 2, DAY * 9);
    let with = |label: &str, text: Option<&str>, days_ago: u32| {
        let mut odd = decision(Some(("smart_5_raw", Some(60.0))), days_ago, DAY * 9);
        let labels = odd.event.labels.as_mut().unwrap();
        labels.remove(label);
        labels.extend(text.map(|text| (label.to_owned(), text.to_owned())));
        odd
    };
    for (label, text, why) in [
        ("until", None, "label 'until' is missing: expected a time"),
        ("until", Some("soon"), "label 'until' is 'soon': expected a time"),
        ("metric", None, "label 'metric' is missing: expected the name"),
        ("metric", Some(""), "label 'metric' is missing"),
        ("value", Some("sixty"), "label 'value' is 'sixty': expected a number"),
    ] {
        let decisions = [good.clone(), with(label, text, 1)];
        assert_eq!(verdict(&[("smart_5_raw", 60.0)], &decisions).health, Health::Ok, "{label}={text:?}");
        let listed = not_understood(&decisions, NOW);
        assert!(listed.len() == 1 && listed[0].why.starts_with(why), "{listed:?}");
        assert_eq!(listed[0].time, NOW.minus(DAY));
    }
    assert_eq!(not_understood(&[good, with("until", None, 8)], NOW), [], "a week is enough");
    let many: Vec<_> = (0..50).map(|_| with("until", None, 1)).collect();
    assert!(not_understood(&many, NOW).len() <= 10);
}

#[test]
fn acceptances_are_listed_though_their_finding_is_gone() {
    let decisions = [
        decision(Some(("smart_5_raw", Some(60.0))), 3, DAY * 9),
        decision(Some(("FanFailure", None)), 2, DAY * 9),
        decision(Some(("DiskTemp", Some(60.0))), 2, DAY * 9),
        decision(Some(("DiskTemp", Some(60.0))), 1, Duration::ZERO),
        decision(None, 1, DAY * 5),
    ];
    let listed = accepted(&decisions, NOW);
    let names: Vec<_> = listed.iter().map(|one| (one.metric.as_str(), one.decision.value)).collect();
    assert_eq!(names, [("FanFailure", None), ("smart_5_raw", Some(60.0))]);
    assert_eq!(accepted(&decisions, NOW.plus(DAY * 8)), []);
}

/// A decision holds from its arrival on, though the clock of the operator's machine is ahead; and so does a revocation.
#[test]
fn a_clock_that_is_ahead_delays_no_decision() {
    let ahead = |days_ago: u32, holds: Duration| {
        let mut record = decision(Some(("smart_5_raw", Some(60.0))), days_ago, holds + Duration::from_secs(3600));
        record.event.timestamp = record.event.timestamp.plus(Duration::from_secs(3600));
        record
    };
    let health = |decisions: &[EventRecord]| verdict(&[("smart_5_raw", 60.0)], decisions).health;
    assert_eq!(health(&[ahead(0, DAY)]), Health::Ok);
    assert_eq!(health(&[ahead(1, DAY * 9), ahead(0, Duration::ZERO)]), Health::Warning);
}

/// A value that is not understood may be accepted as it is.
#[test]
fn a_raw_value_is_accepted_as_stored() {
    let accepted = [decision(Some(("smart_5_raw", Some(65_535.0))), 1, DAY * 9)];
    let values = [("smart_5_raw", 65_535.0), ("DiskTemp", 30.0)];
    assert_eq!(verdict(&values, &[]).health, Health::Unknown);
    assert_eq!(verdict(&values, &accepted).health, Health::Ok);
}

#[test]
fn an_acknowledgment_ends() {
    let known = [decision(None, 3, DAY * 5), decision(Some(("smart_5_raw", None)), 1, DAY * 5)];
    let found = acknowledged(&known, NOW).unwrap();
    assert_eq!((found.since, found.until), (NOW.minus(DAY * 3), NOW.plus(DAY * 2)));
    assert_eq!((found.reason.as_deref(), found.by.as_deref()), (Some("known"), Some("anna")));
    assert_eq!(acknowledged(&known, NOW.plus(DAY * 2)), None);
    assert_eq!(verdict(&[("smart_5_raw", 60.0)], &known[..1]).health, Health::Warning);
}

/// What arrives after the decision counts, whatever its sender's clock says.
#[test]
fn an_event_that_arrives_later_counts_again() {
    let accepted = [decision(Some(("FanFailure", None)), 1, DAY * 9)];
    let fault = |happened_days_ago: u32, received_days_ago: u32| {
        let mut record = decision(None, happened_days_ago, DAY);
        record.event.event_type = EventType::new("FanFailure").unwrap();
        record.received = NOW.minus(DAY * received_days_ago);
        record
    };
    let health = |events: &[EventRecord]| {
        judge(&Evidence {
            window: Window::ending_at(NOW, Duration::from_secs(3600)),
            latest: &[LatestSample {
                metric_type: MetricType::new("DiskTemp").unwrap(),
                time: NOW.minus(Duration::from_secs(1)),
                value: 30.0,
            }],
            earlier: &[],
            events,
            events_cut_off: false,
            last_seen: None,
            arrival: Some(Arrival { received: NOW, measured: NOW }),
            rhythm: None,
            decisions: &accepted,
        })
        .health
    };
    assert_eq!(health(&[fault(2, 2)]), Health::Ok);
    let at_once = |happened_days_ago| {
        let mut record = fault(happened_days_ago, 1);
        record.event.timestamp = record.event.timestamp.plus(Duration::from_secs(3600));
        record
    };
    assert_eq!(health(&[at_once(2)]), Health::Ok, "stored in one batch, before");
    assert_eq!(health(&[at_once(1)]), Health::Warning, "stored in one batch, after");
    assert_eq!(health(&[fault(3, 0)]), Health::Warning, "a clock that is behind");
    assert_eq!(health(&[fault(2, 2), fault(3, 0)]), Health::Warning, "late, and older than the accepted one");
}
