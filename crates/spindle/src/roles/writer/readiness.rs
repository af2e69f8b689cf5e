//! Whether the writer can do its work, and what keeps it from it: for `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A message whose dead letter could not be kept comes again within the `ack_wait` of its consumer. If it does not,
/// it is gone (removed by hand, or taken by another writer), and no longer our trouble.
const LETTERS_FORGOTTEN_AFTER: Duration = Duration::from_secs(90);
/// Enough of the words for a line on a page.
const MAX_WORDS: usize = 400;

/// What keeps a lane from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// The store takes no writes.
    Store,
    /// Dead letters cannot be kept.
    DeadLetters,
}

/// Whether the writer can store. A clone is a handle to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_at_work: bool,
    /// By stream: since when, and in which words.
    troubles: BTreeMap<(&'static str, Trouble), (Instant, String)>,
}

impl Readiness {
    pub(super) fn set_at_work(&self, is_at_work: bool) {
        self.state().is_at_work = is_at_work;
    }

    pub(super) fn trouble(&self, stream: &'static str, trouble: Trouble, words: &str) {
        let words = words.chars().take(MAX_WORDS).collect();
        self.state().troubles.insert((stream, trouble), (Instant::now(), words));
    }

    pub(super) fn mended(&self, stream: &'static str, trouble: Trouble) {
        self.state().troubles.remove(&(stream, trouble));
    }

    pub(super) fn is_ready(&self) -> bool {
        self.missing().is_none()
    }

    /// What is missing, in words; `None` when all is well.
    pub(crate) fn missing(&self) -> Option<String> {
        let mut state = self.state();
        state.troubles.retain(|(_, trouble), (at, _)| match trouble {
            Trouble::Store => true,
            Trouble::DeadLetters => at.elapsed() < LETTERS_FORGOTTEN_AFTER,
        });
        if !state.is_at_work {
            return Some("the writer is not at work".to_owned());
        }
        // The worst of them is enough: both lanes meet the same store.
        let ((_, trouble), (_, words)) = state.troubles.iter().min_by_key(|((_, trouble), _)| *trouble)?;
        Some(match trouble {
            Trouble::Store => format!("the writer cannot store: {words}"),
            Trouble::DeadLetters => format!("the writer cannot keep dead letters: {words}"),
        })
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
        assert_eq!(readiness.missing().unwrap(), "the writer is not at work");
        readiness.set_at_work(true);
        assert!(readiness.is_ready());
        readiness.trouble("METRICS", Trouble::Store, "the disk is full");
        readiness.trouble("EVENTS", Trouble::Store, "the disk is full");
        readiness.mended("EVENTS", Trouble::Store);
        assert_eq!(readiness.missing().unwrap(), "the writer cannot store: the disk is full");
        readiness.mended("METRICS", Trouble::Store);
        assert!(readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_letter_that_never_comes_again_is_forgotten() {
        let readiness = Readiness::default();
        readiness.set_at_work(true);
        readiness.trouble("METRICS", Trouble::DeadLetters, "the stream is full");
        tokio::time::advance(LETTERS_FORGOTTEN_AFTER - Duration::from_secs(1)).await;
        assert_eq!(readiness.missing().unwrap(), "the writer cannot keep dead letters: the stream is full");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(readiness.is_ready());
    }
}
