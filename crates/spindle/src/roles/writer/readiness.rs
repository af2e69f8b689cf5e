//! The writer's readiness and its reasons, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A deferred message is redelivered within this time. If it is not, it is gone (removed by an
/// operator, or taken by another writer), and so is the problem.
const DEFERRED_EXPIRE: Duration = Duration::from_secs(90);
/// Enough of a message for a line on a page.
const MAX_CHARS: usize = 400;

/// A problem of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Problem {
    /// The clocks of this machine, NATS and the store disagree.
    Clocks,
    /// The store takes no writes.
    Store,
    /// Messages cannot be fetched.
    Fetch,
    /// The stream loses messages, or is gone.
    Configuration,
    /// The stream is full and refuses messages.
    Full,
    /// Dead letters cannot be kept.
    DeadLetters,
    /// The store keeps a part of the messages out, which are deferred.
    Deferred,
    /// The store refuses entries of the index of arrivals.
    Index,
}

/// Readiness of the writer. A clone is a handle to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// When each was last reported, with its message.
    problems: BTreeMap<(&'static str, Problem), (Instant, String)>,
}

impl Readiness {
    pub(super) fn set_running(&self, is_running: bool) {
        self.state().is_running = is_running;
    }

    /// Keeps a problem; returns `true` if it is new.
    pub(super) fn report(&self, stream: &'static str, problem: Problem, message: &str) -> bool {
        let message = message.chars().take(MAX_CHARS).collect();
        self.state().problems.insert((stream, problem), (Instant::now(), message)).is_none()
    }

    /// Removes a problem; returns `true` if there was one.
    pub(super) fn clear(&self, stream: &'static str, problem: Problem) -> bool {
        self.state().problems.remove(&(stream, problem)).is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.missing().is_none()
    }

    /// Why the writer is not ready; `None` if it is.
    pub(crate) fn missing(&self) -> Option<String> {
        let mut state = self.state();
        state.problems.retain(|(_, problem), (at, _)| match problem {
            Problem::Clocks | Problem::Store | Problem::Fetch | Problem::Configuration | Problem::Full => true,
            Problem::DeadLetters | Problem::Deferred | Problem::Index => at.elapsed() < DEFERRED_EXPIRE,
        });
        if !state.is_running {
            return Some("the writer is not running".to_owned());
        }
        let mut problems: Vec<_> = state.problems.iter().collect();
        problems.sort_by_key(|((_, problem), _)| *problem);
        let mut lines: Vec<String> = problems
            .into_iter()
            .map(|((_, problem), (_, message))| match problem {
                Problem::Store => format!("the writer cannot store: {message}"),
                Problem::Fetch => format!("the writer cannot fetch messages: {message}"),
                Problem::Clocks | Problem::Configuration | Problem::Full => message.clone(),
                Problem::DeadLetters => format!("the writer cannot keep dead letters: {message}"),
                Problem::Deferred => {
                    format!("the store keeps messages out, which are deferred; others pass: {message}")
                }
                Problem::Index => format!(
                    "events are stored that queries by arrival do not find, because InfluxDB refuses their entries in the index: {message}; correct that, then restart the writer, which completes the index"
                ),
            })
            .collect();
        // Both lanes share the store.
        lines.dedup();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_lane_that_stores_does_not_hide_the_trouble_of_the_other() {
        let readiness = Readiness::default();
        assert_eq!(readiness.missing().unwrap(), "the writer is not running");
        readiness.set_running(true);
        assert!(readiness.is_ready());
        readiness.report("METRICS", Problem::Store, "the disk is full");
        readiness.report("EVENTS", Problem::Store, "the disk is full");
        readiness.clear("EVENTS", Problem::Store);
        assert_eq!(readiness.missing().unwrap(), "the writer cannot store: the disk is full");
        readiness.clear("METRICS", Problem::Store);
        assert!(readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn every_problem_is_named_once_and_the_worst_first() {
        let readiness = Readiness::default();
        readiness.set_running(true);
        readiness.report("METRICS", Problem::Full, "stream METRICS is full");
        for stream in ["METRICS", "EVENTS"] {
            readiness.report(stream, Problem::Store, "the disk is full");
        }
        let words = readiness.missing().unwrap();
        assert_eq!(words, "the writer cannot store: the disk is full; stream METRICS is full");
    }

    #[tokio::test(start_paused = true)]
    async fn a_letter_that_never_comes_again_is_forgotten() {
        let readiness = Readiness::default();
        readiness.set_running(true);
        readiness.report("METRICS", Problem::DeadLetters, "the stream is full");
        tokio::time::advance(DEFERRED_EXPIRE - Duration::from_secs(1)).await;
        assert_eq!(readiness.missing().unwrap(), "the writer cannot keep dead letters: the stream is full");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(readiness.is_ready());
    }
}
