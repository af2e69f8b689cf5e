//! Deferred messages: NAK with delay, for two reasons. Their dead letter cannot be kept, or the store keeps a part of
//! them out for a reason that may pass (new devices beyond a limit of the server). Meanwhile others pass. Nothing of them
//! is acknowledged, so nothing is lost, and a restart changes nothing: all of this is only a cache. Without it elements
//! are stored once more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spindle_bus::Delivery;
use spindle_store::Refusal;
use tokio::time::Instant;
use tracing::warn;

use super::WRITERS_PER_CONSUMER;
use super::readiness::{Problem, Readiness};
use crate::log_limit::LogLimiter;
use crate::logging::chain;
use crate::metrics::{WRITER_DEFERRED, WRITER_WAITING};

/// Messages that can be deferred before a lane comes to a halt: the server counts them as unacknowledged (2.15.1
/// does), and each costs it some hundred bytes. 28,000 of them made no difference to the others' rate.
pub(super) const MAX_DEFERRED: i64 = 50_000;
/// Messages that one writer defers for the store's sake. All writers of a consumer together stay below
/// [`MAX_DEFERRED`], so these messages never take the place of good ones.
const MAX_KEPT_OUT: usize = MAX_DEFERRED as usize / WRITERS_PER_CONSUMER;
/// Remaining elements that are remembered of a message; with more, all of it is written again.
const MAX_REMAINING: usize = 64;

/// The delay after the first delivery, doubled with each, up to the last. Shorter than readiness keeps the problem.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LAST_DELAY: Duration = Duration::from_secs(60);
/// The same for the store's sake: an operator who has raised the limit should not wait.
const LAST_STORE_DELAY: Duration = Duration::from_secs(20);
/// Age after which a message is forgotten: another writer has received it since, or an operator has removed it.
const EXPIRE: Duration = Duration::from_secs(180);

/// Sequence and time of publishing.
type MessageKey = (u64, i64);

pub(super) struct Deferrals {
    stream: &'static str,
    readiness: Readiness,
    state: Mutex<DeferralState>,
    log_limit: LogLimiter,
}

#[derive(Default)]
struct DeferralState {
    messages: HashMap<MessageKey, DeferredMessage>,
    /// Messages among them that the store keeps out.
    n_kept_out: usize,
    swept_at: Option<Instant>,
}

struct DeferredMessage {
    /// Elements to be written at the next delivery; `None` for all.
    remaining: Option<Vec<usize>>,
    is_kept_out: bool,
    at: Instant,
}

impl Deferrals {
    pub(super) fn new(stream: &'static str, readiness: Readiness) -> Self {
        let log_limit = LogLimiter::new(1, Duration::from_secs(10));
        Self { stream, readiness, state: Mutex::default(), log_limit }
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Returns how many more messages may be deferred for the store's sake.
    pub(super) fn room(&self) -> usize {
        let mut state = self.state();
        if state.n_kept_out >= MAX_KEPT_OUT {
            state.sweep();
        }
        MAX_KEPT_OUT.saturating_sub(state.n_kept_out)
    }

    /// Takes a message in that the store keeps out; the `remaining` elements are not stored. Returns `false` if it must
    /// not wait, because too many do.
    pub(super) fn hold(&self, delivery: &Delivery, remaining: Option<Vec<usize>>) -> bool {
        let may_wait = self.is_kept_out(delivery) || self.room() > 0;
        if may_wait {
            self.note(delivery, remaining, true);
        }
        may_wait
    }

    /// NAK with delay, because a dead letter could not be kept. `remaining` elements are not in the store.
    pub(super) async fn defer(&self, delivery: &Delivery, remaining: Option<Vec<usize>>) {
        self.note(delivery, remaining, false);
        self.nak(delivery, LAST_DELAY).await;
    }

    /// NAK with delay of a message on [`Self::hold`], with the store's own message.
    pub(super) async fn defer_for_store(&self, delivery: &Delivery, reason: Refusal, detail: &str) {
        self.readiness.report(self.stream, Problem::Deferred, detail);
        if let Some(n_suppressed) = self.log_limit.allow() {
            let (stream, sequence, reason) = (self.stream, delivery.stream_sequence(), reason.as_str());
            let n_waiting = self.state().n_kept_out;
            warn!(
                stream,
                sequence,
                reason,
                detail,
                n_waiting,
                n_suppressed,
                "message deferred, the store keeps it out; others pass"
            );
        }
        self.nak(delivery, LAST_STORE_DELAY).await;
    }

    /// Returns the elements of a redelivered message that are not in the store; `None` for all.
    pub(super) fn remaining(&self, delivery: &Delivery) -> Option<Vec<usize>> {
        if delivery.n_delivered() <= 1 {
            return None;
        }
        self.state().messages.get(&delivery.identity())?.remaining.clone()
    }

    /// Returns whether the message waits for the store.
    pub(super) fn is_kept_out(&self, delivery: &Delivery) -> bool {
        self.state().messages.get(&delivery.identity()).is_some_and(|message| message.is_kept_out)
    }

    /// The message is acknowledged.
    pub(super) fn forget(&self, delivery: &Delivery) {
        if delivery.n_delivered() <= 1 {
            return;
        }
        let mut state = self.state();
        if state.remove(&delivery.identity()) && state.n_kept_out == 0 {
            self.readiness.clear(self.stream, Problem::Deferred);
        }
        WRITER_WAITING.with_label_values(&[self.stream]).set(state.n_kept_out as i64);
    }

    fn note(&self, delivery: &Delivery, remaining: Option<Vec<usize>>, is_kept_out: bool) {
        WRITER_DEFERRED.with_label_values(&[self.stream]).inc();
        let remaining = remaining.filter(|remaining| remaining.len() <= MAX_REMAINING);
        let mut state = self.state();
        state.remove(&delivery.identity());
        if (state.messages.len() as i64) < MAX_DEFERRED {
            state.n_kept_out += usize::from(is_kept_out);
            let message = DeferredMessage { remaining, is_kept_out, at: Instant::now() };
            state.messages.insert(delivery.identity(), message);
        }
        WRITER_WAITING.with_label_values(&[self.stream]).set(state.n_kept_out as i64);
    }

    async fn nak(&self, delivery: &Delivery, last_delay: Duration) {
        if let Err(error) = delivery.nak(delay(delivery.n_delivered()).min(last_delay)).await {
            warn!(stream = self.stream, error = chain(error), "NAK failed; the message will be redelivered");
        }
    }

    fn state(&self) -> MutexGuard<'_, DeferralState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeferralState {
    /// Returns whether the message was one that the store kept out.
    fn remove(&mut self, key: &MessageKey) -> bool {
        let is_kept_out = self.messages.remove(key).is_some_and(|message| message.is_kept_out);
        self.n_kept_out -= usize::from(is_kept_out);
        is_kept_out
    }

    /// Forgets what has not come back for long.
    fn sweep(&mut self) {
        if self.swept_at.is_some_and(|at| at.elapsed() < LAST_DELAY) {
            return;
        }
        self.swept_at = Some(Instant::now());
        self.messages.retain(|_, message| message.at.elapsed() < EXPIRE);
        self.n_kept_out = self.messages.values().filter(|message| message.is_kept_out).count();
    }
}

fn delay(n_delivered: i64) -> Duration {
    let n_doublings = n_delivered.saturating_sub(1).clamp(0, 16);
    FIRST_DELAY.saturating_mul(1 << n_doublings).min(LAST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_minute() {
        let seconds = [1, 2, 3, 4, 5, 6, 1000, i64::MAX].map(|n_delivered| delay(n_delivered).as_secs());
        assert_eq!(seconds, [5, 10, 20, 40, 60, 60, 60, 60]);
        assert_eq!(delay(0), FIRST_DELAY, "a server that sends no count");
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_back_takes_no_room() {
        let mut state = DeferralState::default();
        let message = |is_kept_out| DeferredMessage { remaining: None, is_kept_out, at: Instant::now() };
        state.messages.insert((1, 1), message(true));
        state.n_kept_out = 1;
        tokio::time::advance(EXPIRE).await;
        state.messages.insert((2, 2), message(true));
        state.messages.insert((3, 3), message(false));
        state.n_kept_out += 1;
        state.sweep();
        assert_eq!((state.messages.len(), state.n_kept_out), (2, 1));
        assert!(state.remove(&(2, 2)) && !state.remove(&(3, 3)) && !state.remove(&(1, 1)));
        assert_eq!(state.n_kept_out, 0);
    }
}
