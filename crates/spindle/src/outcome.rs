//! Outcome of a command, and the exit code it becomes.

use std::process::ExitCode;

/// Not found, or unhealthy.
const NOT_GOOD: u8 = 1;
/// Invalid input, or an error.
const ERROR: u8 = 2;
/// 128 + SIGINT, as shells report it.
const INTERRUPTED: i32 = 130;

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
    /// Returns the exit code; a forced end exits right here, because threads blocked on a disk or a socket must not
    /// keep the process alive.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Good => ExitCode::SUCCESS,
            Self::NotGood => ExitCode::from(NOT_GOOD),
            Self::Forced => std::process::exit(INTERRUPTED),
        }
    }
}

/// Exit code of a command that failed.
pub(crate) fn error_code() -> ExitCode {
    ExitCode::from(ERROR)
}
