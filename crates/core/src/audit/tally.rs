//! Counting the numbers of one device in a window: a bit for each number, in pages that exist only where
//! numbers do. A million numbers take 0.13 MB; what a device may take at most is [`MAX_PAGES`].

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Serialize;

use super::{SeqTimes, SeqVisitor, epoch_of, number_of, seq_of};
use crate::timestamp::Timestamp;

const PAGE_WORDS: usize = 64;
/// Numbers in one page.
const PAGE_NUMBERS: u64 = PAGE_WORDS as u64 * 64;
/// Most pages of one device, 4 MiB and as much again if everything is doubled: 33 million numbers in a row, which is
/// more than a question may take time for. Numbers that are no counter (hashes, times) fill it sooner: then
/// the tally says so and judges nothing.
const MAX_PAGES: usize = 8192;

/// Most missing ranges, doubled numbers and runs that are listed, each; totals count all.
pub const MAX_LISTED: usize = 20;

type Bits = [u64; PAGE_WORDS];

/// What a stored point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// A value of a metric.
    Metric,
    /// An event.
    Event,
}

/// What the points of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Points {
    /// Values of metrics only.
    Metrics,
    /// Events only.
    Events,
    /// Both.
    Both,
}

/// The numbers of one device in a window.
#[derive(Debug, Default)]
pub struct Tally {
    runs: BTreeMap<u64, Run>,
    n_points: u64,
    n_without_number: u64,
    n_pages: usize,
    overflowed: bool,
}

/// A run in which numbers are missing or doubled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochFindings {
    /// The run, see [`super`].
    pub run: u64,
    /// What its points are.
    pub points: Points,
    /// Smallest number seen in the window.
    pub first: u64,
    /// Largest number seen in the window.
    pub last: u64,
    /// Different numbers from first to last that are stored.
    pub n_seen: u64,
    /// Numbers between first and last that are not stored.
    pub n_missing: u64,
    /// Numbers that more than one stored point has.
    pub n_doubled: u64,
    /// The missing ones, the first [`MAX_LISTED`] ranges.
    pub missing: Vec<Missing>,
    /// The doubled ones, the first [`MAX_LISTED`].
    pub doubled: Vec<Duplicate>,
}

/// Numbers in a row that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// Time of the point with the number before.
    pub after: Option<Timestamp>,
    /// Time of the point with the number behind.
    pub before: Option<Timestamp>,
}

/// A number that more than one stored point has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The number.
    pub number: u64,
    /// Times of two of the points.
    pub times: Vec<Timestamp>,
}

#[derive(Debug)]
struct Run {
    first: u64,
    last: u64,
    points: Points,
    /// By number divided by [`PAGE_NUMBERS`].
    pages: BTreeMap<u64, Box<Page>>,
}

#[derive(Debug)]
struct Page {
    seen: Bits,
    /// Most pages have none.
    doubled: Option<Box<Bits>>,
}

impl Tally {
    /// Counts a point in the window.
    pub fn see(&mut self, kind: PointKind, seq: Option<u64>) {
        self.n_points = self.n_points.saturating_add(1);
        let Some(seq) = seq else {
            self.n_without_number = self.n_without_number.saturating_add(1);
            return;
        };
        let points = match kind {
            PointKind::Metric => Points::Metrics,
            PointKind::Event => Points::Events,
        };
        let number = number_of(seq);
        if !self.has_room_for(seq) {
            return;
        }
        let new = || Run { first: number, last: number, points, pages: BTreeMap::new() };
        let run = self.runs.entry(epoch_of(seq)).or_insert_with(new);
        run.first = run.first.min(number);
        run.last = run.last.max(number);
        if run.points != points {
            run.points = Points::Both;
        }
        run.page(number).see(number);
    }

    /// Counts points that are known to have no number; [`Self::see`] does not count them again.
    pub fn see_without_number(&mut self, n_points: u64) {
        self.n_points = self.n_points.saturating_add(n_points);
        self.n_without_number = self.n_without_number.saturating_add(n_points);
    }

    /// Points in the window.
    pub fn n_points(&self) -> u64 {
        self.n_points
    }

    /// Of these, those without a number.
    pub fn n_without_number(&self) -> u64 {
        self.n_without_number
    }

    /// Runs in the window.
    pub fn n_runs(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Of these, runs of such points.
    pub fn n_runs_of(&self, points: Points) -> u64 {
        self.runs.values().filter(|run| run.points == points).count() as u64
    }

    /// Whether the numbers were too many, or too far apart, to be counted. Then nothing else of them counts.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Different numbers, missing numbers and doubled numbers, over all runs.
    pub fn totals(&self) -> (u64, u64, u64) {
        let totals = self.runs.values().map(Run::totals);
        totals.fold((0, 0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1, sum.2 + of.2))
    }

    /// From the first missing `seq` to the last. One that is found outside the window is to be
    /// [heard](SeqVisitor::visit) here.
    pub fn gaps(&self) -> Option<RangeInclusive<u64>> {
        let mut with_gaps = self.runs.iter().filter(|(_, run)| run.totals().1 > 0);
        let first = with_gaps.next()?;
        let last = with_gaps.next_back().unwrap_or(first);
        let from = first.1.missing().next()?.from;
        let to = last.1.missing().last()?.to;
        Some(seq_of(*first.0, from)..=seq_of(*last.0, to))
    }

    /// The runs with missing or doubled numbers, the first [`MAX_LISTED`].
    pub fn findings(&self) -> Vec<EpochFindings> {
        let runs = self.runs.iter().filter(|(_, run)| {
            let (_, n_missing, n_doubled) = run.totals();
            n_missing + n_doubled > 0
        });
        runs.take(MAX_LISTED).map(|(name, run)| run.findings(*name)).collect()
    }

    /// Whether there is a page for it, or room for another one.
    fn has_room_for(&mut self, seq: u64) -> bool {
        let page = number_of(seq) / PAGE_NUMBERS;
        if self.runs.get(&epoch_of(seq)).is_some_and(|run| run.pages.contains_key(&page)) {
            return true;
        }
        self.overflowed |= self.n_pages >= MAX_PAGES;
        self.n_pages += usize::from(!self.overflowed);
        !self.overflowed
    }
}

/// A number outside the window fills a gap within, and changes nothing else.
impl SeqVisitor for Tally {
    fn visit(&mut self, seq: u64, _time: Timestamp) {
        let number = number_of(seq);
        let fits = |run: &Run| (run.first..=run.last).contains(&number);
        if self.runs.get(&epoch_of(seq)).is_some_and(fits) && self.has_room_for(seq) {
            let Some(run) = self.runs.get_mut(&epoch_of(seq)) else { return };
            let (word, bit) = place(number);
            run.page(number).seen[word] |= bit;
        }
    }
}

impl Run {
    fn page(&mut self, number: u64) -> &mut Page {
        let new = || Box::new(Page { seen: [0; PAGE_WORDS], doubled: None });
        self.pages.entry(number / PAGE_NUMBERS).or_insert_with(new)
    }

    /// Different numbers, missing ones, doubled ones.
    fn totals(&self) -> (u64, u64, u64) {
        let n_seen = self.pages.values().map(|page| count(&page.seen)).sum();
        let n_doubled = self.pages.values().filter_map(|page| page.doubled.as_deref()).map(count).sum();
        (n_seen, self.last - self.first + 1 - n_seen, n_doubled)
    }

    fn findings(&self, run: u64) -> EpochFindings {
        let (n_seen, n_missing, n_doubled) = self.totals();
        let missing = if n_missing > 0 { self.missing().take(MAX_LISTED).collect() } else { Vec::new() };
        let doubled = self.numbers(|page| page.doubled.as_deref()).take(MAX_LISTED);
        EpochFindings {
            run,
            points: self.points,
            first: self.first,
            last: self.last,
            n_seen,
            n_missing,
            n_doubled,
            missing,
            doubled: doubled.map(|number| Duplicate { number, times: Vec::new() }).collect(),
        }
    }

    /// What is missing between first and last, ascending.
    fn missing(&self) -> impl Iterator<Item = Missing> {
        let mut next = self.first;
        self.numbers(|page| Some(&page.seen)).filter_map(move |number| {
            let from = std::mem::replace(&mut next, number + 1);
            (number > from).then(|| Missing { from, to: number - 1, after: None, before: None })
        })
    }

    /// The numbers whose bits are set, ascending.
    fn numbers<'a>(&'a self, bits: fn(&'a Page) -> Option<&'a Bits>) -> impl Iterator<Item = u64> + 'a {
        let pages = self.pages.iter().filter_map(move |(page, content)| Some((page * PAGE_NUMBERS, bits(content)?)));
        pages.flat_map(|(start, bits)| {
            let set = |index: &u64| {
                let (word, bit) = place(*index);
                bits[word] & bit != 0
            };
            (0..PAGE_NUMBERS).filter(set).map(move |index| start + index)
        })
    }
}

impl Page {
    fn see(&mut self, number: u64) {
        let (word, bit) = place(number);
        if self.seen[word] & bit != 0 {
            self.doubled.get_or_insert_with(|| Box::new([0; PAGE_WORDS]))[word] |= bit;
        }
        self.seen[word] |= bit;
    }
}

impl EpochFindings {
    /// The `seq`s of which the times are worth knowing: those beside what is missing, and those doubled.
    pub fn places(&self) -> SeqTimes {
        let beside = self.missing.iter().flat_map(|missing| [missing.from - 1, missing.to + 1]);
        let doubled = self.doubled.iter().map(|doubled| doubled.number);
        SeqTimes::new(beside.chain(doubled).map(|number| seq_of(self.run, number)))
    }

    /// Takes over the times that were found.
    pub fn locate(&mut self, places: &SeqTimes) {
        let time = |number| places.times(seq_of(self.run, number)).first().copied();
        for missing in &mut self.missing {
            (missing.after, missing.before) = (time(missing.from - 1), time(missing.to + 1));
        }
        for doubled in &mut self.doubled {
            doubled.times = places.times(seq_of(self.run, doubled.number)).to_vec();
        }
    }
}

/// Word and bit of a number in its page.
fn place(number: u64) -> (usize, u64) {
    let index = number % PAGE_NUMBERS;
    ((index / 64) as usize, 1 << (index % 64))
}

fn count(bits: &Bits) -> u64 {
    bits.iter().map(|word| u64::from(word.count_ones())).sum()
}
