//! Consuming: a durable pull consumer of our own making, explicit acks, and nothing fetched that was not
//! asked for. What is pulled and not acknowledged comes back after `ack_wait`.
//!
//! Each pull is one bounded request with a client-side deadline, so a lost reply can never hang the
//! intake: after a missed deadline or any error the consumer is looked up anew.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use spindle_core::Timestamp;
use tracing::{error, warn};

use crate::connect::Bus;
use crate::consumer_metadata;
use crate::error::BusError;
use crate::pull;
use crate::stream_reader::published;

/// How much is pulled at once.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerLimits {
    /// Messages in one batch.
    pub max_messages: usize,
    /// Bytes in one batch; at least one message comes, however large.
    pub max_bytes: usize,
    /// After the first message, how long others are waited for: larger batches, later answers.
    pub linger: Duration,
    /// Unacknowledged messages over all members of the consumer. At least two batches.
    pub max_ack_pending: i64,
    /// After this long without ack or progress the server sends a message again.
    pub ack_wait: Duration,
}

/// A durable consumer on one stream.
#[derive(Debug)]
pub struct Consumer {
    bus: Bus,
    stream: &'static str,
    durable: &'static str,
    limits: ConsumerLimits,
    /// And the connections made when it was looked at: another server may have less.
    consumer: Option<(PullConsumer, u64)>,
}

/// One message, to be acknowledged when it is safe.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
}

impl Consumer {
    /// Creates or updates the consumer.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if the stream or JetStream is not there yet.
    pub async fn open(
        bus: Bus,
        stream: &'static str,
        durable: &'static str,
        limits: ConsumerLimits,
    ) -> Result<Self, BusError> {
        let mut intake = Self { bus, stream, durable, limits, consumer: None };
        intake.consumer().await?;
        Ok(intake)
    }

    /// The next messages: at least one, unless none came within some seconds.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`]; call again after a pause, the consumer is rebuilt.
    pub async fn next(&mut self) -> Result<Vec<Delivery>, BusError> {
        let batch = self.pull().await;
        if batch.is_err() {
            self.consumer = None;
        }
        batch
    }

    async fn pull(&mut self) -> Result<Vec<Delivery>, BusError> {
        let (limits, consumer) = (self.limits, self.consumer().await?);
        let mut batch = deliveries(pull::ready(&self.bus, &consumer, limits.max_messages, limits.max_bytes).await?);
        if batch.is_empty() {
            batch = deliveries(pull::first(&self.bus, &consumer).await?);
        }
        let n_missing = limits.max_messages.saturating_sub(batch.len());
        let n_bytes: usize = batch.iter().map(|delivery| delivery.payload().len()).sum();
        if !batch.is_empty() && n_missing > 0 && n_bytes < limits.max_bytes / 2 && !limits.linger.is_zero() {
            tokio::time::sleep(limits.linger).await;
            // What is in hand must not be lost to a failed second pull.
            match pull::ready(&self.bus, &consumer, n_missing, limits.max_bytes - n_bytes).await {
                Ok(more) => batch.extend(deliveries(more)),
                Err(error) => warn!(%error, stream = self.stream, "second pull failed"),
            }
        }
        Ok(batch)
    }

    async fn consumer(&mut self) -> Result<PullConsumer, BusError> {
        let n_connects = self.bus.n_connects();
        if let Some((consumer, at)) = &self.consumer
            && *at == n_connects
        {
            return Ok(consumer.clone());
        }
        let attempt = || format!("open consumer {} of stream {}", self.durable, self.stream);
        let stream =
            self.bus.jetstream.get_stream(self.stream).await.map_err(|error| BusError::transient(attempt(), error))?;
        let config = Config { metadata: consumer_metadata::existing(&stream, self.durable).await, ..self.config() };
        let create = || stream.create_consumer(config.clone());
        let mut consumer = create().await.map_err(|error| BusError::transient(attempt(), error))?;
        // Asked after the consumer was: publishers and other members go on meanwhile.
        let state = stream.get_info().await.map_err(|error| BusError::transient(attempt(), error))?.state;
        let last_sequence = state.last_sequence;
        if consumer.cached_info().delivered.stream_sequence > last_sequence {
            // The server was restored from an older state; older servers would now skip every new
            // message up to the old position, in silence (nats-server #5412).
            error!(
                stream = self.stream,
                consumer = self.durable,
                last_sequence,
                "consumer is ahead of its stream: resetting it"
            );
            stream.delete_consumer(self.durable).await.map_err(|error| BusError::transient(attempt(), error))?;
            consumer = create().await.map_err(|error| BusError::transient(attempt(), error))?;
        }
        self.consumer = Some((consumer.clone(), n_connects));
        Ok(consumer)
    }

    fn config(&self) -> Config {
        Config {
            durable_name: Some(self.durable.to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.limits.ack_wait,
            max_ack_pending: self.limits.max_ack_pending,
            ..Config::default()
        }
    }

    /// Messages that wait for this consumer, unacknowledged ones included.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn lag(bus: &Bus, stream: &str, durable: &str) -> Result<u64, BusError> {
        let attempt = || format!("look up consumer {durable} of stream {stream}");
        let consumer: PullConsumer = bus
            .jetstream
            .get_consumer_from_stream(durable, stream)
            .await
            .map_err(|error| BusError::transient(attempt(), error))?;
        let info = consumer.cached_info();
        Ok(info.num_pending + info.num_ack_pending as u64)
    }
}

fn deliveries(messages: Vec<Message>) -> Vec<Delivery> {
    messages.into_iter().map(Delivery::from).collect()
}

impl From<Message> for Delivery {
    fn from(message: Message) -> Self {
        Self { message }
    }
}

impl Delivery {
    /// The message's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The subject it was published to.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Its sequence in the stream; 0 if the server sent none, which JetStream never does.
    pub fn stream_sequence(&self) -> u64 {
        self.message.info().map_or(0, |info| info.stream_sequence)
    }

    /// When the server took it; 1970 if it does not say.
    pub(crate) fn published(&self) -> Timestamp {
        self.message.info().map_or(Timestamp::from_ns(0), |info| published(info.published))
    }

    /// Its sequence and time: what tells it from every other of its stream, also if that was made anew.
    pub fn identity(&self) -> (u64, i64) {
        (self.stream_sequence(), self.published().as_ns())
    }

    /// How many messages its consumer had sent with this one.
    pub(crate) fn consumer_sequence(&self) -> u64 {
        self.message.info().map_or(0, |info| info.consumer_sequence)
    }

    /// How many messages still wait behind it for its consumer.
    pub(crate) fn n_behind(&self) -> u64 {
        self.message.info().map_or(0, |info| info.pending)
    }

    pub(crate) fn headers(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers()?.get(name)?.as_str())
    }

    /// How often it was delivered, this time included.
    pub fn n_delivered(&self) -> i64 {
        self.message.info().map_or(1, |info| info.delivered)
    }

    /// The publisher's message id, if it gave one.
    pub fn message_id(&self) -> Option<&str> {
        self.header("Nats-Msg-Id")
    }

    /// It is safe: never send it again. A lost ack only brings it back, and storing is idempotent.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if the connection is closed.
    pub async fn ack(&self) -> Result<(), BusError> {
        self.answer(AckKind::Ack).await
    }

    /// Still at work: restart the clock of `ack_wait`.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if the connection is closed.
    pub async fn progress(&self) -> Result<(), BusError> {
        self.answer(AckKind::Progress).await
    }

    /// Send it again, after `delay`.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if the connection is closed.
    pub async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.answer(AckKind::Nak(Some(delay))).await
    }

    /// It can never be stored and its dead letter is safe: never send it again.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if the connection is closed.
    pub async fn term(&self) -> Result<(), BusError> {
        self.answer(AckKind::Term).await
    }

    async fn answer(&self, kind: AckKind) -> Result<(), BusError> {
        let attempt = || format!("answer message {} of {}", self.stream_sequence(), self.message.subject);
        self.message.ack_with(kind).await.map_err(|error| BusError::transient(attempt(), error))
    }
}
