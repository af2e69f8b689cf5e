//! Publishing while NATS dies, is away and returns: nothing acknowledged is lost or duplicated, and dropped messages are
//! counted.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use spindle_bus::{
    BufferLimits, Bus, EVENTS_STREAM, EVENTS_SUBJECT, METRICS_STREAM, METRICS_SUBJECT, Outgoing, Publisher,
    StreamLimits,
};
use spindle_testkit::NatsServer;
use support::{LIMITS, connect, ends, ids, names, started, until, witness};

const MESSAGE_BYTES: usize = 100;

fn metric(id: &str) -> Outgoing {
    let payload = vec![b'x'; MESSAGE_BYTES].into();
    Outgoing { subject: METRICS_SUBJECT, message_id: id.to_owned(), payload, n_items: 1, urgent: false, as_of: None }
}

fn event(id: &str) -> Outgoing {
    Outgoing { subject: EVENTS_SUBJECT, urgent: true, ..metric(id) }
}

fn room_for(n_messages: usize) -> BufferLimits {
    BufferLimits { max_bytes: n_messages * metric("m10").held_bytes(), window: 16 }
}

async fn away(server: &mut NatsServer, bus: &Bus) {
    server.kill();
    until("the loss to be noticed", async || !bus.is_connected()).await;
}

fn sorted(ids: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    ids.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_has_every_message_once_and_in_order() {
    const N_MESSAGES: usize = 3000;
    let (mut server, bus, _) = started().await;
    let (publisher, work) = Publisher::new(bus, room_for(64));
    let work = tokio::spawn(work);
    let source = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            for id in names(N_MESSAGES) {
                publisher.enqueue_when_room(metric(&id)).await;
            }
        }
    });
    until("some acks", async || publisher.stats().n_acked >= 300).await;
    server.kill();
    assert!(publisher.stats().n_acked < N_MESSAGES as u64, "the kill came too late to be in the middle");
    server.restart().unwrap();
    ends("the source", source).await.unwrap();
    ends("drained()", publisher.drained()).await;
    publisher.close();
    ends("the work", work).await.unwrap();

    let stats = publisher.stats();
    assert_eq!((stats.n_acked, stats.n_buffered), (N_MESSAGES as u64, 0), "{stats:?}");
    assert_eq!((stats.n_dropped_full, stats.n_dropped_refused), (0, 0), "{stats:?}");
    // In order: at no time did the stream hold a message without those before it.
    let stored = ids(&witness(&server).await, METRICS_STREAM).await;
    assert_eq!(stored.len(), N_MESSAGES, "lost or duplicated: {stats:?}");
    assert_eq!(stored, names(N_MESSAGES));
}

/// A kill of the publishing process at any moment loses the newest messages and at most one more: the one that was in
/// async-nats's channel when the connection was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_in_a_stalled_connection_does_not_overtake_what_was_lost_with_it() {
    // Far more than two sockets buffer.
    const N_MESSAGES: usize = 200;
    const LARGE: usize = 200 << 10;
    /// Time for which the server does not read: this is the injected fault, not a wait for a state.
    const STALL: Duration = Duration::from_millis(500);
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(StreamLimits { metrics_bytes: 128 << 20, ..LIMITS }).await.unwrap();
    let bus = bus.another_for_publishing("publisher").await.unwrap();
    let limits = BufferLimits { max_bytes: 2 * N_MESSAGES * LARGE, ..BufferLimits::default() };
    let (publisher, work) = Publisher::new(bus, limits);
    let work = tokio::spawn(work);
    publisher.enqueue(metric("m0"));
    ends("the first", publisher.drained()).await;
    server.pause();
    let payload = bytes::Bytes::from(vec![b'x'; LARGE]);
    for id in names(N_MESSAGES) {
        publisher.enqueue(Outgoing { payload: payload.clone(), ..metric(&id) });
    }
    tokio::time::sleep(STALL).await;
    server.kill();
    server.restart().unwrap();
    ends("drained()", publisher.drained()).await;
    publisher.close();
    ends("the work", work).await.unwrap();

    let stored = ids(&witness(&server).await, METRICS_STREAM).await;
    assert_eq!(stored.len(), 1 + N_MESSAGES, "lost or duplicated: {:?}", publisher.stats());
    let place = |id: &String| id[1..].parse::<usize>().unwrap();
    let places: Vec<_> = stored.iter().map(place).collect();
    let n_ahead = |index: usize| places[..index].iter().filter(|before| **before > places[index]).count();
    let overtaken = (0..places.len()).map(n_ahead).max().unwrap();
    assert!(overtaken <= 1, "{overtaken} messages went ahead of one: {places:?}");
}

/// Each message wakes the publisher: that must not postpone the end of its pauses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_never_rests_is_heard_again_after_an_outage() {
    let (mut server, bus, _) = started().await;
    let (publisher, work) = Publisher::new(bus.clone(), BufferLimits::default());
    let work = tokio::spawn(work);
    let source = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            for number in 0_u64.. {
                publisher.enqueue(metric(&format!("m{number}")));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    away(&mut server, &bus).await;
    until("a backlog", async || publisher.stats().n_buffered > 100).await;
    server.restart().unwrap();
    until("everything up to now", async || publisher.stats().n_buffered < 5).await;
    source.abort();
    publisher.close();
    ends("the work", work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nats_is_away_the_oldest_metrics_are_dropped_and_no_event() {
    let (mut server, bus, _) = started().await;
    let (publisher, work) = Publisher::new(bus.clone(), room_for(5));
    let work = tokio::spawn(work);
    away(&mut server, &bus).await;
    for id in names(8) {
        publisher.enqueue(metric(&id));
    }
    publisher.enqueue(event("e1"));
    publisher.enqueue(event("e2"));
    let stats = publisher.stats();
    assert_eq!((stats.n_buffered, stats.n_dropped_full, stats.n_acked), (5, 5, 0), "{stats:?}");

    server.restart().unwrap();
    ends("drained()", publisher.drained()).await;
    publisher.close();
    ends("the work", work).await.unwrap();
    let stats = publisher.stats();
    assert_eq!((stats.n_buffered, stats.n_dropped_full, stats.n_acked), (0, 5, 5), "{stats:?}");
    let witness = witness(&server).await;
    assert_eq!(sorted(ids(&witness, METRICS_STREAM).await), sorted(["m6", "m7", "m8"].map(str::to_owned)));
    assert_eq!(sorted(ids(&witness, EVENTS_STREAM).await), sorted(["e1", "e2"].map(str::to_owned)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_wait_waits_and_nothing_is_dropped() {
    let (mut server, bus, _) = started().await;
    let (publisher, work) = Publisher::new(bus.clone(), room_for(5));
    let work = tokio::spawn(work);
    away(&mut server, &bus).await;
    let source = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            for id in names(50) {
                publisher.enqueue_when_room(metric(&id)).await;
            }
        }
    });
    until("the buffer to be full", async || publisher.stats().n_buffered == 5).await;
    assert!(!source.is_finished());
    server.restart().unwrap();
    ends("the source", source).await.unwrap();
    publisher.close();
    ends("drained()", publisher.drained()).await;
    ends("the work", work).await.unwrap();
    let stats = publisher.stats();
    assert_eq!((stats.n_acked, stats.n_dropped_full), (50, 0), "{stats:?}");
    let stored = ids(&witness(&server).await, METRICS_STREAM).await;
    assert_eq!(stored, names(50));
}
