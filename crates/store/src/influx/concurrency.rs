//! Adaptive limit of concurrent requests (AIMD): halves when the server fails, grows by one when it succeeds.
//!
//! Values and events have separate limits, so that an event never waits behind a backlog of values. Waiters are
//! served in the order of their calls.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    semaphore: Semaphore,
    state: Mutex<LimitState>,
}

#[derive(Debug)]
struct LimitState {
    /// Permits that the server's responses allow.
    allowed: usize,
    /// Permits that exist, including those in use: more than `allowed` until enough of them are returned.
    issued: usize,
    max: usize,
}

/// Right to one request, until it is dropped.
#[derive(Debug)]
pub(super) struct RequestPermit<'a> {
    limit: &'a ConcurrencyLimit,
    permit: Option<SemaphorePermit<'a>>,
}

impl ConcurrencyLimit {
    pub(super) fn new(initial: usize, max: usize) -> Self {
        let state = Mutex::new(LimitState { allowed: initial, issued: initial, max });
        Self { semaphore: Semaphore::new(initial), state }
    }

    /// Replaces the initial and the largest number of permits, once the server's version is known.
    pub(super) fn set_bounds(&self, initial: usize, max: usize) {
        let mut state = self.state();
        (state.allowed, state.max) = (initial, max);
        let n_missing = initial.saturating_sub(state.issued);
        state.issued += n_missing;
        self.semaphore.add_permits(n_missing);
        let n_excess = state.issued - initial;
        state.issued -= self.semaphore.forget_permits(n_excess);
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self) -> RequestPermit<'_> {
        // An error means that the semaphore was closed, which never happens.
        RequestPermit { limit: self, permit: self.semaphore.acquire().await.ok() }
    }

    /// Records a request that succeeded.
    pub(super) fn on_success(&self) {
        let mut state = self.state();
        state.allowed = (state.allowed + 1).min(state.max);
        if state.issued < state.allowed {
            state.issued += 1;
            self.semaphore.add_permits(1);
        }
    }

    /// Records a request that the server failed to serve.
    pub(super) fn on_failure(&self) {
        let mut state = self.state();
        state.allowed = (state.allowed / 2).max(1);
        let n_excess = state.issued - state.allowed.min(state.issued);
        state.issued -= self.semaphore.forget_permits(n_excess);
    }

    fn state(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        if state.issued > state.allowed
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            state.issued -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_halves_on_a_fault_and_grows_one_by_one() {
        let limit = ConcurrencyLimit::new(4, 8);
        let free = || limit.semaphore.available_permits();
        assert_eq!(free(), 4);
        // Two of four permits are in use when the server fails: the free ones go first.
        let (one, two) = (limit.acquire().await, limit.acquire().await);
        limit.on_failure();
        assert_eq!(free(), 0);
        limit.on_failure();
        drop(one);
        assert_eq!(free(), 0, "one of two permits in use is not returned");
        drop(two);
        assert_eq!(free(), 1);
        limit.on_failure();
        assert_eq!(free(), 1, "there is always one");
        for allowed in [2, 3, 4, 5, 6, 7, 8, 8] {
            limit.on_success();
            assert_eq!(free(), allowed);
        }
        for (initial, max) in [(2, 4), (4, 16)] {
            limit.set_bounds(initial, max);
            assert_eq!(free(), initial);
            (0..20).for_each(|_| limit.on_success());
            assert_eq!(free(), max);
        }
    }
}
