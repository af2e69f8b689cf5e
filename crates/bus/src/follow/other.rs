//! The process that follows a stream in our place: whether it still does.

use std::time::Duration;

use tokio::time::Instant;

use crate::streams::RawConsumer;

/// Time without a movement of the consumer after which its process no longer counts as active, or as gone if messages wait.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// Looks that must find no consumer, one after the other: its process may be creating it again.
const LOOKS: u32 = 2;

/// State of the process that has the consumer of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerActivity {
    /// The consumer moved a short time ago, or nothing is known yet.
    Active,
    /// Nothing waits for it, or not for long.
    Idle,
    /// The consumer does not exist, or messages wait and none was delivered for a while.
    Gone,
}

/// Looks at the consumer of another process, over time.
#[derive(Debug, Default)]
pub(super) struct OtherFollower {
    seen: Option<Seen>,
    n_missing: u32,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Sequences of the stream: delivered and acknowledged.
    at: (u64, u64),
    moved: Instant,
    /// Time since which messages wait.
    waits_since: Option<Instant>,
}

impl OtherFollower {
    /// Takes in a look; `None` if the consumer does not exist.
    pub(super) fn see(&mut self, found: Option<&RawConsumer>, now: Instant) -> FollowerActivity {
        let Some(found) = found else {
            self.n_missing += 1;
            return if self.n_missing < LOOKS { FollowerActivity::Active } else { FollowerActivity::Gone };
        };
        self.n_missing = 0;
        let at = (found.delivered.stream_seq, found.ack_floor.stream_seq);
        let before = self.seen.filter(|seen| seen.at == at);
        let waits_since = (found.num_pending > 0).then(|| before.and_then(|seen| seen.waits_since).unwrap_or(now));
        let moved = before.map_or(now, |seen| seen.moved);
        self.seen = Some(Seen { at, moved, waits_since });
        if now.duration_since(moved) < GONE_AFTER {
            FollowerActivity::Active
        } else if waits_since.is_some_and(|since| now.duration_since(since) >= GONE_AFTER) {
            FollowerActivity::Gone
        } else {
            FollowerActivity::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::FollowerActivity::{Active, Gone, Idle};
    use super::*;

    #[test]
    fn a_process_is_gone_if_messages_wait_or_its_consumer_is_missing_twice() {
        let begin = Instant::now();
        let consumer = |delivered: u64, floor: u64, n_pending: u64| -> RawConsumer {
            let (delivered, floor) = (json!({ "stream_seq": delivered }), json!({ "stream_seq": floor }));
            let consumer = json!({
                "name": "c", "config": {}, "delivered": delivered, "ack_floor": floor, "num_pending": n_pending,
            });
            serde_json::from_value(consumer).unwrap()
        };
        let mut other = OtherFollower::default();
        let mut see = |seconds: u64, found: Option<(u64, u64, u64)>| {
            let found = found.map(|(delivered, floor, n_pending)| consumer(delivered, floor, n_pending));
            other.see(found.as_ref(), begin + Duration::from_secs(seconds))
        };
        assert_eq!(see(0, Some((7, 3, 0))), Active);
        assert_eq!(see(59, Some((7, 3, 0))), Active);
        // Nothing comes: that is no sign of anything.
        assert_eq!(see(600, Some((7, 3, 0))), Idle);
        // A message has waited for a moment.
        assert_eq!(see(605, Some((7, 3, 1))), Idle);
        assert_eq!(see(610, Some((8, 3, 0))), Active);
        // Its state was saved.
        assert_eq!(see(660, Some((8, 8, 0))), Active);
        assert_eq!(see(715, Some((8, 8, 5))), Active);
        assert_eq!(see(770, Some((8, 8, 9))), Idle);
        assert_eq!(see(775, Some((8, 8, 9))), Gone);
        // It creates its consumer again.
        assert_eq!(see(780, None), Active);
        assert_eq!(see(785, Some((8, 8, 0))), Idle);
        assert_eq!((see(790, None), see(795, None)), (Active, Gone));
    }
}
