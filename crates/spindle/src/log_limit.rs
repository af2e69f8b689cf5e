//! The log limiter of `spindle-core` on the process's clock. One sender of rubbish must not fill the disk with log lines.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Allows a number of log lines in a period. Shared by reference.
#[derive(Debug)]
pub(crate) struct LogLimit {
    limit: Mutex<spindle_core::log_limit::LogLimit>,
    began: Instant,
}

impl LogLimit {
    pub(crate) fn new(n_lines: u32, period: Duration) -> Self {
        Self { limit: Mutex::new(spindle_core::log_limit::LogLimit::new(n_lines, period)), began: Instant::now() }
    }

    /// The number of lines suppressed since the last one, if a line may be written now.
    pub(crate) fn allow(&self) -> Option<u64> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner).allow(self.began.elapsed())
    }
}
