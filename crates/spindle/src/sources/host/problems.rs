//! Problems while sampling a machine, counted by kind, so that a log line can include the number of suppressed ones.

use std::collections::BTreeMap;
use std::path::Path;

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
    /// Monotonic counters decreased: they wrapped around, or the disk was replaced.
    CountersFell,
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
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Its kind.
    pub(crate) kind: ProblemKind,
    /// Cause and place.
    pub(crate) message: String,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, message: String) -> Self {
        Self { kind, message }
    }

    pub(super) fn unreadable(path: &Path, error: impl std::fmt::Display) -> Self {
        Self::new(ProblemKind::Unreadable, format!("cannot read {}: {error}", path.display()))
    }

    pub(super) fn unparsable(path: &Path, content: &str, expected: &str) -> Self {
        let excerpt: String = content.trim().chars().take(60).collect();
        Self::new(ProblemKind::Unparsable, format!("{} contains '{excerpt}': expected {expected}", path.display()))
    }
}

/// Numbers of problems, with the newest message of each kind. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    by_kind: BTreeMap<ProblemKind, (u64, String)>,
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

    pub(super) fn note(&mut self, problem: Problem) {
        let (n_problems, message) = self.by_kind.entry(problem.kind).or_default();
        *n_problems += 1;
        *message = problem.message;
    }
}
