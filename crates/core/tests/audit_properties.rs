//! Missing and duplicate sequences, compared with a naive count; and no sender ever assigns a `seq` twice.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use spindle_core::audit::sequencer::{Kept, ProducerEpoch, Sequencer, Unsequenced};
use spindle_core::audit::{
    Duplicate, EpochFindings, MAX_LISTED, Missing, PointKind, Points, SEQUENCES_PER_EPOCH, SeqVisitor, Tally, epoch_of,
    sequence_of,
};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

fn tally(seqs: &[Option<u64>]) -> Tally {
    let mut tally = Tally::default();
    seqs.iter().for_each(|seq| tally.see(PointKind::Metric, *seq));
    tally
}

/// Findings and totals, computed the slow way.
fn model(seqs: &[Option<u64>], outside: &[u64]) -> (Vec<EpochFindings>, (u64, u64, u64)) {
    let mut epochs: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    for seq in seqs.iter().flatten() {
        *epochs.entry(epoch_of(*seq)).or_default().entry(sequence_of(*seq)).or_default() += 1;
    }
    let (mut findings, mut totals) = (Vec::new(), (0, 0, 0));
    for (epoch, counts) in epochs {
        let (first, last) = (*counts.first_key_value().unwrap().0, *counts.last_key_value().unwrap().0);
        let is_outside = |number: u64| outside.contains(&(epoch * SEQUENCES_PER_EPOCH + number));
        let is_seen = |number: u64| counts.contains_key(&number) || is_outside(number);
        let n_seen = (first..=last).filter(|number| is_seen(*number)).count() as u64;
        let missing: Vec<u64> = (first..=last).filter(|number| !is_seen(*number)).collect();
        let duplicates: Vec<u64> = counts.iter().filter(|(_, count)| **count > 1).map(|(number, _)| *number).collect();
        totals = (totals.0 + n_seen, totals.1 + missing.len() as u64, totals.2 + duplicates.len() as u64);
        let mut ranges: Vec<Missing> = Vec::new();
        for number in &missing {
            match ranges.last_mut().filter(|range| range.to + 1 == *number) {
                Some(range) => range.to = *number,
                None => ranges.push(Missing { from: *number, to: *number, after: None, before: None }),
            }
        }
        ranges.truncate(MAX_LISTED);
        if !missing.is_empty() || !duplicates.is_empty() {
            findings.push(EpochFindings {
                epoch,
                points: Points::Metrics,
                first,
                last,
                n_seen,
                n_missing: missing.len() as u64,
                n_duplicates: duplicates.len() as u64,
                missing: ranges,
                duplicates: duplicates
                    .into_iter()
                    .take(MAX_LISTED)
                    .map(|sequence| Duplicate { sequence, times: vec![] })
                    .collect(),
            });
        }
    }
    findings.truncate(MAX_LISTED);
    (findings, totals)
}

/// Close together, so that they collide; across pages of 4,096 and across epochs.
fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..40_u64,
        3 => 4_080..4_110_u64,
        2 => (0..3_u64, 0..12_000_u64).prop_map(|(epoch, number)| epoch * SEQUENCES_PER_EPOCH + number),
        1 => (SEQUENCES_PER_EPOCH - 5)..(SEQUENCES_PER_EPOCH + 5),
    ]
}

proptest! {
    // Most inputs are too long for the model: with the default bound some runs would abort.
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn gaps_and_doubles_are_what_a_naive_count_says(
        seqs in prop::collection::vec(prop::option::weighted(0.9, seq()), 0..120),
        outside in prop::collection::vec(seq(), 0..40),
    ) {
        // The model visits every sequence from first to last, so an epoch seen from end to end is too slow for it.
        prop_assume!(model_is_quick(&seqs));
        let mut tally = tally(&seqs);
        let gaps = tally.gaps();
        prop_assert_eq!(gaps.is_some(), model(&seqs, &[]).1.1 > 0);
        // Without a gap nothing outside matters; with one, only the range matters, and it is no wider than what is
        // missing.
        let all_missing = missing_seqs(&seqs);
        prop_assert_eq!(gaps.clone(), all_missing.first().map(|first| *first..=*all_missing.last().unwrap()));
        let heard: Vec<u64> = outside.into_iter().filter(|seq| gaps.as_ref().is_some_and(|gaps| gaps.contains(seq))).collect();
        heard.iter().for_each(|seq| tally.visit(*seq, NOW));
        let (findings, totals) = model(&seqs, &heard);
        prop_assert_eq!(tally.findings(), findings);
        prop_assert_eq!(tally.totals(), totals);
        prop_assert_eq!(tally.n_points(), seqs.len() as u64);
        prop_assert_eq!(tally.n_without_seq(), seqs.iter().filter(|seq| seq.is_none()).count() as u64);
        prop_assert!(!tally.overflowed());
    }

    #[test]
    fn any_numbers_are_counted_without_a_panic(seqs in prop::collection::vec(any::<u64>(), 0..60), heard in any::<u64>()) {
        let mut tally = tally(&seqs.iter().copied().map(Some).collect::<Vec<_>>());
        tally.visit(heard, NOW);
        let different: BTreeSet<u64> = seqs.iter().copied().collect();
        let (n_seen, n_missing, _) = tally.totals();
        prop_assert!(n_seen >= different.len() as u64);
        prop_assert!(n_missing <= SEQUENCES_PER_EPOCH * seqs.len() as u64);
        for mut finding in tally.findings() {
            let times = finding.seq_times();
            finding.locate(&times);
        }
    }
}

fn missing_seqs(seqs: &[Option<u64>]) -> BTreeSet<u64> {
    let all: BTreeSet<u64> = seqs.iter().flatten().copied().collect();
    let epochs: BTreeSet<u64> = all.iter().map(|seq| epoch_of(*seq)).collect();
    let of_epoch = |epoch: u64| {
        let mut seqs = all.range(epoch * SEQUENCES_PER_EPOCH..(epoch + 1) * SEQUENCES_PER_EPOCH);
        let first = *seqs.next().unwrap();
        first..*seqs.next_back().unwrap_or(&first)
    };
    epochs.into_iter().flat_map(of_epoch).filter(|seq| !all.contains(seq)).collect()
}

fn model_is_quick(seqs: &[Option<u64>]) -> bool {
    let mut ends: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for seq in seqs.iter().flatten() {
        let number = sequence_of(*seq);
        let end = ends.entry(epoch_of(*seq)).or_insert((number, number));
        *end = (end.0.min(number), end.1.max(number));
    }
    ends.values().map(|(first, last)| last - first).sum::<u64>() < 30_000
}

#[test]
fn a_hole_from_one_end_of_an_epoch_to_the_other_is_one_range() {
    let tally = tally(&[Some(0), Some(SEQUENCES_PER_EPOCH - 1)]);
    let findings = tally.findings();
    let whole = Missing { from: 1, to: SEQUENCES_PER_EPOCH - 2, after: None, before: None };
    assert_eq!((&findings[0].missing, findings[0].n_missing), (&vec![whole], SEQUENCES_PER_EPOCH - 2));
    assert_eq!(tally.gaps(), Some(1..=SEQUENCES_PER_EPOCH - 2));
}

#[test]
fn lists_are_cut_and_totals_are_not() {
    // Every other sequence is missing and every third of those seen is duplicate, in each of 30 epochs.
    let numbers = (0..200_u64).map(|number| number * 2);
    let numbers: Vec<u64> =
        numbers.flat_map(|number| [number; 2].into_iter().take(1 + usize::from(number % 3 == 0))).collect();
    let seqs =
        (0..30_u64).flat_map(|epoch| numbers.iter().map(move |number| Some(epoch * SEQUENCES_PER_EPOCH + number)));
    let tally = tally(&seqs.collect::<Vec<_>>());
    let findings = tally.findings();
    assert_eq!(findings.len(), MAX_LISTED);
    assert_eq!((findings[0].missing.len(), findings[0].duplicates.len()), (MAX_LISTED, MAX_LISTED));
    assert_eq!((findings[0].n_missing, findings[0].n_duplicates), (199, 67));
    assert_eq!(tally.totals(), (30 * 200, 30 * 199, 30 * 67));
}

#[test]
fn an_epoch_of_both_kinds_says_so_and_times_are_found() {
    let mut tally = Tally::default();
    tally.see(PointKind::Event, Some(1));
    for seq in [2, 4, 4] {
        tally.see(PointKind::Metric, Some(seq));
    }
    let mut findings = tally.findings();
    let mut times = findings[0].seq_times();
    assert_eq!(times.range(), Some(2..=4));
    for (seq, seconds) in [(1, 10), (2, 20), (4, 44), (4, 41), (4, 43), (9, 90)] {
        times.visit(seq, Timestamp::from_seconds(seconds));
    }
    findings[0].locate(&times);
    let time = |seconds| Timestamp::from_seconds(seconds);
    assert_eq!(
        findings,
        [EpochFindings {
            epoch: 0,
            points: Points::Both,
            first: 1,
            last: 4,
            n_seen: 3,
            n_missing: 1,
            n_duplicates: 1,
            missing: vec![Missing { from: 3, to: 3, after: Some(time(20)), before: Some(time(41)) }],
            duplicates: vec![Duplicate { sequence: 4, times: vec![time(41), time(43)] }],
        }]
    );
}

/// A database reports the number of values without a `seq`, and may report anything.
#[test]
fn counts_that_cannot_be_stay_at_the_end_of_their_range() {
    let mut tally = Tally::default();
    tally.see_without_seq(u64::MAX);
    tally.see_without_seq(2);
    tally.see(PointKind::Metric, None);
    assert_eq!((tally.n_points(), tally.n_without_seq()), (u64::MAX, u64::MAX));
}

/// Hashes or times in place of a counter must neither exhaust memory nor pass for complete.
#[test]
fn numbers_that_are_no_counter_fill_the_tally_and_it_says_so() {
    let mut tally = Tally::default();
    for number in 0..200_000_u64 {
        tally.see(PointKind::Metric, Some(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    }
    assert!(tally.overflowed());
    assert_eq!(tally.n_points(), 200_000);
    tally.visit(5, NOW);
    // A million consecutive ones fit.
    let mut dense = Tally::default();
    (0..1_000_000).for_each(|seq| dense.see(PointKind::Metric, Some(seq)));
    assert!(!dense.overflowed());
    assert_eq!(dense.totals(), (1_000_000, 0, 0));
}

// The sender's side.

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
        id: Uuid::nil(),
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
    for end in [i64::MIN, 0, i64::MAX].map(Timestamp::from_ns) {
        let producer_epoch = ProducerEpoch::begin(end, None).unwrap();
        let mut batch = Batch { metrics: vec![metric("a")], events: vec![event("a", end)] };
        Sequencer::new(producer_epoch, None, end).assign(&mut batch, no_epoch);
        assert!(seqs(&batch).into_iter().all(|seq| seq.unwrap() < 1 << 53));
    }
    let last = ProducerEpoch::begin(Timestamp::from_ns(i64::MAX), None);
    assert_eq!(ProducerEpoch::begin(NOW, last), None, "used up");
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
