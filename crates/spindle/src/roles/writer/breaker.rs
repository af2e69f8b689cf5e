//! A circuit breaker in front of the store. Closed: every write goes to the store at once. Open: nobody writes, and
//! nothing is fetched. Half-open: after a pause that grows with each failure one write at a time tries; the first success
//! closes the breaker. Each lane has its own breaker, so that a batch that fails in one lane does not hold up the other; a
//! success in one makes the other retry at once.

use std::time::Duration;

use spindle_core::backoff::Backoff;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, sleep_until};

const FIRST_RETRY: Duration = Duration::from_millis(100);
/// A server that asks for a longer pause than this is retried all the same.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

pub(super) struct CircuitBreaker {
    state: watch::Sender<BreakerState>,
    /// Held by the half-open write. The lock is fair, so that a batch that alone fails cannot keep the others from
    /// trying.
    half_open: Mutex<()>,
    max_retry: Duration,
}

#[derive(Clone, Debug)]
enum BreakerState {
    Closed,
    Open {
        backoff: Backoff,
        /// The server does not want to be asked earlier.
        not_before: Instant,
        next_try: Instant,
    },
}

/// The right to one write.
pub(super) struct Permit<'a> {
    half_open: Option<MutexGuard<'a, ()>>,
}

impl CircuitBreaker {
    /// `max_retry` is the longest pause between two tries, unless the server asks for a longer one.
    pub(super) fn new(max_retry: Duration) -> Self {
        Self { state: watch::Sender::new(BreakerState::Closed), half_open: Mutex::new(()), max_retry }
    }

    /// Waits until the breaker is closed.
    pub(super) async fn closed(&self) {
        // An error means that the sender is gone, and it lives in `self`.
        let _ = self.state.subscribe().wait_for(BreakerState::is_closed).await;
    }

    /// Waits for the right to write.
    pub(super) async fn acquire(&self) -> Permit<'_> {
        tokio::select! {
            biased;
            () = self.closed() => Permit { half_open: None },
            half_open = self.half_open() => Permit { half_open: Some(half_open) },
        }
    }

    async fn half_open(&self) -> MutexGuard<'_, ()> {
        let guard = self.half_open.lock().await;
        let mut state = self.state.subscribe();
        loop {
            let BreakerState::Open { next_try, .. } = *state.borrow_and_update() else { return guard };
            tokio::select! {
                () = sleep_until(next_try) => return guard,
                _ = state.changed() => {}
            }
        }
    }

    /// A write succeeded. Returns whether that closed the breaker.
    pub(super) fn on_success(&self) -> bool {
        self.state.send_if_modified(|state| {
            let was_open = !state.is_closed();
            *state = BreakerState::Closed;
            was_open
        })
    }

    /// A write failed; the server may have asked for a pause. Returns whether that opened the breaker.
    pub(super) fn on_failure(&self, permit: &Permit<'_>, retry_after: Option<Duration>) -> bool {
        let not_before = Instant::now() + FIRST_RETRY.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        let mut opened = false;
        self.state.send_modify(|state| {
            let mut backoff = match state {
                BreakerState::Closed => Backoff::new(FIRST_RETRY, self.max_retry),
                BreakerState::Open { backoff, .. } if permit.half_open.is_some() => *backoff,
                // Begun before the failure that opened the breaker: no news but what the server asked for.
                BreakerState::Open { not_before: before, next_try, .. } => {
                    *before = not_before.max(*before);
                    *next_try = (*next_try).max(*before);
                    return;
                }
            };
            opened = state.is_closed();
            let next_try = not_before.max(Instant::now() + backoff.next(random()));
            *state = BreakerState::Open { backoff, not_before, next_try };
        });
        opened
    }

    /// The store took a write of somebody else: there is no need to wait any longer than the server asked for.
    pub(super) fn retry_now(&self) {
        self.state.send_if_modified(|state| match state {
            BreakerState::Closed => false,
            BreakerState::Open { not_before, next_try, .. } => {
                let is_earlier = *not_before < *next_try;
                *next_try = (*next_try).min(*not_before);
                is_earlier
            }
        });
    }
}

impl BreakerState {
    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// From 0 to 1, for jitter.
pub(super) fn random() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_u128() as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn fail(breaker: &CircuitBreaker, permit: &Permit<'_>) -> bool {
        breaker.on_failure(permit, None)
    }

    /// Pauses are counted by the paused clock, which jumps to the next timer.
    async fn pause_before_permit(breaker: &CircuitBreaker) -> (Permit<'_>, Duration) {
        let began = Instant::now();
        let permit = breaker.acquire().await;
        (permit, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_bound_and_restart_after_a_success() {
        let breaker = CircuitBreaker::new(Duration::from_millis(500));
        for _ in 0..2 {
            fail(&breaker, &breaker.acquire().await);
            for longest_ms in [100, 200, 400, 500, 500] {
                let (permit, pause) = pause_before_permit(&breaker).await;
                let longest = Duration::from_millis(longest_ms);
                assert!(
                    (longest / 2).max(FIRST_RETRY) <= pause && pause <= longest + Duration::from_millis(1),
                    "{pause:?}"
                );
                fail(&breaker, &permit);
            }
            assert!(breaker.on_success() && !breaker.on_success());
            assert_eq!(pause_before_permit(&breaker).await.1, Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_and_the_others_wait_for_its_success() {
        let breaker = Arc::new(CircuitBreaker::new(Duration::from_secs(1)));
        fail(&breaker, &breaker.acquire().await);
        let probe = breaker.acquire().await;
        let n_through = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (breaker, n_through) = (breaker.clone(), n_through.clone());
                tokio::spawn(async move {
                    drop(breaker.acquire().await);
                    n_through.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(n_through.load(Ordering::Relaxed), 0);
        breaker.on_success();
        for waiting in waiting {
            waiting.await.unwrap();
        }
        drop(probe);
        breaker.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_alone_fails_lets_the_next_try() {
        let breaker = Arc::new(CircuitBreaker::new(Duration::from_secs(1)));
        fail(&breaker, &breaker.acquire().await);
        let bad = breaker.acquire().await;
        let other = tokio::spawn({
            let breaker = breaker.clone();
            async move {
                let permit = breaker.acquire().await;
                assert!(permit.half_open.is_some());
                breaker.on_success()
            }
        });
        tokio::task::yield_now().await;
        fail(&breaker, &bad);
        drop(bad);
        drop(breaker.acquire().await);
        assert!(other.await.unwrap(), "the other was served first, and opened the breaker");
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_elsewhere_cuts_the_pause_but_not_what_the_server_asked_for() {
        let breaker = CircuitBreaker::new(Duration::from_secs(8));
        for (asked_s, least, most) in
            [(0, FIRST_RETRY, FIRST_RETRY * 2), (5, Duration::from_secs(5), Duration::from_secs(6))]
        {
            for _ in 0..8 {
                let permit = breaker.acquire().await;
                fail(&breaker, &permit);
            }
            let permit = breaker.acquire().await;
            breaker.on_failure(&permit, Some(Duration::from_secs(asked_s)));
            drop(permit);
            breaker.retry_now();
            let (permit, pause) = pause_before_permit(&breaker).await;
            assert!(least <= pause && pause <= most, "{asked_s}: {pause:?}");
            fail(&breaker, &permit);
        }
    }
}
