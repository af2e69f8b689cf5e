//! The way in: both streams, merged. Stands by while another detector follows them, and says so.

use std::time::Duration;

use bytes::Bytes;
use spindle_bus::{
    Bus, BusError, Followed, FollowedMessage, FollowedMessages, Follower, FollowerActivity, METRICS_STREAM, StreamMark,
};
use spindle_core::Timestamp;
use spindle_core::backoff::Backoff;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::judging::FOLLOWED;
use super::merge::{Merge, STREAMS};
use super::readiness::{DetectorReadiness, Hindrance};
use super::state_file::Positions;
use crate::logging::chain;
use crate::metrics::DETECTOR_LOST;

/// Durable consumers, in the order of [`FOLLOWED`].
pub(crate) const CONSUMERS: [&str; STREAMS] = ["detector-events", "detector-metrics"];
/// Bounds of a pull: messages, and bytes beside the first one.
const MAX_MESSAGES: usize = 1_000;
const MAX_BYTES: usize = 4 << 20;
/// Interval at which a detector that stands by looks whether the other is gone.
const STAND_BY_INTERVAL: Duration = Duration::from_secs(5);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Longest pause between two metrics of a simulated past; what comes later is late.
const LONGEST_PAUSE_OF_PAST: Duration = Duration::from_secs(10);
/// One process opens few pulls.
const NO_JITTER: f64 = 1.0;

/// The last message of each stream that was judged.
pub(super) type Marks = [Option<StreamMark>; STREAMS];

/// A message whose turn it is.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) stream: usize,
    pub(super) published: Timestamp,
    /// Part of a simulated past, which is told as of that time.
    pub(super) is_past: bool,
    /// Time until which metrics may be missing, if that was found now.
    pub(super) gap_until: Option<Timestamp>,
    pub(super) payload: Bytes,
    pub(super) mark: StreamMark,
}

/// A message that waits for its turn.
#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    mark: StreamMark,
    is_past: bool,
    /// Metrics may be missing before it.
    is_behind_gap: bool,
}

pub(super) struct Intake {
    followers: [Follower; STREAMS],
    merge: Merge<Waiting>,
    marks: Marks,
    /// A saved state covers messages that a stream no longer has.
    is_outdated: bool,
    /// Time until which metrics may be missing, if none has come since.
    gap_until: Option<Instant>,
    /// Time at which the newest metrics came, if they told a simulated past.
    past_at: Option<Instant>,
    readiness: DetectorReadiness,
    backoff: Backoff,
    n_failures: u64,
}

impl Intake {
    pub(super) fn new(bus: &Bus, positions: Positions, readiness: DetectorReadiness) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let owner = format!("{host}, process {}, {}", std::process::id(), Uuid::new_v4().simple());
        let follower =
            |of: usize| Follower::new(bus.clone(), FOLLOWED[of], CONSUMERS[of], owner.clone(), positions[of]);
        Self {
            followers: std::array::from_fn(follower),
            merge: Merge::default(),
            marks: Marks::default(),
            is_outdated: false,
            gap_until: None,
            past_at: None,
            readiness,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            n_failures: 0,
        }
    }

    /// Pulls from each stream of which no message waits. Returns a time at which both were at their ends, if they were.
    /// After an error it returns after a pause. A pull that is dropped loses messages: only for the last one.
    pub(super) async fn fetch(&mut self) -> Option<Instant> {
        let (needs, newest, before) = (self.merge.needs(), self.merge.newest(), Instant::now());
        let [events, metrics] = &mut self.followers;
        let (events, metrics) = tokio::join!(pull(events, needs[0]), pull(metrics, needs[1]));
        let (mut is_at_end, mut failure, mut other) = (needs == [true; STREAMS], None, None);
        for (stream, pulled) in [events, metrics].into_iter().enumerate() {
            match pulled {
                None => {}
                Some(Ok(Followed::Messages(followed))) => {
                    is_at_end &= followed.is_end;
                    if followed.is_end_behind_gap && FOLLOWED[stream] == METRICS_STREAM {
                        self.gap_until = Some(before);
                    }
                    self.take(stream, followed, newest);
                }
                Some(Ok(Followed::Taken(owner))) => other = Some(owner),
                Some(Err(error)) => failure = Some((FOLLOWED[stream], error)),
            }
        }
        if let Some(owner) = other {
            self.note(None).await;
            self.stand_by(&owner).await;
            return None;
        }
        self.note(failure).await;
        (is_at_end && self.n_failures == 0 && !self.is_in_past()).then_some(before)
    }

    /// Returns `true` while a simulated past is being told: what comes next may be older than what came, until the present
    /// follows. Its events come before its metrics, so that the two can be put in order.
    fn is_in_past(&self) -> bool {
        self.past_at.is_some_and(|at| at.elapsed() < LONGEST_PAUSE_OF_PAST)
    }

    /// Takes the answer to a pull. `newest` is the newest time of a message received before.
    fn take(&mut self, stream: usize, followed: FollowedMessages, newest: Timestamp) {
        if followed.n_lost > 0 {
            let (stream, n_messages) = (FOLLOWED[stream], followed.n_lost);
            DETECTOR_LOST.with_label_values(&[stream]).inc_by(n_messages);
            warn!(stream, n_messages, "messages removed from the stream before they were judged");
        }
        if let Some(replaced) = followed.replaced {
            // No message waits here: all that were received have been judged.
            self.marks[stream] = Some(StreamMark::at(replaced));
            self.is_outdated = true;
        }
        if let Some(last) = followed.messages.last().filter(|_| FOLLOWED[stream] == METRICS_STREAM) {
            self.past_at = last.is_past.then(Instant::now);
        }
        if followed.is_end && !self.is_in_past() {
            self.merge.end(stream, newest);
        }
        let messages = followed.messages.into_iter().map(|message| {
            let FollowedMessage { payload, published, is_past, is_behind_gap, mark } = message;
            // Events that are missing leave no hole in time: each device is judged by its metrics.
            let is_behind_gap = is_behind_gap && FOLLOWED[stream] == METRICS_STREAM;
            (published, Waiting { payload, mark, is_past, is_behind_gap })
        });
        self.merge.push(stream, messages);
    }

    async fn note(&mut self, failure: Option<(&str, BusError)>) {
        let Some((stream, error)) = failure else {
            self.n_failures = 0;
            self.backoff.reset();
            self.readiness.set(Hindrance::Fetch, None);
            return;
        };
        let error = chain(error);
        self.n_failures += 1;
        // The first one may be a connection that was lost a moment ago.
        if self.n_failures > 1 {
            self.readiness.set(Hindrance::Fetch, Some(&error));
        }
        warn!(stream, error, "fetch failed, retrying");
        sleep(self.backoff.next(NO_JITTER)).await;
    }

    /// Waits until the other detector is gone. The judge keeps its state, and goes on from there.
    async fn stand_by(&mut self, owner: &str) {
        let message =
            format!("another detector ({owner}) follows the streams, this one stands by: stop one of the two");
        self.readiness.set(Hindrance::Other, Some(&message));
        warn!(owner, "another detector has taken over, standing by; stop one of the two");
        loop {
            sleep(STAND_BY_INTERVAL).await;
            let mut activities = [FollowerActivity::Active; STREAMS];
            for (stream, follower) in self.followers.iter_mut().enumerate() {
                match follower.activity_of_other().await {
                    Ok(activity) => activities[stream] = activity,
                    Err(error) => {
                        debug!(stream = FOLLOWED[stream], error = chain(error), "state of the other detector unknown");
                    }
                }
            }
            if is_gone(activities) {
                break;
            }
        }
        self.followers.iter_mut().for_each(Follower::take_over);
        self.readiness.set(Hindrance::Other, None);
        info!("the other detector is gone, taking over");
    }

    /// Returns the time until which metrics may be missing, if the end of their stream was found behind a gap. To be told
    /// before the next message.
    pub(super) fn gap_until(&mut self) -> Option<Instant> {
        self.gap_until.take()
    }

    /// Returns the next message whose order is known.
    pub(super) fn next(&mut self) -> Option<Received> {
        next(&mut self.merge)
    }

    /// Takes note of the last messages judged.
    pub(super) fn judged(&mut self, newer: Marks) {
        for (mark, newer) in self.marks.iter_mut().zip(newer) {
            *mark = newer.or(mark.take());
        }
    }

    /// Returns `true` once a state that covers messages which a stream no longer has must be replaced.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// Returns `true` once the streams were looked up.
    pub(super) fn is_placed(&self) -> bool {
        self.followers.iter().all(|follower| follower.position(None).is_some())
    }

    /// Returns the positions that a state covers now.
    pub(super) fn positions(&self) -> Positions {
        std::array::from_fn(|stream| self.followers[stream].position(self.marks[stream].as_ref()))
    }

    /// Acknowledges everything that was judged: the state that covers it is saved.
    pub(super) async fn acknowledge(&mut self) {
        self.is_outdated = false;
        for ((follower, mark), stream) in self.followers.iter_mut().zip(&self.marks).zip(FOLLOWED) {
            if let Some(mark) = mark
                && let Err(error) = follower.acknowledge(mark).await
            {
                debug!(stream, error = chain(error), "acknowledgement not sent, the next one covers it");
            }
        }
    }

    /// Returns the number of messages that are not judged yet, where NATS answers.
    pub(super) async fn lag(&self) -> [Option<u64>; STREAMS] {
        let ([events, metrics], [event, metric]) = (&self.followers, &self.marks);
        let (events, metrics) = tokio::join!(events.lag(event.as_ref()), metrics.lag(metric.as_ref()));
        [events.ok(), metrics.ok()]
    }
}

fn next(merge: &mut Merge<Waiting>) -> Option<Received> {
    // Of either stream: before a message of the other one lets time pass in it.
    let gap_until = merge.heads().filter(|(_, waiting)| waiting.is_behind_gap).map(|(at, _)| at).max();
    let (stream, published, Waiting { payload, mark, is_past, .. }) = merge.next()?;
    merge.heads().filter(|(at, _)| Some(*at) == gap_until).for_each(|(_, waiting)| waiting.is_behind_gap = false);
    Some(Received { stream, published, is_past, gap_until, payload, mark })
}

/// Returns `true` if the other detector takes nothing from a stream in which messages wait, and nothing from the other one:
/// while it works on a backlog of one stream, the other waits.
fn is_gone(activities: [FollowerActivity; STREAMS]) -> bool {
    activities.contains(&FollowerActivity::Gone) && !activities.contains(&FollowerActivity::Active)
}

async fn pull(follower: &mut Follower, is_needed: bool) -> Option<Result<Followed, BusError>> {
    if !is_needed {
        return None;
    }
    Some(follower.next(MAX_MESSAGES, MAX_BYTES).await)
}

#[cfg(test)]
mod tests {
    use spindle_bus::StreamPosition;

    use super::FollowerActivity::{Active, Gone, Idle};
    use super::*;

    #[test]
    fn a_gap_is_known_before_a_message_of_the_other_stream_lets_time_pass_in_it() {
        let at = Timestamp::from_seconds;
        let waiting = |seconds, is_behind_gap| {
            let mark = StreamMark::at(StreamPosition { created: at(0), sequence: 1 });
            (at(seconds), Waiting { payload: Bytes::new(), mark, is_past: false, is_behind_gap })
        };
        let mut merge = Merge::default();
        merge.push(0, [waiting(100, false), waiting(400, false), waiting(900, false)]);
        merge.push(1, [waiting(50, false), waiting(500, true), waiting(600, false), waiting(800, false)]);
        let mut taken = Vec::new();
        while let Some(received) = next(&mut merge) {
            taken.push((received.published, received.gap_until));
        }
        let gap = |seconds| Some(at(seconds));
        let expected = [(50, None), (100, gap(500)), (400, None), (500, None), (600, None), (800, None)];
        assert_eq!(taken, expected.map(|(seconds, gap)| (at(seconds), gap)));
    }

    #[test]
    fn another_detector_is_gone_only_if_it_takes_nothing_at_all() {
        for (events, metrics, expected) in [
            (Idle, Active, false),
            (Gone, Active, false),
            (Idle, Idle, false),
            (Idle, Gone, true),
            (Gone, Idle, true),
            (Gone, Gone, true),
        ] {
            assert_eq!(is_gone([events, metrics]), expected, "{events:?} {metrics:?}");
        }
    }
}
