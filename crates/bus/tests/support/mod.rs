//! Helpers for all tests of the bus: a server for each test, a witness that uses NATS without the bus, and waiting for a
//! state.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]
#![allow(dead_code, unreachable_pub, reason = "each test file compiles its own copy and uses only a part")]

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{Context, stream};
use bytes::Bytes;
use futures::StreamExt;
use spindle_bus::{Bus, Credentials, NatsSettings, StreamLimits};
use spindle_testkit::NatsServer;

/// Longer than any state here takes to be reached, even on a busy machine and after a lost ack.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Small, so that nothing depends on the machine's disk.
pub const LIMITS: StreamLimits =
    StreamLimits { metrics_bytes: 16 << 20, events_bytes: 8 << 20, dead_letter_bytes: 4 << 20, retention: None };

pub fn settings(url: &str) -> NatsSettings {
    NatsSettings { url: url.to_owned(), credentials: Credentials::default(), connect_timeout: Duration::from_secs(10) }
}

pub async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(&settings(&server.url()), "test").await.unwrap()
}

/// A server with the three streams, a bus on it, and the witness.
pub async fn started() -> (NatsServer, Bus, Context) {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(LIMITS).await.unwrap();
    let witness = witness(&server).await;
    (server, bus, witness)
}

/// JetStream without the bus: its answers do not depend on the code under test.
pub async fn witness(server: &NatsServer) -> Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// Waits until an asynchronous condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < TIMEOUT, "waited {TIMEOUT:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until there is a value.
pub async fn some<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "waited {TIMEOUT:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Wraps a future that must end within [`TIMEOUT`].
pub fn ends<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let future = tokio::time::timeout(TIMEOUT, Box::pin(future));
    async move { future.await.unwrap_or_else(|_| panic!("{what} did not end within {TIMEOUT:?}")) }
}

/// Publishes `payload` under `message_id` without the bus; returns the sequence.
pub async fn put(witness: &Context, subject: &'static str, message_id: &str, payload: impl Into<Bytes>) -> u64 {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", message_id);
    witness.publish_with_headers(subject, headers, payload.into()).await.unwrap().await.unwrap().sequence
}

/// Publishes messages `m1` to `m<n>`, whose payload is their name.
pub async fn put_many(witness: &Context, subject: &'static str, n: usize) {
    for id in names(n) {
        put(witness, subject, &id, id.clone()).await;
    }
}

pub fn names(n: usize) -> Vec<String> {
    (1..=n).map(|number| format!("m{number}")).collect()
}

/// Reads everything a stream holds, oldest first, and removes its consumer afterwards.
pub async fn content(witness: &Context, stream: &str) -> Vec<async_nats::Message> {
    let mut stream = witness.get_stream(stream).await.unwrap();
    let n_messages = usize::try_from(stream.info().await.unwrap().state.messages).unwrap();
    if n_messages == 0 {
        return Vec::new();
    }
    let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let asked = consumer.batch().max_messages(n_messages).expires(TIMEOUT).messages().await.unwrap();
    let messages: Vec<_> = asked.map(|message| message.unwrap().message).collect().await;
    assert_eq!(messages.len(), n_messages);
    stream.delete_consumer(&consumer.cached_info().name).await.unwrap();
    messages
}

/// Reads the message ids in a stream, oldest first.
pub async fn ids(witness: &Context, stream: &str) -> Vec<String> {
    content(witness, stream).await.iter().map(|message| header(message, "Nats-Msg-Id").to_owned()).collect()
}

/// Returns a header of a message; empty if there is none of that name.
pub fn header<'m>(message: &'m async_nats::Message, name: &str) -> &'m str {
    message.headers.as_ref().and_then(|headers| headers.get(name)).map_or("", |value| value.as_str())
}

pub async fn config_of(witness: &Context, name: &str) -> stream::Config {
    witness.get_stream(name).await.unwrap().cached_info().config.clone()
}

/// Formats an error as it is logged: the failed operation, then its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
