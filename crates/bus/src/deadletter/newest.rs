//! The newest dead letters, from their headers alone. A consumer only reads forward, so windows before the end are read
//! until there are enough; removed dead letters leave holes of any size.

use std::collections::VecDeque;

use super::head::{DeadLetterFilter, DeadLetterHead};
use crate::connect::Bus;
use crate::error::BusError;

/// Largest window, in sequences: bounds what is read in vain behind a hole.
const MAX_WINDOW: u64 = 1 << 16;

/// Newest dead letters below a sequence, and the extent of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestDeadLetters {
    /// Messages, the newest first.
    pub heads: Vec<DeadLetterHead>,
    /// Sequence below which there may be more.
    pub next: Option<u64>,
    /// Messages in the stream.
    pub n_messages: u64,
    /// Bytes of the stream.
    pub size_bytes: u64,
}

impl Bus {
    /// Reads the newest dead letters, at most `limit`; only those below the sequence `before`, if it is given.
    ///
    /// # Errors
    /// Configuration, if the stream does not exist or a permission is missing; transient, if NATS does not answer.
    pub async fn newest_dead_letters(&self, before: Option<u64>, limit: usize) -> Result<NewestDeadLetters, BusError> {
        let state = self.dead_letter_stream().await?.cached_info().state.clone();
        let mut last = before.map_or(state.last_sequence, |before| state.last_sequence.min(before.saturating_sub(1)));
        let mut found = Vec::with_capacity(limit);
        let mut width = limit as u64;
        while found.len() < limit && state.messages > 0 && last >= state.first_sequence {
            let first = (last + 1).saturating_sub(width).max(state.first_sequence);
            let window = self.newest_between(first, last, limit - found.len()).await?;
            found.extend(window.into_iter().rev());
            (last, width) = (first - 1, (2 * width).min(MAX_WINDOW));
        }
        let next = found
            .last()
            .map(|head| head.sequence)
            .filter(|oldest| found.len() == limit && *oldest > state.first_sequence);
        Ok(NewestDeadLetters { heads: found, next, n_messages: state.messages, size_bytes: state.bytes })
    }

    /// Returns the last dead letters of a window, at most `limit`, oldest first.
    async fn newest_between(&self, first: u64, last: u64, limit: usize) -> Result<VecDeque<DeadLetterHead>, BusError> {
        let mut pages = self.dead_letters_between(DeadLetterFilter::default(), first, last);
        let mut newest = VecDeque::with_capacity(limit);
        while let Some(page) = pages.next().await? {
            for head in page {
                if newest.len() == limit {
                    newest.pop_front();
                }
                newest.push_back(head);
            }
        }
        Ok(newest)
    }
}
