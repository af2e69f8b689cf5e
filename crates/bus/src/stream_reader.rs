//! Reads stored messages by sequence, without a consumer: for the writer, which restores what a store has lost.
//!
//! Needs the permissions to publish to `$JS.API.STREAM.INFO`, `$JS.API.CONSUMER.INFO` and `$JS.API.STREAM.MSG.GET` of
//! the stream, and changes nothing on the server.

use std::ops::RangeInclusive;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind, Stream};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use spindle_core::Timestamp;

use crate::connect::Bus;
use crate::error::BusError;

/// The position of a consumer in its stream, in sequences of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerPosition {
    /// The oldest message that the stream holds.
    pub first: u64,
    /// The ack floor: everything up to it is acknowledged.
    pub acknowledged: u64,
    /// The newest message delivered; messages between the floor and it may be acknowledged or not.
    pub delivered: u64,
}

/// A message as the stream holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Time at which the server took it.
    pub published: Timestamp,
    /// Its bytes.
    pub payload: Bytes,
}

/// Reads in flight at once. The server answers each from its block cache, so the round trip is what costs.
const READS_AT_ONCE: usize = 32;

impl Bus {
    /// Returns the position of a consumer.
    ///
    /// # Errors
    /// Transient, if NATS does not answer or the consumer does not exist; configuration, if a permission is missing.
    pub async fn consumer_position(&self, stream: &str, durable: &str) -> Result<ConsumerPosition, BusError> {
        let attempt = || format!("look up consumer {durable} of stream {stream}");
        let found = self.jetstream.get_stream(stream).await;
        let found = found.map_err(|error| self.denied.api_error(attempt(), &format!("STREAM.INFO.{stream}"), error))?;
        let consumer: Result<PullConsumer, _> = self.jetstream.get_consumer_from_stream(durable, stream).await;
        let api = format!("CONSUMER.INFO.{stream}.{durable}");
        let consumer = consumer.map_err(|error| self.denied.api_error(attempt(), &api, error))?;
        let info = consumer.cached_info();
        Ok(ConsumerPosition {
            first: found.cached_info().state.first_sequence,
            acknowledged: info.ack_floor.stream_sequence,
            delivered: info.delivered.stream_sequence,
        })
    }

    /// Reads messages of `range` in order, at most `max_messages` of them, and stops once they have `max_bytes` or
    /// more. Returns them with the sequence to go on from, which is beyond `range` at its end. Sequences that the
    /// stream does not hold are skipped.
    ///
    /// # Errors
    /// Transient, if NATS does not answer; configuration, if a permission is missing. The same call may be repeated.
    pub async fn read_range(
        &self,
        stream: &str,
        range: RangeInclusive<u64>,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<(Vec<StoredMessage>, u64), BusError> {
        let found = self.jetstream.get_stream(stream).await.map_err(|error| {
            self.denied.api_error(format!("look up stream {stream}"), &format!("STREAM.INFO.{stream}"), error)
        })?;
        let held = &found.cached_info().state;
        let first = held.first_sequence.max(*range.start());
        let last = held.last_sequence.min(*range.end());
        let last_here = last.min(first.saturating_add(max_messages.max(1) as u64 - 1));
        let mut reads = futures::stream::iter(first..=last_here)
            .map(|sequence| raw_message(&found, sequence).map(move |message| (sequence, message)))
            .buffered(READS_AT_ONCE);
        let (mut messages, mut n_bytes) = (Vec::new(), 0);
        while let Some((sequence, message)) = reads.next().await {
            let message = message.map_err(|error| {
                let attempt = format!("read message {sequence} of stream {stream}");
                self.denied.api_error(attempt, &format!("STREAM.MSG.GET.{stream}"), error)
            })?;
            if let Some(StreamMessage { time, payload, .. }) = message {
                n_bytes += payload.len();
                messages.push(StoredMessage { sequence, published: published(time), payload });
            }
            if n_bytes >= max_bytes && sequence < last {
                return Ok((messages, sequence + 1));
            }
        }
        let next = if last_here < last { last_here } else { *range.end() };
        Ok((messages, next.saturating_add(1)))
    }
}

/// Returns one message with its headers; `None` if the stream does not hold it.
pub(crate) async fn raw_message<I>(
    stream: &Stream<I>,
    sequence: u64,
) -> Result<Option<StreamMessage>, RawMessageError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Converts the server's time; a time out of range becomes 1970.
pub(crate) fn published(time: DateTime) -> Timestamp {
    Timestamp::from_ns(i64::try_from(time.unix_timestamp_nanos()).unwrap_or(0))
}
