//! Log of entries that the server refuses beside the data, at a limit of series for example.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use spindle_core::log_limit::LogLimit;
use tracing::warn;

use crate::Refused;

/// At most one line of a kind in this time: every batch can cause one.
const PERIOD: Duration = Duration::from_secs(10);

/// Limits of the lines, by the kind of entries.
#[derive(Debug, Default)]
pub(super) struct IndexLog(Mutex<BTreeMap<&'static str, LogLimit<Instant>>>);

impl IndexLog {
    fn allow(&self, kind: &'static str) -> Option<u64> {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        limits.entry(kind).or_insert_with(|| LogLimit::new(1, PERIOD)).allow(Instant::now())
    }

    /// Logs refused entries of a kind. The data that they belong to is stored.
    pub(super) fn warn_of_refused<T>(&self, kind: &'static str, refused: &[Refused<T>]) {
        if let Some(Refused { message, .. }) = refused.first()
            && let Some(n_suppressed) = self.allow(kind)
        {
            let n_refused = refused.len();
            warn!(kind, message, n_refused, n_suppressed, "InfluxDB refused entries beside the data, which it stored");
        }
    }
}
