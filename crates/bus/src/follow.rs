//! Following a stream from a position that the caller keeps: for a role whose state covers the messages up to it.
//!
//! The durable consumer acknowledges all up to a message (`AckPolicy::All`), once the state that covers it is saved. It is
//! created again behind the saved position at the start, after an error and after a new connection, so that nothing
//! depends on the deliveries that an earlier one has made; messages that came before are skipped by their sequence.
//! Its metadata name the process that follows. The last one to create it follows; the one before notices that deliveries
//! are missing, and stands by.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use bytes::Bytes;
use spindle_core::Timestamp;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::connect::Bus;
use crate::consumer_check::{self, FOLLOWING};
use crate::error::{BusError, BusErrorKind};
use crate::pull;
use crate::stream_reader::published;
use crate::streams::{RawConsumer, RawStream};

/// Key of the process that follows, in the metadata of the consumer.
const OWNER: &str = "spindle-follower";
/// Interval at which the consumer is compared with the one that was created.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Longer than any interval between two saved states. What is delivered again nevertheless is skipped.
const ACK_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The state decides how many messages wait for an acknowledgement.
const UNLIMITED: i64 = -1;
/// In a pull.
const NO_LIMIT: usize = 0;
/// Time without deliveries, though messages wait, after which another process counts as gone.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// Position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// Time at which the stream was created, which distinguishes it from another of the same name.
    pub created: Timestamp,
    /// Sequence of the newest message taken.
    pub sequence: u64,
}

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
    /// Sequence that the consumer of another process has reached, and the time at which it did.
    other: Option<(u64, Instant)>,
    is_replaced: bool,
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
}

/// Result of a pull.
#[derive(Debug)]
pub enum Followed {
    /// The messages that were available; none if the end of the stream is reached.
    Messages(FollowedMessages),
    /// Another process follows the stream: its name.
    Taken(String),
}

/// Messages of a stream, in its order.
#[derive(Debug, Default)]
pub struct FollowedMessages {
    /// The messages.
    pub messages: Vec<FollowedMessage>,
    /// Messages removed from the stream before they were received.
    pub n_lost: u64,
    /// The stream was created again, or came back with less.
    pub is_replaced: bool,
}

/// A message of a followed stream.
#[derive(Debug)]
pub struct FollowedMessage {
    /// Its bytes.
    pub payload: Bytes,
    /// Time at which the server took it.
    pub published: Timestamp,
    /// Its place, to acknowledge everything up to it.
    pub mark: StreamMark,
}

/// Place of a message in a followed stream.
#[derive(Clone, Debug)]
pub struct StreamMark {
    /// Position of the message.
    pub position: StreamPosition,
    generation: u64,
    /// Subject of the acknowledgement.
    reply: Option<Subject>,
}

impl Bus {
    /// Checks the permission to look up the consumer of a follower, which may not exist yet.
    ///
    /// # Errors
    /// Configuration, if it is missing; transient, if NATS does not answer or the stream does not exist.
    pub async fn check_follower(&self, stream: &str, durable: &str) -> Result<(), BusError> {
        self.raw_consumer(stream, durable).await.map(drop)
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
            other: None,
            is_replaced: false,
        }
    }

    /// Returns the messages available now, at most `max_messages` and `max_bytes` of them; a larger message comes alone.
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
        let mut followed =
            FollowedMessages { is_replaced: std::mem::take(&mut self.is_replaced), ..Default::default() };
        let Some(consumer) = self.opened.as_ref().map(|opened| opened.consumer.clone()) else {
            return Ok(Followed::Messages(followed));
        };
        // The first one without a limit of bytes: an empty answer means that there is none, however large.
        let mut pulled = pull::ready(&self.bus, &consumer, 1, NO_LIMIT).await?;
        if !pulled.is_empty() && max_messages > 1 {
            match pull::ready(&self.bus, &consumer, max_messages - 1, max_bytes).await {
                Ok(more) => pulled.extend(more),
                // The first one is not lost. A deleted consumer, say, fails again.
                Err(error) => warn!(%error, stream = self.stream, "second pull failed"),
            }
        }
        for message in pulled {
            if !self.receive(message, &mut followed) {
                // Deliveries are missing: another process has taken them, or the connection was lost.
                self.opened = None;
                break;
            }
        }
        Ok(Followed::Messages(followed))
    }

    /// Adds a message unless it came before; returns `false` if it is not the next delivery of the consumer.
    fn receive(&mut self, message: Message, followed: &mut FollowedMessages) -> bool {
        let Ok(info) = message.info() else { return false };
        let (Some(opened), Some(received)) = (&mut self.opened, &mut self.received) else { return false };
        if info.consumer_sequence != opened.n_delivered + 1 {
            return false;
        }
        opened.n_delivered = info.consumer_sequence;
        let (sequence, published) = (info.stream_sequence, published(info.published));
        if sequence > received.sequence {
            followed.n_lost += sequence - received.sequence - 1;
            received.sequence = sequence;
            let mark = StreamMark { position: *received, generation: self.generation, reply: message.reply.clone() };
            followed.messages.push(FollowedMessage { payload: message.message.payload, published, mark });
        }
        true
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
            let owner = consumer_check::metadata_of(found).remove(OWNER);
            if !self.may_take_over && owner.as_ref() != Some(&self.owner) {
                self.opened = None;
                return Ok(Some(owner.unwrap_or_else(|| "a process without a name".to_owned())));
            }
            if is_same && owner.as_ref() == Some(&self.owner) && self.is_as_created(found) {
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
            Some(position) if position.created != created => {
                warn!(
                    stream,
                    sequence = position.sequence,
                    "stream was created again, following it from its beginning"
                );
                // What is gone from the new stream was never missed: nothing of it had come.
                (self.received, self.saved, self.opened, self.is_replaced) = (Some(begin), oldest, None, true);
            }
            Some(position) if position.sequence > found.state.last_seq => {
                if found.is_catching_up() {
                    let message = format!("the copies of stream {stream} are not up to date");
                    return Err(BusError::new(BusErrorKind::Transient, message));
                }
                let last_sequence = found.state.last_seq;
                error!(
                    stream,
                    last_sequence,
                    sequence = position.sequence,
                    "stream came back with less, going on there"
                );
                let sequence = last_sequence;
                self.received = Some(StreamPosition { created, sequence });
                (self.saved, self.opened, self.is_replaced) = (self.saved.min(sequence), None, true);
            }
            Some(_) => {}
        }
        Ok(())
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
            metadata: HashMap::from([(OWNER.to_owned(), self.owner.clone())]),
            ..Config::default()
        };
        let created = self.bus.jetstream.create_consumer_on_stream(config, self.stream).await;
        let api = format!("CONSUMER.CREATE.{}.{}", self.stream, self.durable);
        let consumer = created.map_err(|error| self.bus.denied.api_error(attempt(), &api, error))?;
        self.generation += 1;
        self.opened = Some(OpenedFollower { consumer, n_connects, at: Instant::now(), n_delivered: 0 });
        Ok(())
    }

    /// Returns the position behind which it begins; `None` before the stream was looked up.
    pub fn begin(&self) -> Option<StreamPosition> {
        self.received.map(|received| StreamPosition { sequence: self.saved, ..received })
    }

    /// Acknowledges everything up to a message: the state that covers it is saved.
    ///
    /// # Errors
    /// Transient, if the connection is closed. The next one covers it.
    pub async fn acknowledge(&mut self, mark: &StreamMark) -> Result<(), BusError> {
        if self.received.is_none_or(|received| received.created != mark.position.created) {
            return Ok(());
        }
        self.saved = mark.position.sequence;
        if mark.generation != self.generation {
            // The consumer that delivered it is gone; another one begins behind it.
            self.opened = None;
            return Ok(());
        }
        let Some(reply) = mark.reply.clone() else { return Ok(()) };
        let attempt = format!("acknowledge message {} of stream {}", self.saved, self.stream);
        let acked = self.bus.client.publish(reply, Bytes::from_static(b"+ACK")).await;
        acked.map_err(|error| BusError::transient(attempt, error))
    }

    /// Returns `true` once the process that has the consumer is gone: the consumer is, or messages wait and none was
    /// delivered for a while.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn is_abandoned(&mut self) -> Result<bool, BusError> {
        let Some(found) = self.bus.raw_consumer(self.stream, self.durable).await? else { return Ok(true) };
        let delivered = found.delivered.stream_seq;
        let since = match self.other {
            Some((reached, since)) if reached == delivered && found.num_pending > 0 => since,
            Some(_) | None => Instant::now(),
        };
        self.other = Some((delivered, since));
        Ok(since.elapsed() >= GONE_AFTER)
    }

    /// Permits to take the consumer from the process that has it.
    pub fn take_over(&mut self) {
        (self.may_take_over, self.other, self.opened) = (true, None, None);
    }

    /// Returns the number of messages behind `mark`, or in the whole stream.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn lag(&self, mark: Option<&StreamMark>) -> Result<u64, BusError> {
        let Some(found) = self.bus.raw_stream(self.stream).await? else { return Ok(0) };
        let position = mark.map(|mark| mark.position).or(self.received);
        let judged = position.filter(|position| position.created == created(&found)).map_or(0, |found| found.sequence);
        Ok(found.state.last_seq.saturating_sub(judged.max(found.state.first_seq.saturating_sub(1))))
    }
}

/// Returns the time at which a stream was created; 1970 if the server reports none.
fn created(stream: &RawStream) -> Timestamp {
    stream.created.as_deref().and_then(|text| Timestamp::parse(text).ok()).unwrap_or_default()
}
