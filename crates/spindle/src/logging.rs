//! Logging to stderr; stdout is for data. A log line never waits for stderr: see [`LineQueue`].

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::time::Duration;

use anyhow::Context;
use tracing::{error, warn};

use crate::line_queue::LineQueue;
use crate::log_limit::LogLimiter;
use crate::metrics::LOG_LINES_DROPPED;

/// Panics to log in a period. A message that makes its decoding panic may come a thousand times a second.
static PANICS: LogLimiter = LogLimiter::new(5, Duration::from_secs(10));

/// Starts the log, filtered as `SPINDLE_LOG` asks. From now on panics are log lines too.
pub(crate) fn init(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        anyhow::anyhow!("SPINDLE_LOG = '{filter}': {error}: expected a level such as info or debug")
    })?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let report = |n_dropped| warn!(n_dropped, "log lines dropped, standard error was not drained");
    let queue =
        LineQueue::start(std::io::stderr(), LOG_LINES_DROPPED.clone(), report).context("cannot start the log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || queue.clone())
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Rust's own hook writes some lines to stderr, and waits for it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let Some(n_suppressed) = PANICS.allow() else { return };
    let error = crate::output::safe(panic.payload_as_str().unwrap_or("unknown panic"));
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => error!(error, place, n_suppressed, %backtrace, "panicked"),
        _ => error!(error, place, n_suppressed, "panicked"),
    }
}

/// An error with all its causes in one line, for the field `error`.
pub(crate) fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
