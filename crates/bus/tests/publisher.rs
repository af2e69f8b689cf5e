//! Publishing without outages: acks, duplicates, refusals, closing.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use spindle_bus::{
    BufferLimits, EVENTS_STREAM, EVENTS_SUBJECT, METRICS_STREAM, METRICS_SUBJECT, Outgoing, PublishStats, Publisher,
    StreamLimits,
};
use spindle_testkit::{NatsServer, Options};
use support::{LIMITS, TIMEOUT, config_of, connect, ends, ids, names, started, until, witness};

fn metric(id: &str, n_bytes: usize) -> Outgoing {
    let payload = vec![b'x'; n_bytes].into();
    Outgoing { subject: METRICS_SUBJECT, message_id: id.to_owned(), payload, n_items: 2, urgent: false, as_of: None }
}

fn event(id: &str) -> Outgoing {
    Outgoing { subject: EVENTS_SUBJECT, n_items: 1, urgent: true, ..metric(id, 10) }
}

#[tokio::test]
async fn every_message_is_acknowledged_and_counted_once_and_the_work_ends_when_closed() {
    let (_server, bus, witness) = started().await;
    let (publisher, work) = Publisher::new(bus, BufferLimits { window: 32, ..BufferLimits::default() });
    let work = tokio::spawn(work);
    ends("drained() of an empty buffer", publisher.drained()).await;
    for id in names(500) {
        publisher.enqueue(metric(&id, 20));
    }
    publisher.enqueue(event("e1"));
    publisher.close();
    ends("drained()", publisher.drained()).await;
    ends("the work", work).await.unwrap();
    assert_eq!(publisher.stats(), PublishStats { n_acked: 1001, ..PublishStats::default() });
    let found: BTreeSet<_> = ids(&witness, METRICS_STREAM).await.into_iter().collect();
    assert_eq!(found, names(500).into_iter().collect());
    assert_eq!(ids(&witness, EVENTS_STREAM).await, ["e1"]);
}

#[tokio::test]
async fn what_comes_after_the_end_is_counted_and_holds_nobody_up() {
    let (_server, bus, witness) = started().await;
    let (publisher, work) = Publisher::new(bus, BufferLimits::default());
    publisher.close();
    ends("the work of a closed publisher", work).await;
    publisher.enqueue(metric("late", 10));
    ends("enqueue_when_room() on a closed publisher", publisher.enqueue_when_room(metric("later", 10))).await;
    assert_eq!(publisher.stats(), PublishStats { n_dropped_full: 4, ..PublishStats::default() });
    ends("drained()", publisher.drained()).await;
    assert_eq!(ids(&witness, METRICS_STREAM).await, Vec::<String>::new());
}

#[tokio::test]
async fn who_waits_for_room_is_let_go_when_it_closes() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(LIMITS).await.unwrap();
    server.kill();
    until("the loss to be noticed", async || !bus.is_connected()).await;
    let (publisher, _work) =
        Publisher::new(bus, BufferLimits { max_bytes: metric("buffered", 10).held_bytes(), window: 8 });
    publisher.enqueue(metric("buffered", 10));
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.enqueue_when_room(metric("waiting", 10)).await }
    });
    // On a single thread it runs until it waits.
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    publisher.close();
    ends("enqueue_when_room()", waiting).await.unwrap();
    let expected = PublishStats { n_dropped_full: 2, n_buffered: 2, ..PublishStats::default() };
    assert_eq!(publisher.stats(), expected);
}

#[tokio::test]
async fn the_same_id_twice_is_one_message_and_one_duplicate() {
    let (_server, bus, witness) = started().await;
    let (publisher, work) = Publisher::new(bus, BufferLimits::default());
    let work = tokio::spawn(work);
    for message in [event("same"), event("same"), event("other")] {
        publisher.enqueue(message);
    }
    ends("drained()", publisher.drained()).await;
    assert_eq!(publisher.stats(), PublishStats { n_acked: 3, n_duplicate: 1, ..PublishStats::default() });
    let found: BTreeSet<_> = ids(&witness, EVENTS_STREAM).await.into_iter().collect();
    assert_eq!(found, BTreeSet::from(["other".to_owned(), "same".to_owned()]));
    assert_eq!(ids(&witness, EVENTS_STREAM).await.len(), 2);
    publisher.close();
    ends("the work", work).await.unwrap();
}

#[tokio::test]
async fn what_the_server_will_never_take_is_refused_and_holds_nobody_up() {
    let extra_config = "max_payload: 8192".to_owned();
    let server = NatsServer::start_with(Options { extra_config, ..Options::default() }).unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    bus.ensure_streams(LIMITS).await.unwrap();
    assert_eq!(bus.max_payload(), 8192);
    let events = Config { max_message_size: 100, ..config_of(&witness, EVENTS_STREAM).await };
    witness.update_stream(events).await.unwrap();
    let (publisher, work) = Publisher::new(bus, BufferLimits::default());
    let work = tokio::spawn(work);
    publisher.enqueue(metric("before", 100));
    publisher.enqueue(metric("over max_payload", 8193));
    publisher.enqueue(Outgoing { payload: vec![0; 200].into(), ..event("over max_msg_size") });
    publisher.enqueue(metric("after", 100));
    publisher.enqueue(event("small"));
    publisher.close();
    ends("the work", work).await.unwrap();
    assert_eq!(publisher.stats(), PublishStats { n_acked: 5, n_dropped_refused: 3, ..PublishStats::default() });
    let found: BTreeSet<_> = ids(&witness, METRICS_STREAM).await.into_iter().collect();
    assert_eq!(found, BTreeSet::from(["after".to_owned(), "before".to_owned()]));
    assert_eq!(ids(&witness, EVENTS_STREAM).await, ["small"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_is_said_and_nothing_is_lost_until_there_is_room() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    bus.ensure_streams(StreamLimits { metrics_bytes: 32 << 10, ..LIMITS }).await.unwrap();
    let (publisher, work) = Publisher::new(bus, BufferLimits { window: 16, ..BufferLimits::default() });
    let work = tokio::spawn(work);
    for id in names(70) {
        publisher.enqueue(metric(&id, 1024));
    }
    until("the stream to be full", async || publisher.stats().stream_full).await;
    publisher.enqueue(event("meanwhile"));
    until("the event to pass", async || ids(&witness, EVENTS_STREAM).await == ["meanwhile"]).await;
    let stats = publisher.stats();
    assert!(stats.n_buffered > 0 && stats.n_retries > 0, "{stats:?}");

    // Reads the stream and makes room until all messages have passed through it.
    let mut stored = Vec::new();
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    publisher.close();
    let started = Instant::now();
    while !work.is_finished() || publisher.stats().n_buffered > 0 || stored.len() < 70 {
        stored.extend(ids(&witness, METRICS_STREAM).await);
        stream.purge().sequence(stored.len() as u64 + 1).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(stored.len() <= 70, "{stored:?}");
        assert!(started.elapsed() < TIMEOUT, "{} of 70 messages passed through", stored.len());
    }
    let stats = publisher.stats();
    let expected = PublishStats { n_acked: 141, n_retries: stats.n_retries, ..PublishStats::default() };
    assert_eq!(stats, expected);
    stored.sort();
    stored.dedup();
    assert_eq!(stored.len(), 70);
}
