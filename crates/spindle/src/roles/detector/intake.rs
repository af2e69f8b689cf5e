//! The way in: both streams, merged. Stands by while another detector follows them, and says so.

use std::time::Duration;

use bytes::Bytes;
use spindle_bus::{Bus, BusError, Followed, Follower, StreamMark};
use spindle_core::Timestamp;
use spindle_core::backoff::Backoff;
use tokio::time::sleep;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::judging::FOLLOWED;
use super::merge::{Merge, STREAMS};
use super::readiness::{DetectorReadiness, Hindrance};
use super::state_file::Positions;
use crate::clock;
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
/// One process opens few pulls.
const NO_JITTER: f64 = 1.0;

/// The last message of each stream.
pub(super) type Marks = [Option<StreamMark>; STREAMS];

/// A message whose turn it is.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) stream: usize,
    pub(super) published: Timestamp,
    pub(super) payload: Bytes,
    pub(super) mark: StreamMark,
}

pub(super) struct Intake {
    followers: [Follower; STREAMS],
    merge: Merge<(Bytes, StreamMark)>,
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
            readiness,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            n_failures: 0,
        }
    }

    /// Pulls from each stream of which no message waits. Returns the time at which both were at their ends, if they were.
    /// After an error it returns after a pause. A pull that is dropped loses messages: only for the last one.
    pub(super) async fn fetch(&mut self) -> Option<Timestamp> {
        let (needs, newest, before) = (self.merge.needs(), self.merge.newest(), clock::now());
        let [events, metrics] = &mut self.followers;
        let (events, metrics) = tokio::join!(pull(events, needs[0]), pull(metrics, needs[1]));
        let (mut is_at_end, mut failure) = (needs == [true; STREAMS], None);
        for (stream, pulled) in [events, metrics].into_iter().enumerate() {
            match pulled {
                None => {}
                Some(Ok(Followed::Messages(followed))) => {
                    if followed.n_lost > 0 {
                        let (stream, n_messages) = (FOLLOWED[stream], followed.n_lost);
                        DETECTOR_LOST.with_label_values(&[stream]).inc_by(n_messages);
                        warn!(stream, n_messages, "messages removed from the stream before they were judged");
                    }
                    is_at_end &= followed.messages.is_empty();
                    let messages = followed.messages.into_iter();
                    let messages = messages.map(|message| (message.published, (message.payload, message.mark)));
                    self.merge.push(stream, messages, newest);
                }
                Some(Ok(Followed::Taken(owner))) => {
                    self.stand_by(&owner).await;
                    return None;
                }
                Some(Err(error)) => failure = Some((FOLLOWED[stream], error)),
            }
        }
        self.note(failure).await;
        (is_at_end && self.n_failures == 0).then_some(before)
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
            let mut is_abandoned = false;
            for (stream, follower) in FOLLOWED.iter().zip(&mut self.followers) {
                match follower.is_abandoned().await {
                    Ok(is_so) => is_abandoned |= is_so,
                    Err(error) => debug!(stream, error = chain(error), "state of the other detector unknown"),
                }
            }
            if is_abandoned {
                break;
            }
        }
        self.followers.iter_mut().for_each(Follower::take_over);
        self.readiness.set(Hindrance::Other, None);
        info!("the other detector is gone, taking over");
    }

    /// Returns the next message whose order is known.
    pub(super) fn next(&mut self) -> Option<Received> {
        let (stream, published, (payload, mark)) = self.merge.next()?;
        Some(Received { stream, published, payload, mark })
    }

    /// Returns `true` once the streams were looked up.
    pub(super) fn is_placed(&self) -> bool {
        self.followers.iter().all(|follower| follower.begin().is_some())
    }

    /// Returns the positions that a state after the messages `marks` covers.
    pub(super) fn positions(&self, marks: &Marks) -> Positions {
        let judged = |stream: usize| marks[stream].as_ref().map(|mark| mark.position);
        std::array::from_fn(|stream| judged(stream).or(self.followers[stream].begin()))
    }

    /// Acknowledges everything up to the messages.
    pub(super) async fn acknowledge(&mut self, marks: &Marks) {
        for ((follower, mark), stream) in self.followers.iter_mut().zip(marks).zip(FOLLOWED) {
            if let Some(mark) = mark
                && let Err(error) = follower.acknowledge(mark).await
            {
                debug!(stream, error = chain(error), "acknowledgement not sent, the next one covers it");
            }
        }
    }

    /// Returns the number of messages behind `marks`, where NATS answers.
    pub(super) async fn lag(&self, marks: &Marks) -> [Option<u64>; STREAMS] {
        let [events, metrics] = &self.followers;
        let (events, metrics) = tokio::join!(events.lag(marks[0].as_ref()), metrics.lag(marks[1].as_ref()));
        [events.ok(), metrics.ok()]
    }
}

async fn pull(follower: &mut Follower, is_needed: bool) -> Option<Result<Followed, BusError>> {
    if !is_needed {
        return None;
    }
    Some(follower.next(MAX_MESSAGES, MAX_BYTES).await)
}
