//! A consumer that somebody else made or changed, and one that seems to be ahead of its stream.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use futures::StreamExt;
use serde_json::{Value, json};
use spindle_bus::{BusError, BusErrorKind, Consumer, ConsumerLimits, METRICS_STREAM, METRICS_SUBJECT};
use spindle_testkit::{NatsServer, Options};
use support::{connect, ends, names, put_many, started};

const DURABLE: &str = "test";

const LIMITS: ConsumerLimits = ConsumerLimits {
    max_messages: 10,
    max_bytes: 1 << 20,
    linger: Duration::ZERO,
    max_ack_pending: 1000,
    ack_wait: Duration::from_secs(1),
};

#[tokio::test]
async fn a_consumer_that_would_leave_out_messages_is_corrected_or_made_again() {
    let (server, bus, witness) = started().await;
    let client = async_nats::connect(server.url()).await.unwrap();
    put_many(&witness, METRICS_SUBJECT, 5).await;
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    let durable = || pull::Config { durable_name: Some(DURABLE.to_owned()), ..pull::Config::default() };
    let wrong = [
        ("ack_policy", pull::Config { ack_policy: AckPolicy::None, ..durable() }),
        ("ack_policy", pull::Config { ack_policy: AckPolicy::All, ..durable() }),
        ("deliver_policy", pull::Config { deliver_policy: DeliverPolicy::New, ..durable() }),
        (
            "opt_start_seq",
            pull::Config { deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: 4 }, ..durable() },
        ),
        ("mem_storage", pull::Config { memory_storage: true, ..durable() }),
        ("filter_subject", pull::Config { filter_subject: "events.metrics".to_owned(), ..durable() }),
        ("max_deliver", pull::Config { max_deliver: 1, ..durable() }),
        ("inactive_threshold", pull::Config { inactive_threshold: Duration::from_secs(60), ..durable() }),
        ("headers_only", pull::Config { headers_only: true, ..durable() }),
        ("max_batch", pull::Config { max_batch: 1, ..durable() }),
    ];
    for (field, config) in wrong {
        stream.create_consumer(config).await.unwrap();
        let mut consumer = Consumer::open(bus.clone(), METRICS_STREAM, DURABLE, LIMITS).await.unwrap();
        let batch = ends("next()", consumer.next()).await.unwrap();
        let payloads: Vec<_> = batch.iter().map(|delivery| delivery.payload().clone()).collect();
        assert_eq!(payloads, names(5), "{field}");
        let answer = client.request(format!("$JS.API.CONSUMER.INFO.{METRICS_STREAM}.{DURABLE}"), "".into()).await;
        let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
        let set = &answer["config"][field];
        let expected = match field {
            "ack_policy" => json!("explicit"),
            "deliver_policy" => json!("all"),
            _ => Value::Null,
        };
        assert!(*set == expected || set == -1, "{field} is {set}");
        stream.delete_consumer(DURABLE).await.unwrap();
    }
}

#[tokio::test]
async fn correcting_a_consumer_keeps_its_position_and_its_metadata() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 5).await;
    let mut consumer = Consumer::open(bus.clone(), METRICS_STREAM, DURABLE, LIMITS).await.unwrap();
    for delivery in &ends("next()", consumer.next()).await.unwrap()[..3] {
        delivery.ack().await.unwrap();
    }
    bus.set_consumer_metadata(METRICS_STREAM, DURABLE, "key", "value").await.unwrap();
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    let found: PullConsumer = stream.get_consumer(DURABLE).await.unwrap();
    let created = found.cached_info().created;
    let config = pull::Config {
        durable_name: Some(DURABLE.to_owned()),
        max_deliver: 1,
        metadata: found.cached_info().config.metadata.clone(),
        ..pull::Config::default()
    };
    stream.update_consumer(config).await.unwrap();
    drop(Consumer::open(bus.clone(), METRICS_STREAM, DURABLE, LIMITS).await.unwrap());
    let info = stream.consumer_info(DURABLE).await.unwrap();
    assert_eq!((info.created, info.config.max_deliver), (created, -1));
    assert_eq!(info.ack_floor.stream_sequence, 3);
    assert_eq!(bus.consumer_metadata(METRICS_STREAM, DURABLE, "key").await.unwrap().as_deref(), Some("value"));
}

/// Plays JetStream's side for one stream and consumer: no real server shows a lagging leader on demand.
struct Played {
    /// Newest sequence of the stream in each answer; the last one repeats.
    last_sequences: VecDeque<u64>,
    n_replicas: u64,
    /// A copy is behind.
    is_catching_up: bool,
    n_deletions: usize,
}

const DELIVERED: u64 = 8;

fn answer(played: &mut Played, subject: &str) -> Value {
    let position = json!({"consumer_seq": DELIVERED, "stream_seq": if played.n_deletions > 0 { 0 } else { DELIVERED }});
    if subject.starts_with("played.CONSUMER.DELETE.") {
        played.n_deletions += 1;
        return json!({"success": true});
    }
    if subject.starts_with("played.STREAM.INFO.") {
        let last = played.last_sequences[0];
        if played.last_sequences.len() > 1 {
            played.last_sequences.pop_front();
        }
        let config = json!({"name": METRICS_STREAM, "num_replicas": played.n_replicas});
        let state = json!({"messages": last, "bytes": 100 * last, "first_seq": 1, "last_seq": last});
        let replicas = json!([{"name": "n1", "current": !played.is_catching_up}]);
        return json!({"config": config, "state": state, "cluster": {"leader": "n0", "replicas": replicas}});
    }
    let config = json!({
        "durable_name": DURABLE, "name": DURABLE, "deliver_policy": "all", "ack_policy": "explicit",
        "ack_wait": 1_000_000_000, "max_deliver": -1, "replay_policy": "instant", "max_waiting": 512,
        "max_ack_pending": 1000, "num_replicas": 0,
    });
    json!({
        "stream_name": METRICS_STREAM, "name": DURABLE, "created": "2026-01-01T00:00:00Z", "config": config,
        "delivered": position, "ack_floor": position, "num_ack_pending": 0, "num_redelivered": 0, "num_waiting": 0,
        "num_pending": 0,
    })
}

/// Opens the consumer against the played JetStream; returns the outcome and the number of resets.
async fn open_played(last_sequences: &[u64], n_replicas: u64, is_catching_up: bool) -> (Result<(), BusError>, usize) {
    // An account without JetStream, whose requests to the API arrive here.
    let extra_config =
        r#"accounts { PLAYED: { users: [{ user: u, password: p }], mappings: { "$JS.API.>": "played.>" } } }
no_auth_user: u
"#
        .to_owned();
    let server = NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut requests = client.subscribe("played.>").await.unwrap();
    client.flush().await.unwrap();
    let last_sequences = last_sequences.iter().copied().collect();
    let played = Arc::new(Mutex::new(Played { last_sequences, n_replicas, is_catching_up, n_deletions: 0 }));
    let playing = tokio::spawn({
        let played = played.clone();
        async move {
            while let Some(request) = requests.next().await {
                let answer = answer(&mut played.lock().unwrap(), &request.subject).to_string();
                client.publish(request.reply.unwrap(), answer.into()).await.unwrap();
            }
        }
    });
    let bus = connect(&server).await;
    let opened = ends("open()", Consumer::open(bus, METRICS_STREAM, DURABLE, LIMITS)).await.map(drop);
    playing.abort();
    let n_deletions = played.lock().unwrap().n_deletions;
    (opened, n_deletions)
}

#[tokio::test]
async fn a_consumer_ahead_of_its_stream_is_reset_only_when_it_is_so_twice() {
    let (opened, n_resets) = open_played(&[5], 1, false).await;
    opened.unwrap();
    assert_eq!(n_resets, 1, "the stream was restored from an older state");
    let (opened, n_resets) = open_played(&[5, 9], 1, false).await;
    opened.unwrap();
    assert_eq!(n_resets, 0, "the second look finds everything");
    let (opened, n_resets) = open_played(&[DELIVERED], 1, false).await;
    opened.unwrap();
    assert_eq!(n_resets, 0);
}

#[tokio::test]
async fn a_leader_that_catches_up_resets_nothing() {
    let (opened, n_resets) = open_played(&[5, 9], 3, false).await;
    opened.unwrap();
    assert_eq!(n_resets, 0);
    let (opened, n_resets) = open_played(&[5, 6], 3, false).await;
    assert_eq!((opened.unwrap_err().kind(), n_resets), (BusErrorKind::Transient, 0), "it moves on");
    let (opened, n_resets) = open_played(&[5], 3, true).await;
    assert_eq!((opened.unwrap_err().kind(), n_resets), (BusErrorKind::Transient, 0), "a copy is behind");
    let (opened, n_resets) = open_played(&[5], 3, false).await;
    opened.unwrap();
    assert_eq!(n_resets, 1);
}
