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
    let window = Window::ending_at(NOW, Duration::from_secs(3600));
    judge(&Evidence { window, latest, events, last_seen: None, rhythm })
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
    let window = Window::ending_at(NOW, Duration::from_secs(3600));
    assert_eq!(may_be_silent(&[old("a", 1.0, 5), old("b", 1.0, 50)], window), None);
    assert_eq!(may_be_silent(&[old("a", 1.0, 6), old("b", 1.0, 50)], window), Some(&old("a", 1.0, 6)));
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
fn vendor_packed_values_accuse_nobody() {
    assert_eq!(
        verdict(&[latest("smart_5_raw", 65_535.0), latest("smart_194_raw", 141_734_510_625.0)], &[]).health,
        Health::Ok
    );
}

#[test]
fn a_fault_counts_until_it_is_resolved() {
    let fine = [latest("DiskTemp", 40.0)];
    assert_eq!(verdict(&fine, &[event("DriveFailure", 600)]).health, Health::Critical);
    assert_eq!(verdict(&fine, &[event("DriveFailure", 600), event("DriveReplaced", 60)]).health, Health::Ok);
    assert_eq!(verdict(&fine, &[event("DataCorruption", 600)]).health, Health::Warning);
    assert_eq!(verdict(&fine, &[event("DataCorruption", 6000)]).health, Health::Ok);
}
