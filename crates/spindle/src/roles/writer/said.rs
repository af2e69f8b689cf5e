//! How often a line of the log is written about something that each message can cause: one sender that sends nothing
//! but rubbish must not fill the disk with words about it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines in a [`SPAN`].
const MAX_LINES: u32 = 5;
const SPAN: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Said(Mutex<State>);

#[derive(Default)]
struct State {
    began: Option<Instant>,
    n_lines: u32,
    n_unsaid: u64,
}

impl Said {
    /// Whether a line may be written now, and how many were left out before it.
    pub(super) fn may_say(&self) -> Option<u64> {
        let state = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.began.is_none_or(|began| began.elapsed() >= SPAN) {
            (state.began, state.n_lines) = (Some(Instant::now()), 0);
        }
        if state.n_lines == MAX_LINES {
            state.n_unsaid += 1;
            return None;
        }
        state.n_lines += 1;
        Some(std::mem::take(&mut state.n_unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_lines_are_written_and_then_how_many_were_not() {
        let said = Said::default();
        for _ in 0..MAX_LINES {
            assert_eq!(said.may_say(), Some(0));
        }
        for _ in 0..41 {
            assert_eq!(said.may_say(), None);
        }
        tokio::time::advance(SPAN).await;
        assert_eq!((said.may_say(), said.may_say()), (Some(41), Some(0)));
    }
}
