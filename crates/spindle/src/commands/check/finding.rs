//! Result of one check.

use serde::Serialize;
use spindle_core::Timestamp;

use crate::clock;

/// State of what was checked, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Ok,
    /// It works, but not as well as it should.
    Warn,
    /// Something cannot work before it is remedied.
    Fail,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One row of the result.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: String,
    pub(super) state: Severity,
    pub(super) detail: String,
    /// Empty if there is nothing to remedy.
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), state: Severity::Ok, detail: detail.into(), remedy: String::new() }
    }

    pub(super) fn warn(check: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check: check.into(), state: Severity::Warn, detail: detail.into(), remedy: remedy.into() }
    }

    pub(super) fn fail(check: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check: check.into(), state: Severity::Fail, detail: detail.into(), remedy: remedy.into() }
    }
}

/// Compares the clock of this machine with that of a server, as read a moment ago.
pub(super) fn clock_finding(owner: &str, time: Timestamp) -> Finding {
    let check = format!("clock of {owner}");
    match clock::disagreement(clock::now(), &[(owner, time)]) {
        None => Finding::ok(check, "agrees with that of this machine"),
        Some(problem) => {
            let detail = format!("{problem}; the writer judges nothing by its age until they agree");
            Finding::fail(check, detail, clock::REMEDY)
        }
    }
}
