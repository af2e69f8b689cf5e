//! The log limiter of `spindle-core` behind a lock: a sender of rubbish must not fill the disk with log lines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use spindle_core::log_limit::LogLimit;
use tokio::time::Instant;

/// Allows a number of log lines in a period; shared by reference.
#[derive(Debug)]
pub(crate) struct LogLimiter(Mutex<LogLimit<Instant>>);

impl LogLimiter {
    pub(crate) const fn new(max_lines: u32, period: Duration) -> Self {
        Self(Mutex::new(LogLimit::new(max_lines, period)))
    }

    /// The number of lines suppressed since the last one, if a line may be written now.
    pub(crate) fn allow(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now())
    }
}
