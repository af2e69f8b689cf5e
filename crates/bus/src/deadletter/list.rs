//! Reading through the dead letters, oldest first: page after page, headers alone, so that a stream of
//! any size costs little memory and no payload is moved.
//!
//! It reads with a consumer of its own that the server forgets by itself, and that acknowledges nothing.
//! What was kept after the beginning is not shown: a reader that replays letters would otherwise meet
//! them again when they come back.

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

/// Messages asked for at once; with headers of at most 4 KiB or so, some MiB.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 16 << 20;
/// The server forgets a consumer that nobody has asked for this long: also when we were killed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// The letters that a filter takes, from the oldest to the one that was the newest at the beginning.
#[derive(Debug)]
pub struct DeadLetterPages {
    bus: Bus,
    filter: DeadLetterFilter,
    consumer: Option<PullConsumer>,
    /// The consumer counts what it sends; a number left out is a message that was lost on its way.
    n_received: u64,
    next_sequence: u64,
    last_sequence: u64,
    is_finished: bool,
}

impl Bus {
    /// Begins to read the letters that `filter` takes.
    ///
    /// # Errors
    /// [`BusErrorKind::Configuration`] if there is no such stream, [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn dead_letters(&self, filter: DeadLetterFilter) -> Result<DeadLetterPages, BusError> {
        let last_sequence = self.dead_letter_stream().await?.cached_info().state.last_sequence;
        Ok(self.letters_between(filter, 1, last_sequence))
    }

    /// Those with sequences from `first` to `last`, both inclusive.
    pub(super) fn letters_between(&self, filter: DeadLetterFilter, first: u64, last: u64) -> DeadLetterPages {
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
                format!("there is no stream {DEAD_LETTER_STREAM} on this NATS server: has Spindle run with it?"),
            ),
            _ => self.no_answer("look at", &format!("STREAM.INFO.{DEAD_LETTER_STREAM}"), error),
        })
    }
}

impl DeadLetterPages {
    /// The sequence of the newest letter that can be among them.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The next letters that the filter takes, perhaps none; `None` at the end. After an error the same
    /// call goes on where it was.
    ///
    /// # Errors
    /// [`BusErrorKind::Transient`] if NATS does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<DeadLetterHead>>, BusError> {
        if self.is_finished || self.next_sequence > self.last_sequence {
            self.forget_consumer().await;
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
        let subject = self.api_subject("MSG.NEXT", &consumer.cached_info().name);
        let pulled = pull::ready(&self.bus, &consumer, PAGE, PAGE_BYTES).await;
        let deliveries = pulled.map_err(|error| self.bus.no_answer("read", &subject, error))?;
        if deliveries.is_empty() && self.n_left(consumer).await? == 0 {
            self.is_finished = true;
        }
        let mut letters = Vec::new();
        for delivery in deliveries.into_iter().map(Delivery::from) {
            self.n_received += 1;
            if delivery.consumer_sequence() != self.n_received {
                self.consumer = None;
                break;
            }
            let sequence = delivery.stream_sequence();
            self.next_sequence = sequence + 1;
            self.is_finished = delivery.n_behind() == 0;
            let letter = read(&delivery);
            if sequence <= self.last_sequence && self.filter.takes(&letter) {
                letters.push(letter);
            }
        }
        Ok(letters)
    }

    async fn consumer(&mut self) -> Result<PullConsumer, BusError> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        let config = self.config();
        let subject = self.api_subject("CREATE", config.name.as_deref().unwrap_or_default());
        let stream = self.bus.dead_letter_stream().await?;
        let created = stream.create_consumer(config).await;
        let consumer = created.map_err(|error| self.bus.no_answer("read", &subject, error))?;
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
            inactive_threshold: FORGOTTEN_AFTER,
            filter_subjects: reason.map_or_else(Vec::new, subjects_of),
            ..Config::default()
        }
    }

    async fn n_left(&self, mut consumer: PullConsumer) -> Result<u64, BusError> {
        let subject = self.api_subject("INFO", &consumer.cached_info().name);
        let info = consumer.info().await.map_err(|error| self.bus.no_answer("read", &subject, error))?;
        Ok(info.num_pending)
    }

    fn api_subject(&self, verb: &str, consumer: &str) -> String {
        format!("CONSUMER.{verb}.{DEAD_LETTER_STREAM}.{consumer}")
    }

    /// A courtesy: the server forgets it in any case.
    async fn forget_consumer(&mut self) {
        if let Some(consumer) = self.consumer.take()
            && let Ok(stream) = self.bus.jetstream.get_stream_no_info(DEAD_LETTER_STREAM).await
        {
            let _ = stream.delete_consumer(&consumer.cached_info().name).await;
        }
    }
}

/// The subjects under which letters with a reason lie. None for a word that is no token of a subject: no
/// letter has it as its reason, and the server would take `*` for all of them.
pub(super) fn subjects_of(reason: &str) -> Vec<String> {
    if reason.is_empty() || reason.contains(['.', '*', '>']) || reason.contains(char::is_whitespace) {
        return Vec::new();
    }
    vec![format!("deadletter.{reason}"), format!("deadletter.{reason}.>")]
}

fn read(delivery: &Delivery) -> DeadLetterHead {
    let size_bytes = delivery.header("Nats-Msg-Size").and_then(|size| size.parse().ok()).unwrap_or(0);
    let (sequence, kept_at) = (delivery.stream_sequence(), delivery.published());
    DeadLetterHead::read(sequence, kept_at, delivery.subject(), delivery.headers(), size_bytes)
}

impl Bus {
    /// What to report when a call to JetStream's `api_subject` failed: the missing right, if that is why, for
    /// then the server does not answer at all.
    pub(super) fn no_answer(
        &self,
        what: &str,
        api_subject: &str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> BusError {
        let subject = format!("$JS.API.{api_subject}");
        self.denied.or("publish", &[&subject], BusError::transient(format!("{what} the dead letters"), error))
    }
}
