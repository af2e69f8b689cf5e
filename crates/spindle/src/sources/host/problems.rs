//! Problems while sampling a machine: counted by kind, and named once a day per subject, so that every bad disk
//! appears in the log and none fills it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Time after which a problem that persists is named again.
const NAMED_AGAIN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Most subjects remembered as named; beyond it, all are forgotten and named again.
const MAX_NAMED: usize = 4096;
/// Most lines waiting for the log; further ones are only counted.
const MAX_LINES: usize = 256;

/// Kind of problem. [`ProblemKind::as_str`] is its stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProblemKind {
    /// A file or file system could not be read: the device vanished, or does not respond.
    Unreadable,
    /// The content of a file is malformed.
    Unparsable,
    /// A value is outside the range in the metric table.
    OutOfRange,
    /// The name of a device is not a valid device name.
    BadName,
    /// The machine has no visible disk. Counted once, not with every sample.
    NoDisk,
    /// Monotonic counters decreased: the disk was reset or replaced.
    CountersFell,
    /// The kernel does not keep a counter, so metrics are absent. Counted once per device.
    NotKept,
    /// A serial number or WWN that does not identify a drive. Counted once per disk.
    NotUnique,
    /// A block device or mount that is not storage of this machine. Counted once.
    LeftOut,
    /// The register of devices could not be read or written.
    Register,
    /// A program that a source needs is missing or does not work.
    NoProgram,
    /// The rights of this process do not suffice.
    NoRights,
    /// A drive did not answer in time.
    NoAnswer,
}

impl ProblemKind {
    /// Returns the name for metrics and filters.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unparsable => "unparsable",
            Self::OutOfRange => "out_of_range",
            Self::BadName => "bad_name",
            Self::NoDisk => "no_disk",
            Self::CountersFell => "counters_fell",
            Self::NotKept => "not_kept",
            Self::NotUnique => "not_unique",
            Self::LeftOut => "left_out",
            Self::Register => "register",
            Self::NoProgram => "no_program",
            Self::NoRights => "no_rights",
            Self::NoAnswer => "no_answer",
        }
    }

    /// Returns true for a property of the machine that needs no action.
    pub(crate) fn is_notice(self) -> bool {
        matches!(self, Self::NotKept | Self::NotUnique | Self::LeftOut)
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Its kind.
    pub(crate) kind: ProblemKind,
    /// Cause and place.
    pub(crate) message: String,
    /// Device or file; the log names each once a day.
    subject: String,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, subject: impl Into<String>, message: String) -> Self {
        Self { kind, message, subject: subject.into() }
    }

    pub(super) fn unreadable(path: &Path, error: impl std::fmt::Display) -> Self {
        let place = path.display().to_string();
        let message = format!("cannot read {place}: {error}");
        Self::new(ProblemKind::Unreadable, place, message)
    }

    pub(super) fn unparsable(path: &Path, content: &str, expected: &str) -> Self {
        let excerpt: String = content.trim().chars().take(60).collect();
        let place = path.display().to_string();
        let message = format!("{place} contains '{excerpt}': expected {expected}");
        Self::new(ProblemKind::Unparsable, place, message)
    }
}

/// Numbers of problems, with the newest message of each kind. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    by_kind: BTreeMap<ProblemKind, (u64, String)>,
    /// Subjects that the log has named, with the time.
    named: BTreeMap<(ProblemKind, String), Duration>,
    lines: Vec<(ProblemKind, String)>,
    uptime: Duration,
}

impl Problems {
    /// Returns the number of problems of all kinds.
    pub(crate) fn n_total(&self) -> u64 {
        self.by_kind.values().map(|(n_problems, _)| n_problems).sum()
    }

    /// Iterates over the kinds that occurred: number and newest message.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProblemKind, u64, &str)> {
        self.by_kind.iter().map(|(kind, (n_problems, message))| (*kind, *n_problems, message.as_str()))
    }

    /// Takes the messages for the log: those of subjects that it has not named within a day.
    pub(crate) fn take_lines(&mut self) -> Vec<(ProblemKind, String)> {
        std::mem::take(&mut self.lines)
    }

    /// Sets the time of the following problems, on a monotonic clock.
    pub(crate) fn set_time(&mut self, uptime: Duration) {
        self.uptime = uptime;
    }

    /// Counts a problem, and names its subject unless that was done within a day.
    pub(crate) fn note(&mut self, problem: Problem) {
        let Problem { kind, message, subject } = problem;
        let (n_problems, newest) = self.by_kind.entry(kind).or_default();
        *n_problems += 1;
        newest.clone_from(&message);
        if self.named.len() >= MAX_NAMED {
            self.named.clear();
        }
        let uptime = self.uptime;
        let mut is_due = false;
        let last = self.named.entry((kind, subject)).or_insert_with(|| {
            is_due = true;
            uptime
        });
        if is_due || uptime.saturating_sub(*last) >= NAMED_AGAIN_AFTER {
            *last = uptime;
            if self.lines.len() < MAX_LINES {
                self.lines.push((kind, message));
            }
        }
    }

    /// Counts and names a problem once per subject.
    pub(crate) fn note_once(&mut self, problem: Problem) {
        if !self.named.contains_key(&(problem.kind, problem.subject.clone())) {
            self.note(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_named_once_a_day_and_always_counted() {
        let mut problems = Problems::default();
        let bad = |name: &str| Problem::unreadable(Path::new(name), "gone");
        for hour in 0..24 {
            problems.set_time(Duration::from_secs(3600 * hour));
            problems.note(bad("/sys/block/sda/stat"));
            problems.note(bad("/sys/block/sdb/stat"));
        }
        let lines: Vec<_> = problems.take_lines().into_iter().map(|(_, message)| message).collect();
        assert_eq!(lines, ["cannot read /sys/block/sda/stat: gone", "cannot read /sys/block/sdb/stat: gone"]);
        assert_eq!(problems.n_total(), 48);
        problems.set_time(NAMED_AGAIN_AFTER);
        problems.note(bad("/sys/block/sda/stat"));
        assert_eq!(problems.take_lines().len(), 1);
        for _ in 0..3 {
            problems.note_once(Problem::new(ProblemKind::NotKept, "sda", "no time counters".into()));
        }
        assert_eq!((problems.n_total(), problems.take_lines().len()), (50, 1));
    }
}
