//! What goes wrong while looking at a machine: counted by kind, so that whoever logs it can say how much
//! was held back.

use std::collections::BTreeMap;
use std::path::Path;

/// A kind of trouble. [`ProblemKind::as_str`] is its stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProblemKind {
    /// A file or file system could not be read: the device went away, or does not answer.
    Unreadable,
    /// A file was read, and makes no sense.
    Unparsable,
    /// A value that the metric table calls impossible.
    OutOfRange,
    /// What the device is called cannot be a device's name.
    BadName,
    /// The machine shows no disk, so that there is little to say. Noted once, not with every sample.
    NoDisk,
    /// Counters that only rise have fallen: they wrapped around, or the disk is another one.
    CountersFell,
}

impl ProblemKind {
    /// The word for counters and filters.
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

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What kind it is.
    pub(crate) kind: ProblemKind,
    /// What was wrong, and where.
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
        let shown: String = content.trim().chars().take(60).collect();
        Self::new(ProblemKind::Unparsable, format!("{} holds '{shown}': expected {expected}", path.display()))
    }
}

/// Counts of what went wrong, with the newest message of each kind. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems {
    by_kind: BTreeMap<ProblemKind, (u64, String)>,
}

impl Problems {
    /// How many there were of all kinds.
    pub(crate) fn n_total(&self) -> u64 {
        self.by_kind.values().map(|(n_problems, _)| n_problems).sum()
    }

    /// Each kind that there was: how often, and the newest message.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProblemKind, u64, &str)> {
        self.by_kind.iter().map(|(kind, (n_problems, message))| (*kind, *n_problems, message.as_str()))
    }

    pub(super) fn note(&mut self, problem: Problem) {
        let (n_problems, message) = self.by_kind.entry(problem.kind).or_default();
        *n_problems += 1;
        *message = problem.message;
    }
}
