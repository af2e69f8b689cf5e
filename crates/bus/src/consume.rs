//! Consuming with durable pull consumers and explicit acks: messages come only on request, and one that is not
//! acknowledged is redelivered after `ack_wait`.
//!
//! Each pull is one bounded request with a client-side deadline, so a lost reply cannot block the caller forever:
//! after a missed deadline or any error the consumer is looked up again.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use spindle_core::Timestamp;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::as_of::as_of;
use crate::connect::Bus;
use crate::consumer_check::{self, CONSUMING, Place};
use crate::error::{BusError, BusErrorKind};
use crate::pull;
use crate::stream_reader::published;

/// Limits of a consumer and of its batches.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerLimits {
    /// Messages in one batch.
    pub max_messages: usize,
    /// Bytes in one batch; a larger message comes alone.
    pub max_bytes: usize,
    /// Wait for more messages after the first: longer makes larger batches and later deliveries.
    pub linger: Duration,
    /// Unacknowledged messages over all members of the consumer. At least two batches.
    pub max_ack_pending: i64,
    /// Time without ack or progress after which the server redelivers a message.
    pub ack_wait: Duration,
}

/// A durable consumer on one stream.
#[derive(Debug)]
pub struct Consumer {
    bus: Bus,
    stream: &'static str,
    durable: &'static str,
    limits: ConsumerLimits,
    consumer: Option<Opened>,
}

/// A consumer that was looked up.
#[derive(Debug)]
struct Opened {
    consumer: PullConsumer,
    /// Connection count at that time: another server may hold an older state.
    n_connects: u64,
    /// Time of the look-up: somebody may change the consumer.
    at: Instant,
}

/// Interval at which the consumer's configuration is compared and corrected.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// A delivered message, to be acknowledged once it is stored.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
}

impl Consumer {
    /// Creates or updates the consumer.
    ///
    /// # Errors
    /// Transient, if the stream or JetStream is not available yet.
    pub async fn open(
        bus: Bus,
        stream: &'static str,
        durable: &'static str,
        limits: ConsumerLimits,
    ) -> Result<Self, BusError> {
        let mut consumer = Self { bus, stream, durable, limits, consumer: None };
        consumer.consumer().await?;
        Ok(consumer)
    }

    /// Returns the next messages: at least one, unless none came within some seconds.
    ///
    /// # Errors
    /// Transient: call again after a pause, the consumer is looked up again.
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
            // A failed second pull must not lose the messages of the first.
            match pull::ready(&self.bus, &consumer, n_missing, limits.max_bytes - n_bytes).await {
                Ok(more) => batch.extend(deliveries(more)),
                Err(error) => warn!(%error, stream = self.stream, "second pull failed"),
            }
        }
        Ok(batch)
    }

    async fn consumer(&mut self) -> Result<PullConsumer, BusError> {
        let n_connects = self.bus.n_connects();
        if let Some(opened) = &self.consumer
            && opened.n_connects == n_connects
            && opened.at.elapsed() < CHECK_INTERVAL
        {
            return Ok(opened.consumer.clone());
        }
        let mut consumer = self.create().await?;
        let place = Place::Delivered(self.durable);
        if consumer_check::still_ahead(&self.bus, self.stream, &place).await?.is_some() {
            // The server was restored from an older state. Older servers would now silently skip every new message
            // up to the old position (nats-server #5412).
            error!(stream = self.stream, consumer = self.durable, "consumer is ahead of its stream, resetting it");
            let metadata = consumer_check::metadata(&self.bus, self.stream, self.durable).await?;
            self.delete().await?;
            consumer = self.create_with(Config { metadata, ..self.config() }).await?;
        }
        self.consumer = Some(Opened { consumer: consumer.clone(), n_connects, at: Instant::now() });
        Ok(consumer)
    }

    /// Creates the consumer, or corrects the one that exists. One whose differences the server does not let change is
    /// created again: then everything in the stream is delivered again, which is harmless because storing is idempotent.
    async fn create(&self) -> Result<PullConsumer, BusError> {
        let found = self.bus.raw_consumer(self.stream, self.durable).await?;
        let (stream, consumer) = (self.stream, self.durable);
        let mut metadata = std::collections::HashMap::new();
        if let Some(found) = found {
            metadata = consumer_check::metadata_of(&found);
            let differences = consumer_check::differences(&found.config, &CONSUMING);
            if !differences.is_empty() {
                let found = consumer_check::listed(&differences);
                warn!(stream, consumer, found, "consumer was changed, correcting it");
            }
            if consumer_check::is_fixed(&differences) {
                error!(stream, consumer, "consumer cannot be corrected, creating it again");
                self.delete().await?;
            }
        }
        let created = self.create_with(Config { metadata, ..self.config() }).await?;
        let left = self
            .bus
            .raw_consumer(stream, consumer)
            .await?
            .map(|found| consumer_check::differences(&found.config, &CONSUMING));
        let left = left.unwrap_or_default();
        if left.is_empty() {
            return Ok(created);
        }
        let message = format!(
            "consumer {consumer} of stream {stream} would lose messages: {}; look for limits in `nats stream info {stream}`",
            consumer_check::listed(&left)
        );
        Err(BusError::new(BusErrorKind::Transient, message))
    }

    async fn create_with(&self, config: Config) -> Result<PullConsumer, BusError> {
        let created = self.bus.jetstream.create_consumer_on_stream(config, self.stream).await;
        let api = format!("CONSUMER.CREATE.{}.{}", self.stream, self.durable);
        created.map_err(|error| self.bus.denied.api_error(self.attempt(), &api, error))
    }

    async fn delete(&self) -> Result<(), BusError> {
        let deleted = self.bus.jetstream.delete_consumer_from_stream(self.durable, self.stream).await;
        deleted.map(drop).map_err(|error| BusError::transient(self.attempt(), error))
    }

    fn attempt(&self) -> String {
        format!("open consumer {} of stream {}", self.durable, self.stream)
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

    /// Returns the number of messages pending for a consumer, unacknowledged ones included.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
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
    /// Returns the message's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// Returns the subject it was published to.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Returns its sequence in the stream; 0 if the server sent none, which JetStream never does.
    pub fn stream_sequence(&self) -> u64 {
        self.message.info().map_or(0, |info| info.stream_sequence)
    }

    /// Returns the time at which the server took it; 1970 if the server sent none.
    pub(crate) fn published(&self) -> Timestamp {
        self.message.info().map_or(Timestamp::from_ns(0), |info| published(info.published))
    }

    /// Returns the time as of which it tells a simulated past; `None` if it tells none.
    pub fn as_of(&self) -> Option<Timestamp> {
        as_of(self.headers(), self.published())
    }

    /// Returns its sequence and time, which identify it in its stream even if that was deleted and created again.
    pub fn identity(&self) -> (u64, i64) {
        (self.stream_sequence(), self.published().as_ns())
    }

    /// Returns the number of messages its consumer has sent, this one included.
    pub(crate) fn consumer_sequence(&self) -> u64 {
        self.message.info().map_or(0, |info| info.consumer_sequence)
    }

    /// Returns the number of messages pending behind it for its consumer.
    pub(crate) fn n_behind(&self) -> u64 {
        self.message.info().map_or(0, |info| info.pending)
    }

    pub(crate) fn headers(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers()?.get(name)?.as_str())
    }

    /// Returns the number of deliveries so far, this one included.
    pub fn n_delivered(&self) -> i64 {
        self.message.info().map_or(1, |info| info.delivered)
    }

    /// Returns the publisher's message id, if there is one.
    pub fn message_id(&self) -> Option<&str> {
        self.header("Nats-Msg-Id")
    }

    /// Acknowledges it: it is stored. If the ack is lost the message is redelivered, which is harmless because storing
    /// is idempotent.
    ///
    /// # Errors
    /// Transient, if the connection is closed.
    pub async fn ack(&self) -> Result<(), BusError> {
        self.answer(AckKind::Ack).await
    }

    /// Reports progress: `ack_wait` starts over.
    ///
    /// # Errors
    /// Transient, if the connection is closed.
    pub async fn progress(&self) -> Result<(), BusError> {
        self.answer(AckKind::Progress).await
    }

    /// Requests redelivery after `delay`.
    ///
    /// # Errors
    /// Transient, if the connection is closed.
    pub async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.answer(AckKind::Nak(Some(delay))).await
    }

    /// Terminates it: it can never be stored, its dead letter is kept, and it is not redelivered.
    ///
    /// # Errors
    /// Transient, if the connection is closed.
    pub async fn term(&self) -> Result<(), BusError> {
        self.answer(AckKind::Term).await
    }

    async fn answer(&self, kind: AckKind) -> Result<(), BusError> {
        let attempt = || format!("answer message {} of {}", self.stream_sequence(), self.message.subject);
        self.message.ack_with(kind).await.map_err(|error| BusError::transient(attempt(), error))
    }
}
