//! Reasons of verdicts: what is expected, the trend, since when, and what changes no verdict but is shown.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::time::Duration;

use spindle_core::health::{self, Evidence, Health, HealthSegment, Verdict, judge, segments};
use spindle_core::records::{Arrival, EventRecord, LatestSample, Window};
use spindle_core::{Criticality, DeviceName, Event, EventType, Labels, MetricType, Timestamp};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);
const HOUR: u64 = 3_600;

fn ago(seconds: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(seconds))
}

fn sample(metric: &str, value: f64, seconds_ago: u64) -> LatestSample {
    LatestSample { metric_type: MetricType::new(metric).unwrap(), time: ago(seconds_ago), value }
}

fn event(event_type: &str, criticality: u64, seconds_ago: u64, labels: &[(&str, &str)]) -> EventRecord {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let event = Event {
        id: Uuid::from_u128(u128::from(seconds_ago)).into(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: ago(seconds_ago),
        source_device: DeviceName::new("d").unwrap(),
        event_type: EventType::new(event_type).unwrap(),
        event_message: Some("said".to_owned()),
        seq: None,
        labels: Some(Box::new(labels)),
    };
    EventRecord { received: event.timestamp, event }
}

fn stated(to: &str, seconds_ago: u64, since: u64, why: &str) -> EventRecord {
    let since = ago(since).to_string();
    event(
        "HealthChanged",
        3,
        seconds_ago,
        &[("from", to), ("to", to), ("since", &since), ("score", "75"), ("why", why)],
    )
}

fn verdict(latest: &[LatestSample], earlier: &[LatestSample], events: &[EventRecord]) -> Verdict {
    judge(&Evidence {
        window: Window::ending_at(NOW, Duration::from_secs(HOUR)),
        latest,
        earlier,
        events,
        events_cut_off: false,
        last_seen: None,
        arrival: Some(Arrival { received: NOW, measured: NOW }),
        rhythm: None,
        decisions: &[],
    })
}

#[test]
fn a_value_is_told_against_its_limit_and_its_own_past() {
    let latest = [sample("smart_5_raw", 60.0, 5), sample("smart_197_raw", 20.0, 5)];
    let earlier = [sample("smart_5_raw", 60.0, 25 * HOUR), sample("smart_197_raw", 17.0, 24 * HOUR)];
    assert!(health::needs_earlier(&latest) && !health::needs_earlier(&[sample("smart_5_raw", 0.0, 5)]));
    let found = verdict(&latest, &earlier, &[]);
    let told: Vec<_> =
        found.reasons.iter().map(|reason| (reason.metric.as_str(), reason.trend.as_deref().unwrap())).collect();
    assert_eq!(told, [("smart_197_raw", "rose by 3 in 24 h"), ("smart_5_raw", "unchanged for 25 h")], "news first");
    assert!(found.reasons[1].expected.as_deref().unwrap().starts_with("below "), "{:?}", found.reasons);
    let fresh = verdict(&latest, &[], &[]);
    assert!(fresh.reasons.iter().all(|reason| reason.trend.is_none()));
    assert_eq!((fresh.health, fresh.score), (found.health, found.score), "a trend changes no verdict");
    let replaced = [event("DriveReplaced", 2, 10 * HOUR, &[])];
    let other = verdict(&latest, &earlier, &replaced);
    assert!(other.reasons.iter().all(|reason| reason.trend.is_none()), "values of another drive: {:?}", other.reasons);
}

#[test]
fn a_finding_of_the_detector_brings_its_evidence() {
    let labels =
        [("expected_low", "3.1"), ("expected_high", "5.9"), ("advice", "Replace it."), ("trend", "rose by 2 in 24 h")];
    let events = [event("FailurePredicted", 8, 2 * HOUR, &labels), event("FailurePredicted", 8, 5 * HOUR, &labels)];
    let found = verdict(&[sample("DiskTemp", 40.0, 1)], &[], &events);
    let reason = &found.reasons[0];
    assert_eq!((found.health, reason.since), (Health::Critical, Some(ago(5 * HOUR))), "since the first of them");
    assert_eq!((reason.expected.as_deref(), reason.trend.as_deref()), (Some("3.1 to 5.9"), Some("rose by 2 in 24 h")));
    assert_eq!(reason.advice.as_deref(), Some("Replace it."));
}

#[test]
fn a_note_is_a_reason_and_no_verdict() {
    let labels = [("metric", "Latency"), ("value", "41.2"), ("expected_low", "3.1"), ("expected_high", "5.9")];
    let found = verdict(&[sample("DiskTemp", 40.0, 1)], &[], &[event("MetricAnomaly", 5, 600, &labels)]);
    assert_eq!((found.health, found.score), (Health::Ok, Some(100)));
    let reason = &found.reasons[0];
    assert_eq!(
        (reason.metric.as_str(), reason.value, reason.expected.as_deref()),
        ("Latency", Some(41.2), Some("3.1 to 5.9"))
    );
    let before = verdict(&[sample("DiskTemp", 40.0, 1)], &[], &[event("MetricAnomaly", 5, 2 * HOUR, &labels)]);
    assert_eq!(before.reasons, [], "not in the window");
}

#[test]
fn a_change_of_drive_or_place_is_shown_for_a_week() {
    let fine = [sample("DiskTemp", 40.0, 1)];
    for event_type in ["DriveReplaced", "DeviceMoved"] {
        let found = verdict(&fine, &[], &[event(event_type, 2, 6 * 24 * HOUR, &[])]);
        assert_eq!((found.health, found.reasons[0].metric.as_str()), (Health::Ok, event_type));
        assert_eq!(found.reasons[0].advice.is_some(), event_type == "DriveReplaced");
        assert_eq!(verdict(&fine, &[], &[event(event_type, 2, 8 * 24 * HOUR, &[])]).reasons, []);
    }
    let replaced = [event("DriveReplaced", 2, HOUR, &[("replaced_by", "other")])];
    let arrived = |at| Some(Arrival { received: at, measured: at });
    assert!(health::was_replaced(&replaced, None) && health::was_replaced(&replaced, arrived(ago(2 * HOUR))));
    assert!(!health::was_replaced(&replaced, arrived(NOW)), "it still reports");
    assert!(!health::was_replaced(&[event("DriveReplaced", 2, HOUR, &[])], None), "another drive under the same name");
}

#[test]
fn a_drive_in_standby_is_asleep_and_neither_well_nor_failing() {
    let asleep = [sample("smart_standby", 1.0, 5)];
    let found = verdict(&asleep, &[], &[]);
    assert_eq!((found.health, found.reasons[0].metric.as_str()), (Health::Unknown, "smart_standby"));
    assert!(found.reasons[0].why.starts_with("asleep: "), "{}", found.reasons[0].why);
    assert!(health::is_asleep(&asleep) && !health::is_asleep(&[sample("smart_standby", 0.0, 5)]));
    assert_eq!(verdict(&asleep, &[], &[event("SmartFailed", 9, HOUR, &[])]).health, Health::Critical);
    let judged = [sample("smart_standby", 1.0, 5), sample("DiskTemp", 40.0, 50)];
    assert_eq!(verdict(&judged, &[], &[]).health, Health::Ok, "read within the window");
}

#[test]
fn a_verdict_is_dated_by_the_detector_if_both_agree() {
    let latest = [sample("smart_5_raw", 60.0, 5)];
    let since = |events: &[EventRecord]| verdict(&latest, &[], events).reasons[0].since;
    assert_eq!(since(&[stated("warning", HOUR, 50 * HOUR, "smart_5_raw")]), Some(ago(50 * HOUR)));
    assert_eq!(since(&[stated("warning", HOUR, 50 * HOUR, "DiskTemp")]), None, "another reason");
    assert_eq!(since(&[stated("ok", HOUR, 50 * HOUR, "smart_5_raw")]), None, "another verdict");
    assert_eq!(since(&[stated("warning", 26 * HOUR, 50 * HOUR, "smart_5_raw")]), None, "too old to hold");
    let standing =
        health::standing(&[stated("ok", 2 * HOUR, 9 * HOUR, ""), stated("warning", HOUR, HOUR, "x")], NOW).unwrap();
    assert_eq!((standing.health, standing.at, standing.since), (Health::Warning, ago(HOUR), ago(HOUR)));
    assert_eq!(health::standing(&[stated("well", HOUR, HOUR, "x"), event("HealthChanged", 3, 5, &[])], NOW), None);
}

/// Checks segments by their starts in hours before now, ends and verdicts.
#[track_caller]
fn check(events: &[EventRecord], expected: &[(u64, u64, Health, Option<&str>)]) {
    let window = Window::ending_at(NOW, Duration::from_secs(48 * HOUR));
    let found: Vec<HealthSegment> = segments(events, window);
    let hours = |at: Timestamp| (NOW.seconds_since(at) / HOUR as f64).round() as u64;
    let told: Vec<_> =
        found.iter().map(|part| (hours(part.from), hours(part.until), part.health, part.why.as_deref())).collect();
    assert_eq!(told, expected);
}

#[test]
fn history_has_no_gaps_and_does_not_guess() {
    const NONE: Option<&str> = Some("no verdict on record");
    check(&[], &[(48, 0, Health::Unknown, NONE)]);
    let daily = [60, 40, 20].map(|hours| stated("ok", hours * HOUR, 90 * HOUR, ""));
    check(&daily, &[(48, 0, Health::Ok, None)]);
    let changed = [
        stated("ok", 50 * HOUR, 90 * HOUR, ""),
        stated("critical", 30 * HOUR, 30 * HOUR, "DriveFailure"),
        stated("ok", 10 * HOUR, 10 * HOUR, ""),
    ];
    check(
        &changed,
        &[(48, 30, Health::Ok, None), (30, 10, Health::Critical, Some("DriveFailure")), (10, 0, Health::Ok, None)],
    );
    let stopped = [stated("ok", 40 * HOUR, 90 * HOUR, ""), stated("ok", 5 * HOUR, 90 * HOUR, "")];
    check(
        &stopped,
        &[
            (48, 40, Health::Unknown, NONE),
            (40, 15, Health::Ok, None),
            (15, 5, Health::Unknown, NONE),
            (5, 0, Health::Ok, None),
        ],
    );
    check(&[stated("ok", 80 * HOUR, 90 * HOUR, "")], &[(48, 0, Health::Unknown, NONE)]);
}

#[test]
fn a_segment_begins_with_the_change_and_not_with_its_statement() {
    const NONE: Option<&str> = Some("no verdict on record");
    check(&[stated("ok", 10 * HOUR, 12 * HOUR, "")], &[(48, 12, Health::Unknown, NONE), (12, 0, Health::Ok, None)]);
    check(&[stated("ok", 47 * HOUR, 50 * HOUR, "")], &[(48, 22, Health::Ok, None), (22, 0, Health::Unknown, NONE)]);
    let changed = [stated("ok", 20 * HOUR, 20 * HOUR, ""), stated("warning", 5 * HOUR, 8 * HOUR, "DiskTemp")];
    let parts = [(48, 20, Health::Unknown, NONE), (20, 8, Health::Ok, None), (8, 0, Health::Warning, Some("DiskTemp"))];
    check(&changed, &parts);
    // A change before the statement of another verdict contradicts it: each holds from when it was stated.
    let contradiction = [stated("ok", 20 * HOUR, 20 * HOUR, ""), stated("warning", 5 * HOUR, 25 * HOUR, "DiskTemp")];
    check(
        &contradiction,
        &[(48, 20, Health::Unknown, NONE), (20, 5, Health::Ok, None), (5, 0, Health::Warning, Some("DiskTemp"))],
    );
}
