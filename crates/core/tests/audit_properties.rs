//! Missing and duplicate sequences, compared with a naive count.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use spindle_core::Timestamp;
use spindle_core::audit::{
    Duplicate, EpochFindings, MAX_LISTED, Missing, PointKind, Points, SEQUENCES_PER_EPOCH, SeqVisitor, Tally, epoch_of,
    sequence_of,
};

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

    /// A replaced number is missing exactly if no point carries it, and never changes what else is counted.
    #[test]
    fn replaced_numbers_are_missing_unless_they_are_stored(
        stored in prop::collection::btree_set(0..40_u64, 0..30),
        replaced in prop::collection::btree_set(0..40_u64, 0..30),
    ) {
        let mut tally = tally(&stored.iter().copied().map(Some).collect::<Vec<_>>());
        replaced.iter().for_each(|seq| tally.see_replaced(*seq));
        let all: BTreeSet<u64> = stored.union(&replaced).copied().collect();
        let span = all.last().map_or(0, |last| last - all.first().unwrap() + 1);
        prop_assert_eq!(tally.totals(), (stored.len() as u64, span - stored.len() as u64, 0));
        let missing: Vec<u64> =
            tally.findings().iter().flat_map(|finding| &finding.missing).flat_map(|range| range.from..=range.to).collect();
        prop_assert!(replaced.difference(&stored).all(|seq| missing.contains(seq)), "{:?}", missing);
        prop_assert!(missing.iter().all(|seq| !stored.contains(seq)));
        for mut finding in tally.findings() {
            let times = finding.seq_times();
            finding.locate(&times);
        }
    }

    #[test]
    fn any_numbers_are_counted_without_a_panic(seqs in prop::collection::vec(any::<u64>(), 0..60), heard in any::<u64>()) {
        let mut tally = tally(&seqs.iter().copied().map(Some).collect::<Vec<_>>());
        tally.visit(heard, NOW);
        tally.see_replaced(heard);
        let different: BTreeSet<u64> = seqs.iter().copied().collect();
        let (n_seen, n_missing, _) = tally.totals();
        prop_assert!(n_seen >= different.len() as u64);
        prop_assert!(n_missing <= SEQUENCES_PER_EPOCH * (seqs.len() as u64 + 1));
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
