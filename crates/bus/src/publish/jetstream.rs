//! Single publishes to JetStream: the ack and the meaning of a refusal.

use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::connect::Bus;
use crate::error::{BusError, BusErrorKind};

/// An ack in flight: `true` if the stream had the message already.
pub(super) type Ack = BoxFuture<'static, Result<bool, BusError>>;

impl Bus {
    /// Publishes one message of a command and waits for its ack. A role publishes through a
    /// [`Publisher`](crate::Publisher), which retries.
    ///
    /// # Errors
    /// Transient, if JetStream does not acknowledge, in which case it may have the message; configuration, if the
    /// permission is missing.
    pub async fn publish_acknowledged(&self, subject: &str, message_id: &str, payload: Bytes) -> Result<(), BusError> {
        let published = publish(self, subject, message_id, HeaderMap::new(), payload).await;
        let named = |error| self.denied.or_inbox(&self.inbox, self.denied.or("publish", &[subject], error));
        published.map(drop).map_err(named)
    }
}

/// Publishes one message and waits for its ack; returns `true` if the stream had it already.
pub(crate) async fn publish(
    bus: &Bus,
    subject: &str,
    message_id: &str,
    mut headers: HeaderMap,
    payload: Bytes,
) -> Result<bool, BusError> {
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
    publish_message(bus, subject, headers, payload).await
}

/// Publishes one message with the given headers only: without a message id the stream does not recognize duplicates.
pub(crate) async fn publish_message(
    bus: &Bus,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<bool, BusError> {
    hand_over(bus, subject, headers, payload).await?.await
}

/// Waits until async-nats has taken a message; returns its ack, which comes later.
pub(super) async fn hand_over(bus: &Bus, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<Ack, BusError> {
    let subject = subject.to_owned();
    match bus.jetstream.publish_with_headers(subject.clone(), headers, payload).await {
        Ok(ack) => Ok(ack
            .into_future()
            .map(move |acked| acked.map(|ack| ack.duplicate).map_err(|error| publish_error(&subject, error)))
            .boxed()),
        Err(error) => Err(publish_error(&subject, error)),
    }
}

fn publish_error(subject: &str, error: PublishError) -> BusError {
    let kind = match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => BusErrorKind::Permanent,
        PublishErrorKind::Other => refusal(&error),
        _ => BusErrorKind::Transient,
    };
    BusError::caused(kind, format!("publish to {subject}"), error)
}

/// Classifies a refusal by JetStream. Code 10077 means "full" and also wraps disk errors; both may pass.
fn refusal(error: &PublishError) -> BusErrorKind {
    let reply =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    match reply.map(async_nats::jetstream::Error::error_code) {
        Some(ErrorCode::STREAM_STORE_FAILED) => BusErrorKind::StreamFull,
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM) => {
            BusErrorKind::Permanent
        }
        _ => BusErrorKind::Transient,
    }
}
