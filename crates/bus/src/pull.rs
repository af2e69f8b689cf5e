//! One pull: a bounded request to a consumer, and its answers until there will be no more.
//!
//! The answers do not come in order. A replicated consumer (three copies) sends a message when its copies agree, but the
//! word that a batch is complete at once (nats-server 2.15, `409 Batch Completed`). async-nats ends its batch there and
//! forgets what comes afterwards, which then comes again after `ack_wait`. So we count: the word says how many of the
//! messages asked for will not come, and the others are waited for.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::{StatusCode, Subject};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use crate::connect::{ACK_TIMEOUT, Bus};
use crate::error::{BusError, BusErrorKind};

/// One pull waits this long at the server for a first message.
const EXPIRES: Duration = Duration::from_secs(5);
/// And we wait that much longer for the server to say so.
const REPLY_GRACE: Duration = Duration::from_secs(2);
/// How often a waiting pull looks whether its connection is still the same.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const CONFLICT: u16 = 409;
/// The words under that status which end a batch in order. The second: the next message is larger than what this pull
/// may still bring, so it is full, if only of nothing.
const COMPLETE: [&str; 2] = ["Batch Completed", "Message Size Exceeds MaxBytes"];

/// What is there right now.
///
/// # Errors
/// Transient, if nothing came for another reason than that there is nothing.
pub(crate) async fn ready(
    bus: &Bus,
    consumer: &PullConsumer,
    max_messages: usize,
    max_bytes: usize,
) -> Result<Vec<Message>, BusError> {
    let request = BatchConfig { batch: max_messages, max_bytes, no_wait: true, ..BatchConfig::default() };
    pull(bus, consumer, request, ACK_TIMEOUT).await
}

/// One message, as soon as there is one.
///
/// # Errors
/// As [`ready`].
pub(crate) async fn first(bus: &Bus, consumer: &PullConsumer) -> Result<Vec<Message>, BusError> {
    let request = BatchConfig { batch: 1, expires: Some(EXPIRES), ..BatchConfig::default() };
    pull(bus, consumer, request, EXPIRES + REPLY_GRACE).await
}

/// Messages until there will be no more, or none came for `patience`. A pull does not survive its connection, so a
/// new connection ends it at once.
async fn pull(
    bus: &Bus,
    consumer: &PullConsumer,
    request: BatchConfig,
    patience: Duration,
) -> Result<Vec<Message>, BusError> {
    let inbox = Subject::from(bus.client.new_inbox());
    let answers = bus.client.subscribe(inbox.clone()).await;
    let mut answers = answers.map_err(|error| BusError::transient("pull messages", error))?;
    let n_connects = bus.n_connects();
    let mut n_expected = request.batch;
    consumer.request_batch(request, inbox).await.map_err(|error| BusError::transient("pull messages", error))?;
    let (mut batch, mut deadline) = (Vec::new(), Instant::now() + patience);
    while batch.len() < n_expected {
        let answer = match timeout(LOOK_EVERY, answers.next()).await {
            Ok(Some(message)) => read(message),
            Err(_) if bus.n_connects() == n_connects && Instant::now() < deadline => continue,
            Ok(None) | Err(_) => Answer::Fault("no answer from the server".to_owned()),
        };
        match answer {
            Answer::Message(message) => {
                batch.push(Message { message: *message, context: bus.jetstream.clone() });
                deadline = Instant::now() + patience;
            }
            Answer::Heartbeat => deadline = Instant::now() + patience,
            Answer::Rest(n_left_out) => n_expected = n_expected.saturating_sub(n_left_out),
            Answer::End => break,
            // What came before the fault is good; the fault is met again at the next pull, if it stays.
            Answer::Fault(_) if !batch.is_empty() => break,
            Answer::Fault(words) => {
                return Err(BusError::new(BusErrorKind::Transient, format!("receive messages: {words}")));
            }
        }
    }
    Ok(batch)
}

enum Answer {
    Message(Box<async_nats::Message>),
    Heartbeat,
    /// So many of those asked for will not come; the others are here or on their way.
    Rest(usize),
    /// What is here is all.
    End,
    Fault(String),
}

fn read(message: async_nats::Message) -> Answer {
    let words = message.description.as_deref().unwrap_or_default();
    match message.status.unwrap_or(StatusCode::OK) {
        StatusCode::OK => Answer::Message(Box::new(message)),
        StatusCode::IDLE_HEARTBEAT => Answer::Heartbeat,
        StatusCode::NOT_FOUND | StatusCode::TIMEOUT => n_left_out(&message).map_or(Answer::End, Answer::Rest),
        status if status.as_u16() == CONFLICT && COMPLETE.contains(&words) => {
            n_left_out(&message).map_or(Answer::End, Answer::Rest)
        }
        status => Answer::Fault(format!("{status} {words}")),
    }
}

fn n_left_out(message: &async_nats::Message) -> Option<usize> {
    message.headers.as_ref()?.get("Nats-Pending-Messages")?.as_str().parse().ok()
}
