//! Listing dead letters, oldest first: in pages of headers only, so that a stream of any size takes little memory and no
//! payload is transferred.
//!
//! Each list reads with its own consumer, which acknowledges nothing and which the server removes when it is unused.
//! Dead letters kept after the list was opened are left out: a client that replays would otherwise meet those again that
//! came back.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{ErrorCode, stream};

use super::head::{DeadLetterFilter, DeadLetterHead};
use crate::connect::Bus;
use crate::consume::Delivery;
use crate::error::{BusError, BusErrorKind};
use crate::pull;
use crate::streams::DEAD_LETTER_STREAM;

/// Messages per page; with headers of at most about 4 KiB each, some MiB.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 16 << 20;
/// Time after which the server removes an unused consumer, also if this process was killed.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// Pages of the dead letters that match a filter, from the oldest to the newest when the list was opened.
#[derive(Debug)]
pub struct DeadLetterPages {
    bus: Bus,
    filter: DeadLetterFilter,
    consumer: Option<PullConsumer>,
    /// Messages received from the consumer, which numbers them: a gap is a message lost in transit.
    n_received: u64,
    next_sequence: u64,
    last_sequence: u64,
    is_finished: bool,
}

impl Bus {
    /// Opens a list of the dead letters that match `filter`.
    ///
    /// # Errors
    /// Configuration, if the stream does not exist; transient, if NATS does not answer.
    pub async fn dead_letters(&self, filter: DeadLetterFilter) -> Result<DeadLetterPages, BusError> {
        let last_sequence = self.dead_letter_stream().await?.cached_info().state.last_sequence;
        Ok(self.dead_letters_between(filter, 1, last_sequence))
    }

    /// Lists dead letters with sequences from `first` to `last`, both inclusive.
    pub(super) fn dead_letters_between(&self, filter: DeadLetterFilter, first: u64, last: u64) -> DeadLetterPages {
        let bus = self.clone();
        DeadLetterPages {
            bus,
            filter,
            consumer: None,
            n_received: 0,
            next_sequence: first,
            last_sequence: last,
            is_finished: false,
        }
    }

    pub(super) async fn dead_letter_stream(&self) -> Result<stream::Stream, BusError> {
        self.jetstream.get_stream(DEAD_LETTER_STREAM).await.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(reply) if reply.error_code() == ErrorCode::STREAM_NOT_FOUND => BusError::new(
                BusErrorKind::Configuration,
                format!("no stream {DEAD_LETTER_STREAM} on this NATS server: has Spindle run with it?"),
            ),
            _ => self.denied.api_error("look up dead letters", &format!("STREAM.INFO.{DEAD_LETTER_STREAM}"), error),
        })
    }
}

impl DeadLetterPages {
    /// Returns the highest sequence that can be in the list.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Returns the next page, which may be empty; `None` at the end. After an error the same call continues.
    ///
    /// # Errors
    /// Transient, if NATS does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<DeadLetterHead>>, BusError> {
        if self.is_finished || self.next_sequence > self.last_sequence {
            self.delete_consumer().await;
            return Ok(None);
        }
        let page = self.page().await;
        if page.is_err() {
            self.consumer = None;
        }
        page.map(Some)
    }

    async fn page(&mut self) -> Result<Vec<DeadLetterHead>, BusError> {
        let consumer = self.consumer().await?;
        let api = self.api("MSG.NEXT", &consumer.cached_info().name);
        // Nothing behind the last one is wanted.
        let n_wanted = usize::try_from(self.last_sequence - self.next_sequence).map_or(PAGE, |n| PAGE.min(n + 1));
        let pulled = pull::ready(&self.bus, &consumer, n_wanted, PAGE_BYTES).await;
        let deliveries = pulled.map_err(|error| self.bus.denied.api_error("read dead letters", &api, error))?;
        if deliveries.is_empty() && self.n_pending(consumer).await? == 0 {
            self.is_finished = true;
        }
        let mut heads = Vec::new();
        for delivery in deliveries.into_iter().map(Delivery::from) {
            self.n_received += 1;
            if delivery.consumer_sequence() != self.n_received {
                self.consumer = None;
                break;
            }
            let sequence = delivery.stream_sequence();
            self.next_sequence = sequence + 1;
            self.is_finished = delivery.n_behind() == 0;
            let head = head(&delivery);
            if sequence <= self.last_sequence && self.filter.matches(&head) {
                heads.push(head);
            }
        }
        Ok(heads)
    }

    async fn consumer(&mut self) -> Result<PullConsumer, BusError> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        let config = self.config();
        let api = self.api("CREATE", config.name.as_deref().unwrap_or_default());
        let stream = self.bus.dead_letter_stream().await?;
        let created = stream.create_consumer(config).await;
        let consumer = created.map_err(|error| self.bus.denied.api_error("read dead letters", &api, error))?;
        (self.consumer, self.n_received) = (Some(consumer.clone()), 0);
        Ok(consumer)
    }

    fn config(&self) -> Config {
        let reason = self.filter.reason.as_deref();
        Config {
            name: Some(format!("dlq-{}", uuid::Uuid::new_v4().simple())),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next_sequence },
            ack_policy: AckPolicy::None,
            headers_only: true,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE_THRESHOLD,
            filter_subjects: reason.map_or_else(Vec::new, subjects_of),
            ..Config::default()
        }
    }

    async fn n_pending(&self, mut consumer: PullConsumer) -> Result<u64, BusError> {
        let api = self.api("INFO", &consumer.cached_info().name);
        let info =
            consumer.info().await.map_err(|error| self.bus.denied.api_error("read dead letters", &api, error))?;
        Ok(info.num_pending)
    }

    fn api(&self, verb: &str, consumer: &str) -> String {
        format!("CONSUMER.{verb}.{DEAD_LETTER_STREAM}.{consumer}")
    }

    /// Deletes the consumer as a courtesy: the server removes it in any case.
    async fn delete_consumer(&mut self) {
        if let Some(consumer) = self.consumer.take()
            && let Ok(stream) = self.bus.jetstream.get_stream_no_info(DEAD_LETTER_STREAM).await
        {
            let _ = stream.delete_consumer(&consumer.cached_info().name).await;
        }
    }
}

/// Returns the subjects of dead letters with a reason. None for a text that is not a token of a subject: no dead letter
/// has it as its reason, and the server would expand `*` to all of them.
pub(super) fn subjects_of(reason: &str) -> Vec<String> {
    if reason.is_empty() || reason.contains(['.', '*', '>']) || reason.contains(char::is_whitespace) {
        return Vec::new();
    }
    vec![format!("deadletter.{reason}"), format!("deadletter.{reason}.>")]
}

fn head(delivery: &Delivery) -> DeadLetterHead {
    let size_bytes = delivery.header("Nats-Msg-Size").and_then(|size| size.parse().ok()).unwrap_or(0);
    let (sequence, kept_at) = (delivery.stream_sequence(), delivery.published());
    DeadLetterHead::read(sequence, kept_at, delivery.subject(), delivery.headers(), size_bytes)
}
