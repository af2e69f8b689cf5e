//! Outcome of a command, and the exit code it becomes.

use std::process::ExitCode;

/// Not found, or unhealthy.
const NOT_GOOD: u8 = 1;
/// Invalid input, or an error.
const ERROR: u8 = 2;
/// 128 + SIGINT, as shells report it.
pub(crate) const INTERRUPTED: i32 = 130;

/// The way a command ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// A valid result, but a negative one: not found, or unhealthy.
    NotGood,
    /// A second Ctrl-C: ended at once, whatever was under way.
    Forced,
}

impl Outcome {
    /// Returns the exit code; `None` for a forced end, which must not wait for anything.
    pub(crate) fn exit_code(self) -> Option<ExitCode> {
        match self {
            Self::Good => Some(ExitCode::SUCCESS),
            Self::NotGood => Some(ExitCode::from(NOT_GOOD)),
            Self::Forced => None,
        }
    }
}

/// Exit code of a command that failed.
pub(crate) fn error_code() -> ExitCode {
    ExitCode::from(ERROR)
}
