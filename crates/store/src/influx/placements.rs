//! Positions of the events that this session wrote lately. Where reads lag writes, a query does not show them yet, and
//! nothing may conclude from it that a position is free.

use std::collections::HashMap;
use std::time::Duration;

use spindle_core::{Event, IdentityDigest, Timestamp};
use tokio::time::Instant;

/// Most positions remembered; further events wait until earlier ones can be read. With those of the last batch they
/// stay below 229,376, so that the table takes 15 MB.
const MAX_REMEMBERED: usize = 160_000;
/// Age at which a position whose write failed is forgotten: the server may still carry out that write.
const KEEP_FAILED: Duration = Duration::from_secs(60);

/// Event written at some position. None is forgotten to make room: another event would take its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlacedEvent {
    identity: IdentityDigest,
    pub(super) received: Timestamp,
}

impl PlacedEvent {
    pub(super) fn new(event: &Event, received: Timestamp) -> Self {
        Self { identity: event.identity().digest(), received }
    }

    /// Returns whether it is this event.
    pub(super) fn is(&self, event: &Event) -> bool {
        self.identity == event.identity().digest()
    }
}

#[derive(Debug)]
pub(super) struct RecentPlacements {
    opened: Instant,
    /// With the time after which every query shows the event; `None` while it is being written.
    placed: HashMap<IdentityDigest, (PlacedEvent, Option<Instant>)>,
}

impl Default for RecentPlacements {
    fn default() -> Self {
        Self { opened: Instant::now(), placed: HashMap::new() }
    }
}

impl RecentPlacements {
    /// Returns the time from which a look-up shows everything that an earlier process wrote.
    pub(super) fn trusted_from(&self, lag: Duration) -> Instant {
        self.opened + lag
    }

    pub(super) fn get(&self, position: &IdentityDigest) -> Option<&PlacedEvent> {
        self.placed.get(position).map(|(event, _)| event)
    }

    /// Records an event that is about to be written.
    pub(super) fn insert(&mut self, position: IdentityDigest, event: PlacedEvent) {
        self.placed.insert(position, (event, None));
    }

    /// Records the end of a write.
    pub(super) fn release(&mut self, positions: &[IdentityDigest], is_stored: bool, lag: Duration) {
        let until = Instant::now() + if is_stored { lag } else { KEEP_FAILED };
        for position in positions {
            if let Some((_, visible_from)) = self.placed.get_mut(position) {
                *visible_from = Some(until);
            }
        }
    }

    /// Forgets what every query shows. Returns whether there is room for more.
    pub(super) fn has_room(&mut self) -> bool {
        let now = Instant::now();
        self.placed.retain(|_, (_, visible_from)| visible_from.is_none_or(|at| at > now));
        self.placed.len() < MAX_REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_position_is_remembered_until_every_query_shows_it() {
        let lag = Duration::from_secs(2);
        let mut recent = RecentPlacements::default();
        let at = Timestamp::from_ns(7);
        let event = PlacedEvent { identity: IdentityDigest::of(&[b"event"]), received: at };
        let key = |number: usize| IdentityDigest::of(&[&number.to_be_bytes()]);
        for position in [1, 2, 3] {
            recent.insert(key(position), event);
        }
        recent.release(&[key(1)], true, lag);
        recent.release(&[key(2)], false, lag);
        let known = |recent: &mut RecentPlacements| {
            assert!(recent.has_room());
            [1, 2, 3].map(|position| recent.get(&key(position)).is_some())
        };
        assert_eq!(known(&mut recent), [true, true, true]);
        tokio::time::advance(lag).await;
        assert_eq!(known(&mut recent), [false, true, true]);
        tokio::time::advance(KEEP_FAILED).await;
        assert_eq!(known(&mut recent), [false, false, true], "it is still being written");
        for position in 0..MAX_REMEMBERED {
            recent.insert(key(position), event);
        }
        assert!(!recent.has_room());
    }
}
