//! One pull: a bounded request to a consumer, and its replies until no more will come.
//!
//! The replies do not come in order. A replicated consumer (three copies) sends a message when its copies agree, but
//! the status that a batch is complete at once (nats-server 2.15, `409 Batch Completed`). async-nats ends its batch
//! there and drops what comes afterwards, which is then redelivered after `ack_wait`. So messages are counted: the
//! status carries the number of requested messages that will not come, and the others are waited for.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{StatusCode, Subject};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use crate::connect::{ACK_TIMEOUT, Bus};
use crate::error::{BusError, BusErrorKind};

/// Time for which a pull waits at the server for a first message.
const EXPIRES: Duration = Duration::from_secs(5);
/// Additional wait for the server to report that the time is over.
const REPLY_GRACE: Duration = Duration::from_secs(2);
/// Interval at which a waiting pull checks that its connection is still the same.
const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_millis(200);
const CONFLICT: u16 = 409;
/// Descriptions under that status which end a batch in order. The second: the next message is larger than the bytes
/// left to this pull, so the batch is full, even if it is empty.
const COMPLETE: [&str; 2] = ["Batch Completed", "Message Size Exceeds MaxBytes"];

/// Pulls the messages that are available now.
///
/// # Errors
/// Transient, if no message came and that is not because there is none.
pub(crate) async fn ready(
    bus: &Bus,
    consumer: &PullConsumer,
    max_messages: usize,
    max_bytes: usize,
) -> Result<Vec<Message>, BusError> {
    let request = BatchConfig { batch: max_messages, max_bytes, no_wait: true, ..BatchConfig::default() };
    pull(bus, consumer, request, ACK_TIMEOUT).await
}

/// Pulls one message, as soon as there is one.
///
/// # Errors
/// As [`ready`].
pub(crate) async fn first(bus: &Bus, consumer: &PullConsumer) -> Result<Vec<Message>, BusError> {
    let request = BatchConfig { batch: 1, expires: Some(EXPIRES), ..BatchConfig::default() };
    pull(bus, consumer, request, EXPIRES + REPLY_GRACE).await
}

/// Receives messages until no more will come or none came for `idle_timeout`. A pull does not survive its connection,
/// so a new connection ends it at once.
async fn pull(
    bus: &Bus,
    consumer: &PullConsumer,
    request: BatchConfig,
    idle_timeout: Duration,
) -> Result<Vec<Message>, BusError> {
    let inbox = Subject::from(bus.client.new_inbox());
    let replies = bus.client.subscribe(inbox.clone()).await;
    let mut replies = replies.map_err(|error| BusError::transient("pull messages", error))?;
    let n_connects = bus.n_connects();
    let mut n_expected = request.batch;
    consumer.request_batch(request, inbox).await.map_err(|error| BusError::transient("pull messages", error))?;
    let (mut batch, mut deadline) = (Vec::new(), Instant::now() + idle_timeout);
    while batch.len() < n_expected {
        let reply = match timeout(CONNECTION_CHECK_INTERVAL, replies.next()).await {
            Ok(Some(message)) => classify(message),
            Err(_) if bus.n_connects() == n_connects && Instant::now() < deadline => continue,
            Ok(None) | Err(_) => PullReply::Error("no answer from the server".to_owned()),
        };
        match reply {
            PullReply::Message(message) => {
                batch.push(Message { message: *message, context: bus.jetstream.clone() });
                deadline = Instant::now() + idle_timeout;
            }
            PullReply::Heartbeat => deadline = Instant::now() + idle_timeout,
            PullReply::Omitted(n_omitted) => n_expected = n_expected.saturating_sub(n_omitted),
            PullReply::End => break,
            // The messages before the error are good; an error that persists recurs at the next pull.
            PullReply::Error(_) if !batch.is_empty() => break,
            PullReply::Error(message) => {
                return Err(BusError::new(BusErrorKind::Transient, format!("receive messages: {message}")));
            }
        }
    }
    Ok(batch)
}

enum PullReply {
    Message(Box<async_nats::Message>),
    Heartbeat,
    /// The number of requested messages that will not come; the others are here or in flight.
    Omitted(usize),
    /// No more messages will come.
    End,
    Error(String),
}

fn classify(message: async_nats::Message) -> PullReply {
    let description = message.description.as_deref().unwrap_or_default();
    match message.status.unwrap_or(StatusCode::OK) {
        StatusCode::OK => PullReply::Message(Box::new(message)),
        StatusCode::IDLE_HEARTBEAT => PullReply::Heartbeat,
        StatusCode::NOT_FOUND | StatusCode::TIMEOUT => n_omitted(&message).map_or(PullReply::End, PullReply::Omitted),
        status if status.as_u16() == CONFLICT && COMPLETE.contains(&description) => {
            n_omitted(&message).map_or(PullReply::End, PullReply::Omitted)
        }
        status => PullReply::Error(format!("{status} {description}")),
    }
}

fn n_omitted(message: &async_nats::Message) -> Option<usize> {
    message.headers.as_ref()?.get("Nats-Pending-Messages")?.as_str().parse().ok()
}
