//! How many requests may be on their way at once: fewer while the server struggles, more again while it does not.
//!
//! Values and events have slots of their own, so that an event never waits until a backlog of values is
//! through. Who waits is served in the order of asking.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub(super) struct Slots {
    semaphore: Semaphore,
    bounds: Mutex<Bounds>,
}

#[derive(Debug)]
struct Bounds {
    /// How many the server's answers allow.
    allowed: usize,
    /// How many there are, taken ones included: more than `allowed` until enough of them came back.
    given: usize,
    most: usize,
}

/// The right to one request, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    permit: Option<SemaphorePermit<'a>>,
}

impl Slots {
    pub(super) fn new(first: usize, most: usize) -> Self {
        let bounds = Mutex::new(Bounds { allowed: first, given: first, most });
        Self { semaphore: Semaphore::new(first), bounds }
    }

    /// Says how many there may be, now that the server is known.
    pub(super) fn set_bounds(&self, first: usize, most: usize) {
        let mut bounds = self.bounds();
        (bounds.allowed, bounds.most) = (first, most);
        let n_more = first.saturating_sub(bounds.given);
        bounds.given += n_more;
        self.semaphore.add_permits(n_more);
        let too_many = bounds.given - first;
        bounds.given -= self.semaphore.forget_permits(too_many);
    }

    /// Waits for a slot.
    pub(super) async fn take(&self) -> Slot<'_> {
        // An error means that it was closed, which nobody does.
        Slot { slots: self, permit: self.semaphore.acquire().await.ok() }
    }

    /// A request was answered as it should be.
    pub(super) fn worked(&self) {
        let mut bounds = self.bounds();
        bounds.allowed = (bounds.allowed + 1).min(bounds.most);
        if bounds.given < bounds.allowed {
            bounds.given += 1;
            self.semaphore.add_permits(1);
        }
    }

    /// The server could not take a request.
    pub(super) fn struggled(&self) {
        let mut bounds = self.bounds();
        bounds.allowed = (bounds.allowed / 2).max(1);
        let too_many = bounds.given - bounds.allowed.min(bounds.given);
        bounds.given -= self.semaphore.forget_permits(too_many);
    }

    fn bounds(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut bounds = self.slots.bounds();
        if bounds.given > bounds.allowed
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            bounds.given -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_halves_on_a_fault_and_grows_one_by_one() {
        let slots = Slots::new(4, 8);
        let free = || slots.semaphore.available_permits();
        assert_eq!(free(), 4);
        // Two of four are taken when the server struggles: the free ones go first.
        let (one, two) = (slots.take().await, slots.take().await);
        slots.struggled();
        assert_eq!(free(), 0);
        slots.struggled();
        drop(one);
        assert_eq!(free(), 0, "one of two taken slots is not given back");
        drop(two);
        assert_eq!(free(), 1);
        slots.struggled();
        assert_eq!(free(), 1, "there is always one");
        for allowed in [2, 3, 4, 5, 6, 7, 8, 8] {
            slots.worked();
            assert_eq!(free(), allowed);
        }
        for (first, most) in [(2, 4), (4, 16)] {
            slots.set_bounds(first, most);
            assert_eq!(free(), first);
            (0..20).for_each(|_| slots.worked());
            assert_eq!(free(), most);
        }
    }
}
