//! Bad messages whose dead letter cannot be kept, mostly because the stream of dead letters is full. They are
//! put off: the server sends them again after a while, and meanwhile what is good passes them. Nothing of
//! them is acknowledged, so nothing is lost, and a restart changes nothing.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use spindle_bus::{BusError, BusErrorKind, Delivery};
use tokio::time::Instant;
use tracing::error;

use super::lane::{Lane, chain};
use super::readiness::Trouble;
use crate::metrics::WRITER_DEFERRED;

/// Messages that can be put off before a lane comes to a halt: the server counts them as unacknowledged (2.15.1
/// does), and each costs it some hundred bytes. 28,000 of them made no difference to the others' rate.
pub(super) const MAX_PUT_OFF: i64 = 50_000;

/// After the first delivery, doubled with each, up to the last. Shorter than readiness forgets the trouble.
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LAST_DELAY: Duration = Duration::from_secs(60);

/// How long no letter is tried after one that was not answered: each may take as long as JetStream's
/// time-out, and a batch may hold many. A full stream refuses at once, and smaller letters may fit.
const REST: Duration = Duration::from_secs(1);
/// How often a lasting trouble is said again.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What one lane has put off. Only what follows from it can be forgotten: messages are then stored once more.
#[derive(Default)]
pub(super) struct PutOff(Mutex<State>);

#[derive(Default)]
struct State {
    /// Messages whose good elements are stored already: to store them at each delivery could put an old value
    /// back in the place of a newer one.
    stored: HashSet<(u64, i64)>,
    rests_until: Option<Instant>,
    said_at: Option<Instant>,
    n_unsaid: u64,
}

impl PutOff {
    pub(super) fn has_stored(&self, delivery: &Delivery) -> bool {
        delivery.n_delivered() > 1 && self.state().stored.contains(&delivery.identity())
    }

    pub(super) fn forget(&self, delivery: &Delivery) {
        if delivery.n_delivered() > 1 {
            self.state().stored.remove(&delivery.identity());
        }
    }

    fn note_stored(&self, delivery: &Delivery) {
        let mut state = self.state();
        if (state.stored.len() as i64) < MAX_PUT_OFF {
            state.stored.insert(delivery.identity());
        }
    }

    /// Whether it is too early to try to keep a letter.
    pub(super) fn rests(&self) -> bool {
        self.state().rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes a letter that could not be kept; the number of messages to be said now, if it is time.
    fn failed(&self, kind: BusErrorKind) -> Option<u64> {
        let mut state = self.state();
        if kind != BusErrorKind::StreamFull {
            state.rests_until = Some(Instant::now() + REST);
        }
        state.n_unsaid += 1;
        if state.said_at.is_some_and(|said_at| said_at.elapsed() < SAY_EVERY) {
            return None;
        }
        state.said_at = Some(Instant::now());
        Some(std::mem::take(&mut state.n_unsaid))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// A letter could not be kept; its message will be put off.
    pub(super) fn note_unkept(&self, delivery: &Delivery, fault: BusError) {
        let (kind, sequence) = (fault.kind(), delivery.stream_sequence());
        let error = chain(fault);
        self.readiness.trouble(self.stream, Trouble::DeadLetters, &error);
        if let Some(n_letters) = self.put_off.failed(kind) {
            error!(
                stream = self.stream,
                sequence,
                n_letters,
                error,
                "dead letters could not be kept: their messages stay, come again, and block no others"
            );
        }
    }

    /// Asks the server to send a message again later. `is_stored` says that what is good in it is in the store.
    pub(super) async fn put_off(&self, delivery: &Delivery, is_stored: bool) -> Result<(), BusError> {
        if is_stored {
            self.put_off.note_stored(delivery);
        }
        WRITER_DEFERRED.with_label_values(&[self.stream]).inc();
        delivery.nak(delay(delivery.n_delivered())).await
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
        assert_eq!(delay(0), FIRST_DELAY, "a server that does not say");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_trouble_is_said_now_and_then_with_its_count() {
        let put_off = PutOff::default();
        assert_eq!(put_off.failed(BusErrorKind::StreamFull), Some(1));
        for _ in 0..41 {
            assert_eq!(put_off.failed(BusErrorKind::StreamFull), None);
        }
        assert!(!put_off.rests(), "a smaller letter may fit");
        tokio::time::advance(SAY_EVERY).await;
        assert_eq!(put_off.failed(BusErrorKind::Transient), Some(42));
        assert!(put_off.rests());
        tokio::time::advance(REST).await;
        assert!(!put_off.rests());
    }
}
