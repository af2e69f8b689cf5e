//! Assignment of sequence numbers: no sender ever assigns a `seq` twice.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use spindle_core::audit::sequencer::{Kept, ProducerEpoch, Sequencer, Unsequenced};
use spindle_core::audit::{PointKind, SEQUENCES_PER_EPOCH, Tally, epoch_of, sequence_of};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);
/// 1677, 1970, 2000, the end of 2023, 2041, 2099, 2262.
const WRONG_CLOCKS: [i64; 7] =
    [-9_223_372_036, 0, 946_684_800, 1_704_067_199, 2_240_524_800, 4_070_908_800, 9_223_372_036];

fn kept(producer_epoch: u32) -> ProducerEpoch {
    serde_json::from_str::<Kept>(&format!("{{\"producer_epoch\":{producer_epoch}}}")).unwrap().producer_epoch
}

/// Files that a version with a clock beyond 2041 left, or that are damaged.
#[test]
fn a_last_producer_epoch_never_ends_the_numbering() {
    for last in [(1 << 28) - 1, 1 << 28, u32::MAX].map(kept) {
        let next = ProducerEpoch::begin(NOW, Some(last)).unwrap();
        assert_eq!(Some(next), ProducerEpoch::begin(NOW, None));
        assert!(ProducerEpoch::begin(NOW, Some(next)).unwrap() > next);
        assert_eq!(ProducerEpoch::begin(Timestamp::from_seconds(0), Some(last)), None);
    }
    let before_last = kept((1 << 28) - 2);
    let mut batch = Batch { metrics: vec![metric("a")], events: vec![event("a", NOW)] };
    let last = ProducerEpoch::begin(NOW, Some(before_last)).unwrap();
    Sequencer::new(last, None, NOW).assign(&mut batch, no_epoch);
    assert!(last > before_last && seqs(&batch).into_iter().all(|seq| seq.unwrap() < 1 << 53));
}

fn metric(device: &str) -> DeviceMetric {
    DeviceMetric {
        timestamp: NOW,
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new("IOPs").unwrap(),
        value: 1.0,
        seq: None,
        labels: None,
    }
}

fn event(device: &str, timestamp: Timestamp) -> Event {
    Event {
        id: Uuid::nil().into(),
        criticality: Criticality::MAX,
        timestamp,
        source_device: DeviceName::new(device).unwrap(),
        event_type: EventType::new("Note").unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    }
}

fn no_epoch() -> Option<ProducerEpoch> {
    None
}

fn seqs(batch: &Batch) -> Vec<Option<u64>> {
    batch.metrics.iter().map(|metric| metric.seq).chain(batch.events.iter().map(|event| event.seq)).collect()
}

#[test]
fn metrics_and_events_of_each_device_are_counted_apart() {
    let producer_epoch = ProducerEpoch::begin(NOW, None).unwrap();
    let mut sequencer = Sequencer::new(producer_epoch, None, NOW);
    let mut batch = Batch {
        metrics: vec![metric("a"), metric("b"), metric("a")],
        events: vec![event("a", NOW), event("a", NOW.minus(std::time::Duration::from_nanos(1))), event("a", NOW)],
    };
    let unsequenced = sequencer.assign(&mut batch, no_epoch);
    assert_eq!(unsequenced, Unsequenced { n_before: 1, ..Unsequenced::default() });
    let numbers: Vec<_> = seqs(&batch).into_iter().map(|seq| seq.map(sequence_of)).collect();
    assert_eq!(numbers, [Some(0), Some(0), Some(1), Some(0), None, Some(1)]);
    let epochs: Vec<_> = seqs(&batch).into_iter().flatten().map(epoch_of).collect();
    assert!(
        epochs[..3].iter().all(|epoch| *epoch == epochs[0]) && epochs[3..].iter().all(|epoch| *epoch == epochs[0] + 1)
    );
    assert!(seqs(&batch).into_iter().flatten().all(|seq| seq < 1 << 53));
}

#[test]
fn a_producer_epoch_is_later_than_the_one_before_whatever_the_clock_says() {
    let early = Timestamp::from_seconds(1_710_000_000);
    let first = ProducerEpoch::begin(NOW, None).unwrap();
    assert!(ProducerEpoch::begin(NOW, Some(first)).unwrap() > first);
    assert!(ProducerEpoch::begin(early, Some(first)).unwrap() > first);
    assert!(ProducerEpoch::begin(NOW.plus(std::time::Duration::from_secs(2)), None).unwrap() > first);
    for wrong in WRONG_CLOCKS.map(Timestamp::from_seconds) {
        assert!(ProducerEpoch::begin(wrong, Some(first)).unwrap() > first, "{wrong}");
        assert_eq!(ProducerEpoch::begin(wrong, None), None, "nothing separates it from earlier ones: {wrong}");
    }
}

#[test]
fn an_epoch_that_is_used_up_is_followed_by_one_of_a_new_producer_epoch() {
    let producer_epoch = ProducerEpoch::begin(NOW, None).unwrap();
    let epoch = {
        let mut batch = Batch { metrics: vec![metric("a")], events: vec![] };
        Sequencer::new(producer_epoch, None, NOW).assign(&mut batch, no_epoch);
        epoch_of(batch.metrics[0].seq.unwrap())
    };
    let next = ProducerEpoch::begin(NOW, Some(producer_epoch)).unwrap();
    let near_the_end = (Some((epoch + 1) * SEQUENCES_PER_EPOCH - 2), None);
    let kept = Kept { producer_epoch, devices: [(DeviceName::new("a").unwrap(), near_the_end)].into() };
    let mut sequencer = Sequencer::new(next, Some(kept), NOW);
    let mut batch = Batch { metrics: vec![metric("a"), metric("a"), metric("a"), metric("b")], events: vec![] };
    let unsequenced = sequencer.assign(&mut batch, no_epoch);
    assert_eq!(unsequenced, Unsequenced { n_no_epoch: 1, ..Unsequenced::default() });
    let mut later = Batch { metrics: vec![metric("a"), metric("a")], events: vec![] };
    let renewed = ProducerEpoch::begin(NOW, Some(next));
    sequencer.assign(&mut later, || renewed);
    let all: Vec<u64> = seqs(&batch).into_iter().chain(seqs(&later)).flatten().collect();
    assert_eq!(
        all.iter().map(|seq| sequence_of(*seq)).collect::<Vec<_>>(),
        [SEQUENCES_PER_EPOCH - 2, SEQUENCES_PER_EPOCH - 1, 0, 0, 1]
    );
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(sequencer.keep().producer_epoch, renewed.unwrap());
}

#[test]
fn what_no_epoch_before_can_have_kept_is_left_out() {
    let producer_epoch = ProducerEpoch::begin(NOW, None).unwrap();
    let next = ProducerEpoch::begin(NOW, Some(producer_epoch)).unwrap();
    for wrong in [u64::MAX, 1 << 53, SEQUENCES_PER_EPOCH] {
        let kept = Kept { producer_epoch, devices: [(DeviceName::new("a").unwrap(), (Some(wrong), None))].into() };
        let mut batch = Batch { metrics: vec![metric("a")], events: vec![] };
        Sequencer::new(next, Some(kept), NOW).assign(&mut batch, no_epoch);
        let seq = batch.metrics[0].seq.unwrap();
        assert!(seq != wrong && seq < 1 << 53 && sequence_of(seq) == 0, "{wrong}");
    }
}

#[test]
fn what_is_kept_survives_as_json() {
    let producer_epoch = ProducerEpoch::begin(NOW, None).unwrap();
    let mut sequencer = Sequencer::new(producer_epoch, None, NOW);
    sequencer.assign(&mut Batch { metrics: vec![metric("shelf 3/ü \"x\"")], events: vec![event("b", NOW)] }, no_epoch);
    let kept = sequencer.keep();
    assert_eq!(kept.devices.len(), 2);
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
    let bare: Kept = serde_json::from_str(r#"{"life":7}"#).unwrap();
    assert!(bare.devices.is_empty(), "written before the field was renamed");
}

/// Something that happens to a sender.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    StopInOrder,
    Kill,
    /// The clock moves by this many seconds.
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0..4_u8, 1..6).prop_map(Step::Send),
        1 => Just(Step::StopInOrder),
        1 => Just(Step::Kill),
        1 => (-100..100_i64).prop_map(Step::Clock),
    ]
}

proptest! {
    /// Over stops, kills and clock steps: no `seq` is assigned twice, and an orderly stop leaves no gap.
    #[test]
    fn no_number_is_ever_given_twice(steps in prop::collection::vec(step(), 1..40)) {
        let mut now = NOW;
        // As on disk: written before the first `seq` of a producer epoch, and at an orderly stop.
        let mut producer_epoch = ProducerEpoch::begin(now, None).unwrap();
        let mut sequencer = Sequencer::new(producer_epoch, None, now);
        let mut given: BTreeMap<String, Tally> = BTreeMap::new();
        let mut all = BTreeSet::new();
        for step in steps {
            match step {
                Step::Send(devices) => {
                    let names: Vec<String> = devices.iter().map(|device| format!("d{device}")).collect();
                    let mut batch = Batch {
                        metrics: names.iter().map(|name| metric(name)).collect(),
                        events: names.iter().take(1).map(|name| event(name, now)).collect(),
                    };
                    sequencer.assign(&mut batch, no_epoch);
                    for metric in &batch.metrics {
                        prop_assert!(all.insert((metric.source_device.clone(), metric.seq.unwrap())));
                        given.entry(metric.source_device.to_string()).or_default().see(PointKind::Metric, metric.seq);
                    }
                    for event in &batch.events {
                        if let Some(seq) = event.seq {
                            prop_assert!(all.insert((event.source_device.clone(), seq)));
                        }
                    }
                }
                Step::StopInOrder => {
                    let kept = sequencer.keep();
                    producer_epoch = ProducerEpoch::begin(now, Some(kept.producer_epoch)).unwrap();
                    sequencer = Sequencer::new(producer_epoch, Some(kept), now);
                }
                Step::Kill => {
                    producer_epoch = ProducerEpoch::begin(now, Some(producer_epoch)).unwrap();
                    sequencer = Sequencer::new(producer_epoch, None, now);
                }
                Step::Clock(seconds) => now = Timestamp::from_ns(now.as_ns() + seconds * 1_000_000_000),
            }
        }
        for tally in given.values() {
            let (_, n_missing, n_duplicates) = tally.totals();
            prop_assert_eq!((n_missing, n_duplicates), (0, 0));
        }
    }
}
