//! What consumers have acknowledged and a stream still holds, for those who must read it once more.

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;

use crate::connect::Bus;
use crate::error::BusError;

/// How far a consumer has come in its stream, in sequences of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerPosition {
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
    pub async fn progress(&self, stream: &str, durable: &str) -> Result<ConsumerPosition, BusError> {
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
        Ok(ConsumerPosition {
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
}
