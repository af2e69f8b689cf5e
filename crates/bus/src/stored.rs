//! What consumers have acknowledged and a stream still holds, for those who must read it once more.

use std::collections::HashSet;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use futures::TryStreamExt;

use crate::connect::Bus;
use crate::deadletter::{UNDELIVERABLE, sequence_of};
use crate::error::BusError;
use crate::streams::DEAD_LETTER_STREAM;

/// How far a consumer has come in its stream, in sequences of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The oldest message that the stream holds.
    pub first: u64,
    /// Everything up to here is acknowledged.
    pub acknowledged: u64,
    /// The newest message that was delivered; what lies between may be acknowledged or not.
    pub delivered: u64,
}

impl Bus {
    /// How far a consumer has come.
    ///
    /// # Errors
    /// Transient, if NATS does not answer or there is no such consumer; configuration, if a right is missing.
    pub async fn progress(&self, stream: &str, durable: &str) -> Result<Progress, BusError> {
        let denied = |right: String, error: Box<dyn std::error::Error + Send + Sync>| {
            let attempt = format!("look at consumer {durable} of stream {stream}");
            self.denied.or("publish", &[&right], BusError::transient(attempt, error))
        };
        let found = self.jetstream.get_stream(stream).await;
        let found = found.map_err(|error| denied(format!("$JS.API.STREAM.INFO.{stream}"), error.into()))?;
        let consumer: Result<PullConsumer, _> = self.jetstream.get_consumer_from_stream(durable, stream).await;
        let right = format!("$JS.API.CONSUMER.INFO.{stream}.{durable}");
        let consumer = consumer.map_err(|error| denied(right, error.into()))?;
        let info = consumer.cached_info();
        Ok(Progress {
            first: found.cached_info().state.first_sequence,
            acknowledged: info.ack_floor.stream_sequence,
            delivered: info.delivered.stream_sequence,
        })
    }

    /// The bytes of one message; `None` if the stream does not hold it any more.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; configuration, if a right is missing.
    pub async fn payload(&self, stream: &str, sequence: u64) -> Result<Option<Bytes>, BusError> {
        let attempt = || format!("read message {sequence} of stream {stream}");
        let found = self.jetstream.get_stream_no_info(stream).await;
        let found = found.map_err(|error| BusError::transient(attempt(), error))?;
        match found.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => {
                let right = format!("$JS.API.STREAM.MSG.GET.{stream}");
                Err(self.denied.or("publish", &[&right], BusError::transient(attempt(), error)))
            }
        }
    }

    /// The sequences of messages of a stream that have ended a writer, or are being tried by one right now.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; configuration, if a right is missing.
    pub async fn undeliverable(&self, stream: &str) -> Result<HashSet<u64>, BusError> {
        let right = format!("$JS.API.STREAM.INFO.{DEAD_LETTER_STREAM}");
        let fault = |error: Box<dyn std::error::Error + Send + Sync>| {
            let attempt = format!("look for letters of messages that ended the writer in {DEAD_LETTER_STREAM}");
            self.denied.or("publish", &[&right], BusError::transient(attempt, error))
        };
        let found = self.jetstream.get_stream_no_info(DEAD_LETTER_STREAM).await.map_err(|error| fault(error.into()))?;
        let subjects = found.info_with_subjects(format!("deadletter.{UNDELIVERABLE}.>")).await;
        let mut subjects = subjects.map_err(|error| fault(error.into()))?;
        let mut sequences = HashSet::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(|error| fault(error.into()))? {
            sequences.extend(sequence_of(&subject, stream));
        }
        Ok(sequences)
    }
}
