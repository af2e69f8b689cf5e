//! Properties of the verdict: more evidence never improves it, order does not matter, and score and health agree.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::time::Duration;

use proptest::prelude::*;
use spindle_core::health::{Evidence, Health, Verdict, judge};
use spindle_core::metric::METRICS;
use spindle_core::records::{Arrival, EventRecord, LatestSample, Window};
use spindle_core::{Criticality, DeviceName, Event, EventType, MetricType, Timestamp};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);
/// Events that close a fault, which may improve a verdict, come last.
const EVENT_TYPES: [&str; 8] = [
    "DriveFailure",
    "ShelfOffline",
    "FanFailure",
    "DataCorruption",
    "Note",
    "DriveReplaced",
    "ShelfOnline",
    "FanRestored",
];

/// Statements about how hot a device may be, which replace the limits of its temperature. They come last here.
const STATEMENTS: [&str; 3] = ["DiskTempWarning", "DiskTempCritical", "IsFlash"];

fn metric_name() -> impl Strategy<Value = String> {
    let known = (0..METRICS.len()).prop_map(|index| METRICS[index].name.to_owned());
    prop_oneof![4 => known, 1 => "(Zing|Zong|smart_(1|7|188|196|199)_raw)"]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.0..120.0,
        any::<f64>(),
        (0_u64..1 << 50).prop_map(|raw| raw as f64),
        prop_oneof![Just(0.0), Just(255.0), Just(-1.0), Just(65_535.0), Just(8481.0), Just(281_474_976_710_655.0)],
    ]
}

fn samples() -> impl Strategy<Value = Vec<LatestSample>> {
    proptest::collection::btree_map(metric_name(), (value(), 0_u64..3600), 0..8).prop_map(|samples| {
        let sample = |(name, (value, age)): (String, (f64, u64))| LatestSample {
            metric_type: MetricType::new(&name).unwrap(),
            time: NOW.minus(Duration::from_secs(age)),
            value,
        };
        samples.into_iter().map(sample).collect()
    })
}

fn event(n_types: usize) -> impl Strategy<Value = EventRecord> {
    (0..n_types, 1_u64..=10, -100_000_i64..4_000_000, 0_u64..3_000_000, 0_u128..50).prop_map(
        |(index, criticality, age, received_age, id)| {
            let event = Event {
                id: Uuid::from_u128(id).into(),
                criticality: Criticality::new(criticality).unwrap(),
                timestamp: Timestamp::from_ns(NOW.as_ns() - age * 1_000_000_000),
                source_device: DeviceName::new("d").unwrap(),
                event_type: EventType::new(EVENT_TYPES[index]).unwrap(),
                event_message: None,
                seq: None,
                labels: None,
            };
            EventRecord { event, received: NOW.minus(Duration::from_secs(received_age)) }
        },
    )
}

fn arrival() -> impl Strategy<Value = Option<Arrival>> {
    proptest::option::of((0_u64..7200, -100_000_i64..100_000).prop_map(|(age, offset)| {
        let received = NOW.minus(Duration::from_secs(age));
        Arrival { received, measured: Timestamp::from_ns(received.as_ns() + offset * 1_000_000_000) }
    }))
}

#[derive(Clone, Debug)]
struct Known {
    latest: Vec<LatestSample>,
    events: Vec<EventRecord>,
    events_cut_off: bool,
    arrival: Option<Arrival>,
}

fn known() -> impl Strategy<Value = Known> {
    let events = proptest::collection::vec(event(EVENT_TYPES.len()), 0..8);
    (samples(), events, any::<bool>(), arrival()).prop_map(|(latest, events, events_cut_off, arrival)| Known {
        latest,
        events,
        events_cut_off,
        arrival,
    })
}

fn verdict(known: &Known) -> Verdict {
    judge(&Evidence {
        window: Window::ending_at(NOW, Duration::from_secs(3600)),
        latest: &known.latest,
        earlier: &[],
        events: &known.events,
        events_cut_off: known.events_cut_off,
        last_seen: None,
        arrival: known.arrival,
        rhythm: None,
        decisions: &[],
    })
}

/// `true` if nothing of a device was judged, so that a first value may make it `ok`.
fn knows_nothing(known: &Known) -> bool {
    known.latest.is_empty() || verdict(known).reasons.iter().any(|reason| reason.why.starts_with("nothing it sends"))
}

proptest! {
    #[test]
    fn a_further_event_never_improves_a_verdict(known in known(), event in event(5)) {
        let before = verdict(&known);
        let mut more = known;
        more.events.push(event);
        prop_assert!(verdict(&more).health >= before.health, "{before:?}");
    }

    #[test]
    fn a_further_metric_never_improves_a_verdict(known in known(), samples in samples()) {
        let before = verdict(&known);
        let knew_nothing = knows_nothing(&known);
        let mut more = known;
        for sample in samples.into_iter().filter(|sample| !STATEMENTS.contains(&sample.metric_type.as_str())) {
            if more.latest.iter().all(|known| known.metric_type != sample.metric_type) {
                more.latest.push(sample);
            }
        }
        let after = verdict(&more);
        prop_assert!(after.health >= before.health || (knew_nothing && before.health == Health::Unknown), "{before:?} {after:?}");
    }

    #[test]
    fn statements_about_heat_change_nothing_but_the_limits_of_the_temperature(
        known in known(),
        limits in proptest::collection::btree_map(proptest::sample::select(&STATEMENTS[..]), prop_oneof![0.0..2.0, 40.0..125.0], 0..4),
    ) {
        let is_heat = |name: &str| ["DiskTemp", "smart_190_raw", "smart_194_raw"].contains(&name);
        let mut silent = known.clone();
        silent.latest.retain(|sample| !STATEMENTS.contains(&sample.metric_type.as_str()));
        let mut stated = silent.clone();
        stated.latest.extend(limits.iter().map(|(name, value)| LatestSample {
            metric_type: MetricType::new(name).unwrap(),
            time: NOW,
            value: *value,
        }));
        let others = |known: &Known| {
            let reasons = verdict(known).reasons.into_iter();
            let mut others: Vec<_> = reasons.filter(|reason| !is_heat(&reason.metric) && reason.metric != "silence").map(|reason| format!("{reason:?}")).collect();
            others.sort();
            others
        };
        if !knows_nothing(&silent) {
            prop_assert_eq!(others(&silent), others(&stated));
        }
    }

    #[test]
    fn hotter_is_never_better_and_the_own_limit_is_critical(
        known in known(),
        celsius in -40.0..125.0_f64,
        further in 0.0..50.0_f64,
        own in 45.0..120.0_f64,
    ) {
        let at = |celsius: f64, own: Option<f64>| {
            let mut known = known.clone();
            known.latest.retain(|sample| !["DiskTemp", "DiskTempCritical"].contains(&sample.metric_type.as_str()));
            let values = [Some(("DiskTemp", celsius)), own.map(|own| ("DiskTempCritical", own))];
            known.latest.extend(values.into_iter().flatten().map(|(name, value)| LatestSample {
                metric_type: MetricType::new(name).unwrap(),
                time: NOW,
                value,
            }));
            verdict(&known).health
        };
        prop_assert!(at((celsius + further).min(125.0), None) >= at(celsius, None));
        prop_assert_eq!(at((own + further).min(125.0), Some(own)), Health::Critical);
    }

    #[test]
    fn a_cut_never_improves_a_verdict(known in known()) {
        let (whole, cut) = (Known { events_cut_off: false, ..known.clone() }, Known { events_cut_off: true, ..known });
        prop_assert!(verdict(&cut).health >= verdict(&whole).health);
        prop_assert_ne!(verdict(&cut).health, Health::Ok);
    }

    #[test]
    fn order_does_not_matter(known in known(), seed in any::<u64>()) {
        let expected = verdict(&known);
        let mut shuffled = known;
        let turn = |length: usize| if length == 0 { 0 } else { (seed % length as u64) as usize };
        let (n_latest, n_events) = (shuffled.latest.len(), shuffled.events.len());
        shuffled.latest.rotate_left(turn(n_latest));
        shuffled.events.rotate_left(turn(n_events));
        prop_assert_eq!(format!("{:?}", verdict(&shuffled)), format!("{expected:?}"));
        shuffled.latest.reverse();
        shuffled.events.reverse();
        prop_assert_eq!(format!("{:?}", verdict(&shuffled)), format!("{expected:?}"));
    }

    #[test]
    fn score_and_health_agree(known in known()) {
        let verdict = verdict(&known);
        let agrees = match (verdict.health, verdict.score) {
            (Health::Ok, score) => score == Some(100) && verdict.reasons.is_empty(),
            (Health::Unknown, score) => score.is_none() && !verdict.reasons.is_empty(),
            (Health::Warning, score) => score.is_some_and(|score| (40..100).contains(&score)),
            (Health::Critical, score) => score.is_some_and(|score| score < 40),
        };
        prop_assert!(agrees, "{verdict:?}");
    }
}
