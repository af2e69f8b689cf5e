//! Reading stored messages by sequence, as the writer does to restore what a store has lost.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::Duration;

use spindle_bus::{
    Bus, BusErrorKind, Consumer, ConsumerLimits, ConsumerPosition, METRICS_STREAM, METRICS_SUBJECT, StoredMessage,
};
use spindle_core::Timestamp;
use spindle_testkit::{NatsServer, Options};
use support::{LIMITS, ends, names, put, put_many, settings, started, until};

const ALL: usize = usize::MAX;

async fn read(bus: &Bus, range: std::ops::RangeInclusive<u64>, n: usize, bytes: usize) -> (Vec<StoredMessage>, u64) {
    ends("read_range()", bus.read_range(METRICS_STREAM, range, n, bytes)).await.unwrap()
}

fn payloads(messages: &[StoredMessage]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8(message.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_range_is_read_in_order_and_missing_sequences_are_skipped() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 200).await;
    let (messages, next) = read(&bus, 1..=200, ALL, ALL).await;
    assert_eq!((payloads(&messages), next), (names(200), 201));
    assert!(messages.iter().zip(1..).all(|(message, sequence)| message.sequence == sequence));
    assert!(messages.iter().all(|message| message.published > Timestamp::from_seconds(1_700_000_000)));
    assert!(messages.is_sorted_by_key(|message| message.published));

    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    stream.purge().sequence(51).await.unwrap();
    for sequence in [60, 61, 200] {
        stream.delete_message(sequence).await.unwrap();
    }
    let (messages, next) = read(&bus, 1..=300, ALL, ALL).await;
    let expected: Vec<_> = (51..200).filter(|sequence| ![60, 61].contains(sequence)).collect();
    assert_eq!(messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), expected);
    assert_eq!(next, 301);
    assert_eq!(read(&bus, 300..=400, ALL, ALL).await, (Vec::new(), 401), "beyond the stream");
    assert_eq!(read(&bus, 1..=20, ALL, ALL).await, (Vec::new(), 21), "before the stream");
}

#[tokio::test]
async fn a_range_is_read_in_pieces_within_both_limits() {
    let (_server, bus, witness) = started().await;
    for id in names(100) {
        put(&witness, METRICS_SUBJECT, &id, id.clone() + &"x".repeat(100)).await;
    }
    for (max_messages, max_bytes, longest) in [(30, ALL, 30), (ALL, 1000, 10), (1, ALL, 1), (0, 0, 1), (1000, 100, 1)] {
        let (mut sequences, mut next) = (Vec::new(), 1);
        while next <= 100 {
            let (messages, further) = read(&bus, next..=100, max_messages, max_bytes).await;
            assert!((1..=longest).contains(&messages.len()), "{} messages", messages.len());
            assert_eq!(further, messages.last().unwrap().sequence + 1);
            sequences.extend(messages.iter().map(|message| message.sequence));
            next = further;
        }
        assert_eq!(sequences, (1..=100).collect::<Vec<_>>(), "{max_messages} messages, {max_bytes} bytes");
        assert_eq!(next, 101);
    }
}

#[tokio::test]
async fn a_consumers_position_is_what_it_acknowledged_and_what_was_delivered() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 20).await;
    witness.get_stream(METRICS_STREAM).await.unwrap().purge().sequence(3).await.unwrap();
    let limits = ConsumerLimits {
        max_messages: 10,
        max_bytes: 1 << 20,
        linger: Duration::ZERO,
        max_ack_pending: 100,
        ack_wait: Duration::from_secs(30),
    };
    let mut consumer = Consumer::open(bus.clone(), METRICS_STREAM, "test", limits).await.unwrap();
    let batch = ends("next()", consumer.next()).await.unwrap();
    // Without the fifth, so the floor stays below it.
    for delivery in batch.iter().enumerate().filter(|(index, _)| *index != 4).map(|(_, delivery)| delivery) {
        delivery.ack().await.unwrap();
    }
    let expected = ConsumerPosition { first: 3, acknowledged: 6, delivered: 12 };
    let position = async || bus.consumer_position(METRICS_STREAM, "test").await.unwrap();
    until("the acks to be counted", async || position().await == expected).await;
    let error = bus.consumer_position(METRICS_STREAM, "none").await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient);
    assert!(error.to_string().contains("none of stream METRICS"), "{error}");
}

/// The server does not reply to a denied request, so only its report of the denial gives the cause.
#[tokio::test]
async fn a_missing_permission_is_named() {
    let extra_config = "authorization { users: [
        { user: all, password: p }
        { user: few, password: p, permissions { publish: [\"$JS.API.STREAM.INFO.METRICS\"], subscribe: [\"_INBOX.>\"] } }
    ] }"
    .to_owned();
    let server = NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap();
    let url = |user: &str| format!("nats://{user}:p@127.0.0.1:{}", server.port());
    let all = Bus::connect(&settings(&url("all")), "test").await.unwrap();
    all.ensure_streams(LIMITS).await.unwrap();
    let publisher = async_nats::ConnectOptions::with_user_and_password("all".to_owned(), "p".to_owned());
    let witness = async_nats::jetstream::new(publisher.connect(server.url()).await.unwrap());
    put(&witness, METRICS_SUBJECT, "m1", "x").await;

    let few = Bus::connect(&settings(&url("few")), "test").await.unwrap();
    let error = few.read_range(METRICS_STREAM, 1..=1, ALL, ALL).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("may not publish to '$JS.API.STREAM.MSG.GET.METRICS'"), "{error}");
}
