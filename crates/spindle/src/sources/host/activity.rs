//! Activity of a drive: readings of the kernel's counters, and the rates between two of them. A value that the kernel
//! does not keep is absent, never 0.
//!
//! Counters that are not kept, by the sources of Linux:
//!
//! - all of them while `queue/iostats` is 0. A driver without request queues (`mq` is absent) may count nevertheless,
//!   which shows when they move.
//! - all of them in drivers that never count: they are 0 since the disk appeared.
//! - those of a multipath NVMe disk before 6.2: its hidden paths count, and their sum stands for it.
//! - the times of md before 5.14 and of some drivers: they stay 0 while requests complete.
//! - busy time and queue of requests that hang: since 5.0 they are added when a request completes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::counters::{Counters, Difference, Field};
use super::drives::Drive;
use super::problems::{Problem, ProblemKind, Problems};
use super::sysfs::attribute;

/// Shortest interval with rates: the time counters tick in milliseconds, some in jiffies of ten.
pub(super) const MIN_INTERVAL_SECONDS: f64 = 0.1;

/// Unit of the kernel's counters, whatever the sector size of the disk.
const SECTOR_BYTES: f64 = 512.0;

/// Requests in an interval that take more than no time on any disk.
const MANY_REQUESTS: u64 = 100;

/// Counters of one block device at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    counters: Counters,
    diskseq: Option<u64>,
    /// True if the block layer counts requests.
    is_counting: bool,
    /// True if the driver's requests pass the block layer's queues.
    has_queues: bool,
}

/// Counters of a drive at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ActivitySample {
    /// Time of the sample on a monotonic clock.
    pub(super) uptime: Duration,
    /// Readings by the kernel's name: of the disk, or of each path of SCSI multipath.
    own: Vec<(String, Reading)>,
    /// Readings of hidden paths.
    hidden: Vec<(String, Reading)>,
}

/// Reads the counters of a drive, which the kernel serves from memory, without accessing the disk. A path that cannot
/// be read is noted and left out.
pub(super) fn read(drive: &Drive, uptime: Duration, problems: &mut Problems) -> ActivitySample {
    let mut read_one = |path: &Path| match reading(path, problems) {
        Ok(reading) => Some((path.file_name()?.to_string_lossy().into_owned(), reading)),
        Err(problem) => {
            problems.note(problem);
            None
        }
    };
    let own = drive.paths.iter().filter_map(|disk| read_one(&disk.path)).collect();
    let hidden = drive.paths.iter().flat_map(|disk| &disk.hidden_paths).filter_map(|path| read_one(path)).collect();
    ActivitySample { uptime, own, hidden }
}

fn reading(path: &Path, problems: &mut Problems) -> Result<Reading, Problem> {
    let stat = path.join("stat");
    let text = fs::read_to_string(&stat).map_err(|error| Problem::unreadable(&stat, error))?;
    let counters = Counters::parse(&text).ok_or_else(|| Problem::unparsable(&stat, &text, "at least 11 counters"))?;
    if counters.n_unread() > 0 {
        problems.note(Problem::unparsable(&stat, &text, "whole numbers; the odd ones are left out"));
    }
    let diskseq = attribute(path, "diskseq").and_then(|text| text.parse().ok());
    let is_counting = attribute(path, "queue/iostats").as_deref() != Some("0");
    Ok(Reading { counters, diskseq, is_counting, has_queues: path.join("mq").exists() })
}

/// Outcome of comparing two samples of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interval {
    /// Differences, as far as they are known.
    Known(Kept),
    /// The first reading of this disk, or of all its paths.
    First,
    /// Most counters fell.
    Reset,
    /// No counter has moved since the disk appeared: the driver does not count.
    NeverMoved,
    /// The block layer was told not to count.
    SwitchedOff,
}

/// Differences of the counters that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    counters: Counters,
    /// Counters that decreased.
    pub(super) n_fell: usize,
    /// True if the counters are those of several paths whose busy times may overlap.
    pub(super) overlaps: bool,
    /// Counters that are not kept, for people.
    pub(super) missing: Option<&'static str>,
}

impl ActivitySample {
    /// Compares with the previous sample. `counts_anyway` is set once counters have moved although the block layer does
    /// not count; until then, standing still means nothing.
    pub(super) fn since(&self, previous: &Self, counts_anyway: &mut bool) -> Interval {
        let own = sum(&previous.own, &self.own, counts_anyway);
        if self.hidden.is_empty() || own.is_moving() {
            return own;
        }
        // The disk itself shows nothing, so its hidden paths stand for it.
        match sum(&previous.hidden, &self.hidden, &mut false) {
            Interval::Known(hidden) => Interval::Known(hidden),
            Interval::SwitchedOff if own == Interval::NeverMoved => Interval::SwitchedOff,
            Interval::First | Interval::Reset | Interval::NeverMoved | Interval::SwitchedOff => own,
        }
    }
}

impl Interval {
    fn is_moving(&self) -> bool {
        matches!(self, Self::Known(kept) if kept.counters.requests().is_none_or(|requests| requests > 0))
    }
}

/// Adds up the differences of all readings with a previous one. A path that never moved adds nothing; one that is not
/// counted makes the sum unknown.
fn sum(previous: &[(String, Reading)], current: &[(String, Reading)], counts_anyway: &mut bool) -> Interval {
    let mut total: Option<Kept> = None;
    let mut other = Interval::First;
    for (name, reading) in current {
        let before = previous.iter().find(|(other, _)| other == name).map(|(_, before)| before);
        match before.map_or(Interval::First, |before| compare(before, reading, counts_anyway)) {
            Interval::Known(kept) => total = Some(total.map_or(kept, |sum| sum.plus(&kept))),
            outcome @ (Interval::SwitchedOff | Interval::Reset) => return outcome,
            outcome @ (Interval::First | Interval::NeverMoved) => other = outcome,
        }
    }
    total.map_or(other, Interval::Known)
}

fn compare(before: &Reading, after: &Reading, counts_anyway: &mut bool) -> Interval {
    // Another disk under the same name has another sequence number (since 5.15).
    if before.diskseq != after.diskseq {
        return Interval::First;
    }
    if before.counters.is_all_zero() && after.counters.is_all_zero() {
        return Interval::NeverMoved;
    }
    let Some(Difference { mut counters, n_fell }) = after.counters.since(&before.counters) else {
        return Interval::Reset;
    };
    let is_moving = counters.requests().is_some_and(|requests| requests > 0);
    if !(before.is_counting && after.is_counting) {
        *counts_anyway |= is_moving && !after.has_queues && !before.is_counting && !after.is_counting;
        if !*counts_anyway {
            return Interval::SwitchedOff;
        }
    }
    let missing = forget_unkept(&mut counters, &after.counters);
    Interval::Known(Kept { counters, n_fell, overlaps: false, missing })
}

/// Removes times that the kernel does not keep: those at 0 since the disk appeared although requests completed, those
/// that stood still during many requests, and those of requests that hang. Returns what was not kept, for people;
/// `None` for what passes.
fn forget_unkept(counters: &mut Counters, total: &Counters) -> Option<&'static str> {
    let has_worked = total.requests().is_some_and(|requests| requests > 0);
    let n_requests = counters.requests().unwrap_or(0);
    let never = |fields: &[Field]| has_worked && fields.iter().all(|field| total.get(*field) == Some(0));
    let times = [Field::ReadMs, Field::WriteMs];
    let (no_times, no_busy) = (never(&times), never(&[Field::BusyMs]));
    let no_queue = never(&[Field::WeightedMs]);
    let stands = |field: Field| counters.get(field) == Some(0);
    let hangs = n_requests == 0 && counters.in_flight.is_some_and(|in_flight| in_flight > 0);
    let stalled = |field: Field| stands(field) && (hangs || n_requests >= MANY_REQUESTS);
    let forget_busy = no_busy || stalled(Field::BusyMs);
    let forget_queue = no_queue || stalled(Field::WeightedMs);
    let forget_times = no_times || (n_requests >= MANY_REQUESTS && times.iter().all(|field| stands(*field)));
    if forget_times {
        times.iter().for_each(|field| counters.forget(*field));
    }
    if forget_busy {
        counters.forget(Field::BusyMs);
    }
    if forget_queue {
        counters.forget(Field::WeightedMs);
    }
    // A few fast requests may take less than the millisecond that shows.
    let is_certain = total.requests().is_some_and(|requests| requests >= MANY_REQUESTS);
    match (no_times, no_busy, no_queue) {
        _ if !is_certain => None,
        (false, false, false) => None,
        (true, true, true) => Some("Latency, Utilization and QueueDepth"),
        (true, true, false) => Some("Latency and Utilization"),
        (true, false, true) => Some("Latency and QueueDepth"),
        (true, false, false) => Some("Latency"),
        (false, true, true) => Some("Utilization and QueueDepth"),
        (false, true, false) => Some("Utilization"),
        (false, false, true) => Some("QueueDepth"),
    }
}

impl Kept {
    fn plus(&self, other: &Self) -> Self {
        let is_idle = |kept: &Self| kept.counters.get(Field::BusyMs) == Some(0);
        Self {
            counters: self.counters.plus(&other.counters),
            n_fell: self.n_fell + other.n_fell,
            overlaps: self.overlaps || !(is_idle(self) || is_idle(other)),
            missing: self.missing.or(other.missing),
        }
    }

    /// Returns the metrics of an interval of `seconds`, which is above zero; those that are not known are absent.
    pub(super) fn rates(&self, seconds: f64) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let value = |field: Field| self.counters.get(field).map(|value| value as f64);
        let interval_ms = seconds * 1e3;
        let requests = self.counters.requests().map(|requests| requests as f64);
        let request_ms = value(Field::ReadMs).zip(value(Field::WriteMs)).map(|(read, write)| read + write);
        let latency = requests.zip(request_ms).filter(|(requests, _)| *requests > 0.0);
        let busy_ms = value(Field::BusyMs).filter(|_| !self.overlaps);
        [
            ("IOPs", requests.map(|requests| requests / seconds)),
            ("ReadThroughput", value(Field::ReadSectors).map(|sectors| sectors * SECTOR_BYTES / seconds)),
            ("WriteThroughput", value(Field::WriteSectors).map(|sectors| sectors * SECTOR_BYTES / seconds)),
            // The two clocks are not in step: a busy disk may come to slightly more than 100 %.
            ("Utilization", busy_ms.map(|busy_ms| (busy_ms / interval_ms * 100.0).min(100.0))),
            ("QueueDepth", value(Field::WeightedMs).map(|weighted_ms| weighted_ms / interval_ms)),
            ("Latency", latency.map(|(requests, request_ms)| request_ms / requests)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Returns a notice that metrics of a device are absent.
pub(super) fn not_kept(device: &str, metrics: &str, cause: &str) -> Problem {
    let message = format!("{metrics} of {device} left out: the kernel does not keep the counters ({cause})");
    Problem::new(ProblemKind::NotKept, format!("{device} {metrics}"), message)
}
