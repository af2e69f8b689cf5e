//! Following a stream from a position that the caller keeps: for a role whose state covers the messages up to it.
//!
//! The durable consumer acknowledges all up to a message (`AckPolicy::All`), once the state that covers it is saved. It is
//! created again behind the saved position at the start, after an error and after a new connection, so that nothing
//! depends on the deliveries that an earlier one has made; messages that came before are skipped by their sequence.
//! Its metadata name the process that follows. The last one to create it follows; the one before notices that deliveries
//! are missing, and stands by.
//!
//! - `message`: messages and their places.
//! - `other`: the process that follows in our place.

mod message;
mod other;

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use bytes::Bytes;
use spindle_core::Timestamp;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::as_of::as_of;
use crate::connect::Bus;
use crate::consumer_check::{self, FOLLOWING, Place};
use crate::error::{BusError, BusErrorKind};
use crate::pull;
use crate::stream_reader::published;
use crate::streams::{FOLLOWER, RawConsumer, RawStream};
pub use message::{Followed, FollowedMessage, FollowedMessages, StreamMark, StreamPosition};
pub use other::FollowerActivity;
use other::OtherFollower;

/// Interval at which the consumer is compared with the one that was created.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Longer than any interval between two saved states. What is delivered again nevertheless is skipped.
const ACK_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The state decides how many messages wait for an acknowledgement.
const UNLIMITED: i64 = -1;
/// In a pull.
const NO_LIMIT: usize = 0;

/// Follower of one stream.
#[derive(Debug)]
pub struct Follower {
    bus: Bus,
    stream: &'static str,
    durable: &'static str,
    owner: String,
    /// Newest message received; `None` before the stream was looked up for the first time.
    received: Option<StreamPosition>,
    /// Sequence that the saved state covers.
    saved: u64,
    opened: Option<OpenedFollower>,
    /// Number of the consumers created so far.
    generation: u64,
    may_take_over: bool,
    other: OtherFollower,
    /// Position behind which a replaced stream is followed, until a pull reports it.
    replaced: Option<StreamPosition>,
    /// Messages may be missing before the next one.
    is_behind_gap: bool,
}

#[derive(Debug)]
struct OpenedFollower {
    consumer: PullConsumer,
    /// Connection count at that time.
    n_connects: u64,
    /// Time of the last comparison.
    at: Instant,
    /// Number of its deliveries so far.
    n_delivered: u64,
    /// The same at the last comparison; `None` before the first one.
    n_compared: Option<u64>,
}

impl Bus {
    /// Checks the permission to look up the consumer of a follower, which may not exist yet; nor may its stream.
    ///
    /// # Errors
    /// Configuration, if it is missing; transient, if NATS does not answer.
    pub async fn check_follower(&self, stream: &str, durable: &str) -> Result<(), BusError> {
        match self.raw_consumer(stream, durable).await {
            Err(error) if error.is_transient() && self.raw_stream(stream).await?.is_none() => Ok(()),
            found => found.map(drop),
        }
    }
}

impl Follower {
    /// Creates a follower that begins behind `saved`, or with the oldest message that the stream holds. `owner` is a name
    /// of the process that no other has.
    pub fn new(
        bus: Bus,
        stream: &'static str,
        durable: &'static str,
        owner: String,
        saved: Option<StreamPosition>,
    ) -> Self {
        let saved_sequence = saved.map_or(0, |position| position.sequence);
        Self {
            bus,
            stream,
            durable,
            owner,
            received: saved,
            saved: saved_sequence,
            opened: None,
            generation: 0,
            may_take_over: true,
            other: OtherFollower::default(),
            replaced: None,
            is_behind_gap: false,
        }
    }

    /// Returns the messages available now, at most `max_messages` and `max_bytes` of them; a larger message comes alone.
    /// No message and no end means that deliveries were missed: call again.
    ///
    /// # Errors
    /// Transient: call again after a pause. Configuration, if a permission is missing.
    pub async fn next(&mut self, max_messages: usize, max_bytes: usize) -> Result<Followed, BusError> {
        let followed = self.pull(max_messages, max_bytes).await;
        if followed.is_err() {
            self.opened = None;
        }
        followed
    }

    async fn pull(&mut self, max_messages: usize, max_bytes: usize) -> Result<Followed, BusError> {
        if let Some(owner) = self.open().await? {
            return Ok(Followed::Taken(owner));
        }
        let mut followed = FollowedMessages::default();
        // Messages that came before say nothing about those behind them.
        while followed.messages.is_empty() && !followed.is_end {
            let pulled = self.pull_once(max_messages, max_bytes).await?;
            followed.is_end = pulled.is_empty() && self.is_complete().await?;
            let n_pulled = pulled.len();
            let n_received = pulled.into_iter().take_while(|message| self.receive(message, &mut followed)).count();
            if n_pulled == 0 || n_received < n_pulled {
                break;
            }
        }
        followed.is_end_behind_gap = followed.is_end && std::mem::take(&mut self.is_behind_gap);
        followed.replaced = self.replaced.take();
        Ok(Followed::Messages(followed))
    }

    async fn pull_once(&self, max_messages: usize, max_bytes: usize) -> Result<Vec<Message>, BusError> {
        let Some(consumer) = self.opened.as_ref().map(|opened| opened.consumer.clone()) else { return Ok(Vec::new()) };
        // The first one without a limit of bytes: an empty answer means that there is none, however large.
        let mut pulled = pull::ready(&self.bus, &consumer, 1, NO_LIMIT).await?;
        if !pulled.is_empty() && max_messages > 1 {
            match pull::ready(&self.bus, &consumer, max_messages - 1, max_bytes).await {
                Ok(more) => pulled.extend(more),
                // The first one is not lost. A deleted consumer, say, fails again.
                Err(error) => warn!(%error, stream = self.stream, "second pull failed"),
            }
        }
        Ok(pulled)
    }

    /// Adds a message unless it came before; returns `false` if it is not the next delivery of the consumer: another process
    /// has taken that, or the connection was lost. The consumer is created again then.
    fn receive(&mut self, message: &Message, followed: &mut FollowedMessages) -> bool {
        let (Ok(info), Some(received)) = (message.info(), &mut self.received) else { return false };
        let is_next = |opened: &&mut OpenedFollower| info.consumer_sequence == opened.n_delivered + 1;
        let Some(opened) = self.opened.as_mut().filter(is_next) else {
            self.opened = None;
            return false;
        };
        opened.n_delivered = info.consumer_sequence;
        let (sequence, published) = (info.stream_sequence, published(info.published));
        if sequence > received.sequence {
            let n_lost = sequence - received.sequence - 1;
            followed.n_lost += n_lost;
            received.sequence = sequence;
            let is_behind_gap = std::mem::take(&mut self.is_behind_gap) || n_lost > 0;
            let reply = message.reply.clone();
            let mark = StreamMark { position: *received, generation: self.generation, reply };
            let payload = message.message.payload.clone();
            let as_of = as_of(message.headers.as_ref(), published);
            let (is_past, published) = (as_of.is_some(), as_of.unwrap_or(published));
            followed.messages.push(FollowedMessage { payload, published, is_past, is_behind_gap, mark });
        }
        true
    }

    /// Returns `true` if the consumer is ours and has delivered nothing that did not come: an empty answer means nothing
    /// otherwise. Looks once after the last delivery.
    async fn is_complete(&mut self) -> Result<bool, BusError> {
        let Some(opened) = &self.opened else { return Ok(false) };
        if opened.n_compared == Some(opened.n_delivered) {
            return Ok(true);
        }
        let found = self.bus.raw_consumer(self.stream, self.durable).await?;
        let is_complete = found.is_some_and(|found| self.is_own(&found) && self.is_as_created(&found));
        match self.opened.as_mut().filter(|_| is_complete) {
            Some(opened) => opened.n_compared = Some(opened.n_delivered),
            None => self.opened = None,
        }
        Ok(is_complete)
    }

    fn is_own(&self, found: &RawConsumer) -> bool {
        found.follower() == Some(&self.owner)
    }

    /// Makes sure that the consumer is ours and as it was created. Returns the name of another process that has it.
    async fn open(&mut self) -> Result<Option<String>, BusError> {
        let n_connects = self.bus.n_connects();
        let is_same = self.opened.as_ref().is_some_and(|opened| opened.n_connects == n_connects);
        if is_same && self.opened.as_ref().is_some_and(|opened| opened.at.elapsed() < CHECK_INTERVAL) {
            return Ok(None);
        }
        self.place().await?;
        let found = self.bus.raw_consumer(self.stream, self.durable).await?;
        if let Some(found) = &found {
            if !self.may_take_over && !self.is_own(found) {
                self.opened = None;
                return Ok(Some(found.follower().unwrap_or("a process without a name").to_owned()));
            }
            if is_same && self.is_own(found) && self.is_as_created(found) {
                self.opened.as_mut().into_iter().for_each(|opened| opened.at = Instant::now());
                return Ok(None);
            }
        }
        self.create(found.is_some()).await?;
        self.may_take_over = false;
        Ok(None)
    }

    /// Compares the position with the stream, which may have been created again or come back with less.
    async fn place(&mut self) -> Result<(), BusError> {
        let stream = self.stream;
        let Some(found) = self.bus.raw_stream(stream).await? else {
            return Err(BusError::new(BusErrorKind::Transient, format!("stream {stream} does not exist")));
        };
        let (created, oldest) = (created(&found), found.state.first_seq.saturating_sub(1));
        let begin = StreamPosition { created, sequence: oldest };
        match self.received {
            None => (self.received, self.saved) = (Some(begin), oldest),
            Some(StreamPosition { created: known, sequence }) if known != created => {
                warn!(stream, sequence, "stream was created again, following it from its beginning");
                // What is gone from the new stream was never missed: nothing of it had come.
                self.saved = oldest;
                self.go_back_to(begin);
            }
            Some(StreamPosition { sequence, .. }) if sequence > found.state.last_seq => {
                let ahead = consumer_check::still_ahead(&self.bus, stream, &Place::Sequence(sequence)).await?;
                if let Some(last_sequence) = ahead {
                    error!(stream, last_sequence, sequence, "stream came back with less, going on there");
                    self.go_back_to(StreamPosition { created, sequence: last_sequence });
                }
            }
            // Counted with the next message, which may not come soon.
            Some(StreamPosition { sequence, .. }) => self.is_behind_gap |= sequence < oldest,
        }
        Ok(())
    }

    fn go_back_to(&mut self, position: StreamPosition) {
        self.saved = self.saved.min(position.sequence);
        (self.received, self.replaced, self.opened) = (Some(position), Some(position), None);
        self.is_behind_gap = true;
    }

    /// Compares the consumer with the one that was created, and its deliveries with those received: the last ones may have
    /// gone elsewhere.
    fn is_as_created(&self, found: &RawConsumer) -> bool {
        let (delivered, stream, consumer) = (found.delivered.consumer_seq, self.stream, self.durable);
        if self.opened.as_ref().is_none_or(|opened| delivered > opened.n_delivered) {
            warn!(stream, consumer, "deliveries are missing, creating the consumer again");
            return false;
        }
        let differences = consumer_check::differences(&found.config, &FOLLOWING);
        if !differences.is_empty() {
            let found = consumer_check::listed(&differences);
            warn!(stream, consumer, found, "consumer was changed, creating it again");
        }
        differences.is_empty()
    }

    async fn create(&mut self, exists: bool) -> Result<(), BusError> {
        let attempt = || format!("open consumer {} of stream {}", self.durable, self.stream);
        if exists {
            let deleted = self.bus.jetstream.delete_consumer_from_stream(self.durable, self.stream).await;
            let api = format!("CONSUMER.DELETE.{}.{}", self.stream, self.durable);
            deleted.map_err(|error| self.bus.denied.api_error(attempt(), &api, error))?;
        }
        let n_connects = self.bus.n_connects();
        let config = Config {
            durable_name: Some(self.durable.to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.saved + 1 },
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            max_ack_pending: UNLIMITED,
            metadata: HashMap::from([(FOLLOWER.to_owned(), self.owner.clone())]),
            ..Config::default()
        };
        let created = self.bus.jetstream.create_consumer_on_stream(config, self.stream).await;
        let api = format!("CONSUMER.CREATE.{}.{}", self.stream, self.durable);
        let consumer = created.map_err(|error| self.bus.denied.api_error(attempt(), &api, error))?;
        self.generation += 1;
        self.opened =
            Some(OpenedFollower { consumer, n_connects, at: Instant::now(), n_delivered: 0, n_compared: None });
        Ok(())
    }

    /// Returns the position that a state covers in which everything up to `mark` was taken in: that of `mark`, or the one
    /// that was acknowledged if the stream no longer holds it; `None` before the stream was looked up.
    pub fn position(&self, mark: Option<&StreamMark>) -> Option<StreamPosition> {
        let taken = mark.map(|mark| mark.position).filter(|position| self.has(*position));
        taken.or_else(|| self.received.map(|received| StreamPosition { sequence: self.saved, ..received }))
    }

    /// Returns `true` if a position is in the stream as it is now, and was received.
    fn has(&self, position: StreamPosition) -> bool {
        let StreamPosition { created, sequence } = position;
        self.received.is_some_and(|received| received.created == created && sequence <= received.sequence)
    }

    /// Acknowledges everything up to a message: the state that covers it is saved. Sends nothing if another process has the
    /// consumer, whose messages these are then.
    ///
    /// # Errors
    /// Transient, if the connection is closed or NATS does not answer: acknowledge it again.
    pub async fn acknowledge(&mut self, mark: &StreamMark) -> Result<(), BusError> {
        let sequence = mark.position.sequence;
        if sequence <= self.saved || !self.has(mark.position) {
            return Ok(());
        }
        let is_open = self.opened.is_some() && mark.generation == self.generation;
        match mark.reply.clone().filter(|_| is_open) {
            Some(reply) => {
                let found = self.bus.raw_consumer(self.stream, self.durable).await?;
                if found.is_some_and(|found| self.is_own(&found)) {
                    let attempt = format!("acknowledge message {sequence} of stream {}", self.stream);
                    let acked = self.bus.client.publish(reply, Bytes::from_static(b"+ACK")).await;
                    acked.map_err(|error| BusError::transient(attempt, error))?;
                }
            }
            // The consumer that delivered it is gone; another one begins behind it.
            None => self.opened = None,
        }
        self.saved = sequence;
        Ok(())
    }

    /// Looks at the process that has the consumer.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn activity_of_other(&mut self) -> Result<FollowerActivity, BusError> {
        let found = self.bus.raw_consumer(self.stream, self.durable).await?;
        Ok(self.other.see(found.as_ref(), Instant::now()))
    }

    /// Permits to take the consumer from the process that has it.
    pub fn take_over(&mut self) {
        (self.may_take_over, self.other, self.opened) = (true, OtherFollower::default(), None);
    }

    /// Returns the number of messages behind `mark`, or behind the last one acknowledged.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn lag(&self, mark: Option<&StreamMark>) -> Result<u64, BusError> {
        let Some(found) = self.bus.raw_stream(self.stream).await? else { return Ok(0) };
        let position = self.position(mark);
        let judged = position.filter(|position| position.created == created(&found)).map_or(0, |found| found.sequence);
        Ok(found.state.last_seq.saturating_sub(judged.max(found.state.first_seq.saturating_sub(1))))
    }
}

/// Returns the time at which a stream was created; 1970 if the server reports none.
fn created(stream: &RawStream) -> Timestamp {
    stream.created.as_deref().and_then(|text| Timestamp::parse(text).ok()).unwrap_or_default()
}
