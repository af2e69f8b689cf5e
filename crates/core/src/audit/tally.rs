//! Counts the sequence numbers of one device in a window: one bit per sequence, in pages that exist only where sequences
//! do. A million sequences take 0.13 MB; [`MAX_PAGES`] bounds what a device may take.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Serialize;

use super::seq_times::{SeqTimes, SeqVisitor};
use super::{SEQUENCES_PER_EPOCH, epoch_of, seq_of, sequence_of};
use crate::timestamp::Timestamp;

const PAGE_WORDS: usize = 64;
/// Sequences in one page.
const PAGE_SEQUENCES: u64 = PAGE_WORDS as u64 * 64;
/// Maximum number of pages of one device, 4 MiB and as much again if everything is duplicate: 33 million consecutive
/// sequences, more than a query has time for. Values that are not counters (hashes, times) overflow it sooner; the
/// tally then reports that and judges nothing.
const MAX_PAGES: usize = 8192;

/// Maximum number of missing ranges, of duplicates and of epochs listed; totals count all.
pub const MAX_LISTED: usize = 20;

type Bits = [u64; PAGE_WORDS];

/// Kind of a stored point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// Metric value.
    Metric,
    /// Event.
    Event,
}

/// Kinds of points in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Points {
    /// Metric values only.
    Metrics,
    /// Events only.
    Events,
    /// Metric values and events.
    Both,
}

/// Sequence numbers of one device in a window.
#[derive(Debug, Default)]
pub struct Tally {
    epochs: BTreeMap<u64, EpochTally>,
    n_points: u64,
    n_without_seq: u64,
    n_pages: usize,
    overflowed: bool,
}

/// Epoch with missing or duplicate sequences. The names on the wire are older than those here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochFindings {
    /// The epoch, see [`super`].
    #[serde(rename = "run")]
    pub epoch: u64,
    /// Kinds of its points.
    pub points: Points,
    /// Smallest sequence in the window, stored or replaced.
    pub first: u64,
    /// Largest sequence in the window, stored or replaced.
    pub last: u64,
    /// Distinct sequences stored from first to last.
    pub n_seen: u64,
    /// Sequences from first to last that are not stored.
    pub n_missing: u64,
    /// Sequences carried by more than one stored point.
    #[serde(rename = "n_doubled")]
    pub n_duplicates: u64,
    /// First [`MAX_LISTED`] missing ranges.
    pub missing: Vec<Missing>,
    /// First [`MAX_LISTED`] duplicates.
    #[serde(rename = "doubled")]
    pub duplicates: Vec<Duplicate>,
}

/// Range of missing sequences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// First missing sequence.
    pub from: u64,
    /// Last missing sequence.
    pub to: u64,
    /// Time of the point with the preceding sequence.
    pub after: Option<Timestamp>,
    /// Time of the point with the following sequence.
    pub before: Option<Timestamp>,
}

/// Sequence carried by more than one stored point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The sequence.
    #[serde(rename = "number")]
    pub sequence: u64,
    /// Times of two of the points.
    pub times: Vec<Timestamp>,
}

#[derive(Debug)]
struct EpochTally {
    first: u64,
    last: u64,
    points: Points,
    /// Keyed by sequence divided by [`PAGE_SEQUENCES`].
    pages: BTreeMap<u64, Box<Page>>,
}

#[derive(Debug)]
struct Page {
    seen: Bits,
    /// `None` for most pages.
    duplicates: Option<Box<Bits>>,
}

impl Tally {
    /// Counts a point in the window.
    pub fn see(&mut self, kind: PointKind, seq: Option<u64>) {
        self.n_points = self.n_points.saturating_add(1);
        let Some(seq) = seq else {
            self.n_without_seq = self.n_without_seq.saturating_add(1);
            return;
        };
        let points = match kind {
            PointKind::Metric => Points::Metrics,
            PointKind::Event => Points::Events,
        };
        if self.has_room_for(seq) {
            let sequence = sequence_of(seq);
            self.epoch(seq, points).page(sequence).see(sequence);
        }
    }

    /// Counts the number of a value that another one of the same device, type and time replaced: it is missing, unless
    /// some point carries it.
    pub fn see_replaced(&mut self, seq: u64) {
        if self.has_room_for(seq) {
            let epoch = self.epoch(seq, Points::Metrics);
            epoch.page(sequence_of(seq));
        }
    }

    /// Counts points known to have no `seq`; do not pass them to [`Self::see`] as well.
    pub fn see_without_seq(&mut self, n_points: u64) {
        self.n_points = self.n_points.saturating_add(n_points);
        self.n_without_seq = self.n_without_seq.saturating_add(n_points);
    }

    /// Returns the number of points in the window.
    pub fn n_points(&self) -> u64 {
        self.n_points
    }

    /// Returns the number of points without a `seq`.
    pub fn n_without_seq(&self) -> u64 {
        self.n_without_seq
    }

    /// Returns the number of epochs in the window.
    pub fn n_epochs(&self) -> u64 {
        self.epochs.len() as u64
    }

    /// Returns `true` if there were too many sequences, or too far apart, to be counted. Totals and findings then
    /// mean nothing.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Returns the numbers of distinct, missing and duplicate sequences over all epochs.
    pub fn totals(&self) -> (u64, u64, u64) {
        let totals = self.epochs.values().map(EpochTally::totals);
        totals.fold((0, 0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1, sum.2 + of.2))
    }

    /// Returns the range from the first to the last missing `seq`. Pass those found outside the window to
    /// [`visit`](SeqVisitor::visit).
    pub fn gaps(&self) -> Option<RangeInclusive<u64>> {
        let mut with_gaps = self.epochs.iter().filter(|(_, epoch)| epoch.totals().1 > 0);
        let first = with_gaps.next()?;
        let last = with_gaps.next_back().unwrap_or(first);
        let from = first.1.missing().next()?.from;
        let to = last.1.missing().last()?.to;
        Some(seq_of(*first.0, from)..=seq_of(*last.0, to))
    }

    /// Returns the first [`MAX_LISTED`] epochs with missing or duplicate sequences.
    pub fn findings(&self) -> Vec<EpochFindings> {
        let epochs = self.epochs.iter().filter(|(_, epoch)| {
            let (_, n_missing, n_duplicates) = epoch.totals();
            n_missing + n_duplicates > 0
        });
        epochs.take(MAX_LISTED).map(|(name, epoch)| epoch.findings(*name)).collect()
    }

    /// Returns the epoch of a `seq`, extended to it.
    fn epoch(&mut self, seq: u64, points: Points) -> &mut EpochTally {
        let sequence = sequence_of(seq);
        let new = || EpochTally { first: sequence, last: sequence, points, pages: BTreeMap::new() };
        let epoch = self.epochs.entry(epoch_of(seq)).or_insert_with(new);
        epoch.first = epoch.first.min(sequence);
        epoch.last = epoch.last.max(sequence);
        if epoch.points != points {
            epoch.points = Points::Both;
        }
        epoch
    }

    /// Returns `true` if the `seq` has a page or there is room for another one.
    fn has_room_for(&mut self, seq: u64) -> bool {
        let page = sequence_of(seq) / PAGE_SEQUENCES;
        if self.epochs.get(&epoch_of(seq)).is_some_and(|epoch| epoch.pages.contains_key(&page)) {
            return true;
        }
        self.overflowed |= self.n_pages >= MAX_PAGES;
        self.n_pages += usize::from(!self.overflowed);
        !self.overflowed
    }
}

/// A `seq` outside the window fills a gap inside it and changes nothing else.
impl SeqVisitor for Tally {
    fn visit(&mut self, seq: u64, _time: Timestamp) {
        let sequence = sequence_of(seq);
        let fits = |epoch: &EpochTally| (epoch.first..=epoch.last).contains(&sequence);
        if self.epochs.get(&epoch_of(seq)).is_some_and(fits) && self.has_room_for(seq) {
            let Some(epoch) = self.epochs.get_mut(&epoch_of(seq)) else { return };
            let (word, bit) = bit_of(sequence);
            epoch.page(sequence).seen[word] |= bit;
        }
    }
}

impl EpochTally {
    fn page(&mut self, sequence: u64) -> &mut Page {
        let new = || Box::new(Page { seen: [0; PAGE_WORDS], duplicates: None });
        self.pages.entry(sequence / PAGE_SEQUENCES).or_insert_with(new)
    }

    /// Returns the numbers of distinct, missing and duplicate sequences.
    fn totals(&self) -> (u64, u64, u64) {
        let n_seen = self.pages.values().map(|page| count(&page.seen)).sum();
        let n_duplicates = self.pages.values().filter_map(|page| page.duplicates.as_deref()).map(count).sum();
        (n_seen, self.last - self.first + 1 - n_seen, n_duplicates)
    }

    fn findings(&self, epoch: u64) -> EpochFindings {
        let (n_seen, n_missing, n_duplicates) = self.totals();
        let missing = if n_missing > 0 { self.missing().take(MAX_LISTED).collect() } else { Vec::new() };
        let duplicates = self.sequences(|page| page.duplicates.as_deref()).take(MAX_LISTED);
        EpochFindings {
            epoch,
            points: self.points,
            first: self.first,
            last: self.last,
            n_seen,
            n_missing,
            n_duplicates,
            missing,
            duplicates: duplicates.map(|sequence| Duplicate { sequence, times: Vec::new() }).collect(),
        }
    }

    /// Returns the missing ranges between first and last, ascending.
    fn missing(&self) -> impl Iterator<Item = Missing> {
        let mut next = self.first;
        let seen = self.sequences(|page| Some(&page.seen));
        // A replaced number may be the last one.
        seen.chain(std::iter::once(self.last + 1)).filter_map(move |sequence| {
            let from = std::mem::replace(&mut next, sequence + 1);
            (sequence > from).then(|| Missing { from, to: sequence - 1, after: None, before: None })
        })
    }

    /// Returns the sequences whose bits are set, ascending.
    fn sequences<'a>(&'a self, bits: fn(&'a Page) -> Option<&'a Bits>) -> impl Iterator<Item = u64> + 'a {
        let pages = self.pages.iter().filter_map(move |(page, content)| Some((page * PAGE_SEQUENCES, bits(content)?)));
        pages.flat_map(|(start, bits)| {
            let set = |index: &u64| {
                let (word, bit) = bit_of(*index);
                bits[word] & bit != 0
            };
            (0..PAGE_SEQUENCES).filter(set).map(move |index| start + index)
        })
    }
}

impl Page {
    fn see(&mut self, sequence: u64) {
        let (word, bit) = bit_of(sequence);
        if self.seen[word] & bit != 0 {
            self.duplicates.get_or_insert_with(|| Box::new([0; PAGE_WORDS]))[word] |= bit;
        }
        self.seen[word] |= bit;
    }
}

impl Missing {
    /// Returns the sequences before and after the range, as far as the epoch has them.
    fn neighbours(&self) -> [Option<u64>; 2] {
        [self.from.checked_sub(1), Some(self.to + 1).filter(|next| *next < SEQUENCES_PER_EPOCH)]
    }
}

impl EpochFindings {
    /// Selects the `seq`s whose times matter: those next to missing ranges, and duplicates.
    pub fn seq_times(&self) -> SeqTimes {
        let beside = self.missing.iter().flat_map(Missing::neighbours).flatten();
        let duplicates = self.duplicates.iter().map(|duplicate| duplicate.sequence);
        SeqTimes::new(beside.chain(duplicates).map(|sequence| seq_of(self.epoch, sequence)))
    }

    /// Fills in the times that were found.
    pub fn locate(&mut self, times: &SeqTimes) {
        let time = |sequence| times.times(seq_of(self.epoch, sequence)).first().copied();
        for missing in &mut self.missing {
            [missing.after, missing.before] = missing.neighbours().map(|sequence| time(sequence?));
        }
        for duplicate in &mut self.duplicates {
            duplicate.times = times.times(seq_of(self.epoch, duplicate.sequence)).to_vec();
        }
    }
}

/// Returns word and bit of a sequence in its page.
fn bit_of(sequence: u64) -> (usize, u64) {
    let index = sequence % PAGE_SEQUENCES;
    ((index / 64) as usize, 1 << (index % 64))
}

fn count(bits: &Bits) -> u64 {
    bits.iter().map(|word| u64::from(word.count_ones())).sum()
}
