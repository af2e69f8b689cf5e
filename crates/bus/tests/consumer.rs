//! Consuming without faults: every message comes, in bounded batches, and is redelivered until it is acknowledged.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::{Duration, Instant};

use spindle_bus::{
    Bus, BusErrorKind, Consumer, ConsumerLimits, Delivery, EVENTS_STREAM, EVENTS_SUBJECT, METRICS_STREAM,
    METRICS_SUBJECT,
};
use support::{connect, ends, names, put, put_many, started, until};

const DURABLE: &str = "test";

const WIDE: ConsumerLimits = ConsumerLimits {
    max_messages: 100,
    max_bytes: 1 << 20,
    linger: Duration::ZERO,
    max_ack_pending: 1000,
    ack_wait: Duration::from_secs(30),
};

async fn open(bus: &Bus, limits: ConsumerLimits) -> Consumer {
    Consumer::open(bus.clone(), METRICS_STREAM, DURABLE, limits).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Vec<Delivery> {
    ends("next()", consumer.next()).await.unwrap()
}

async fn only(consumer: &mut Consumer) -> Delivery {
    let mut batch = next(consumer).await;
    assert_eq!(batch.len(), 1);
    batch.pop().unwrap()
}

fn payloads(batch: &[Delivery]) -> Vec<String> {
    batch.iter().map(|delivery| String::from_utf8(delivery.payload().to_vec()).unwrap()).collect()
}

async fn lag(bus: &Bus) -> u64 {
    Consumer::lag(bus, METRICS_STREAM, DURABLE).await.unwrap()
}

#[tokio::test]
async fn everything_published_arrives_as_it_was_and_is_gone_when_acknowledged() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 120).await;
    let mut consumer = open(&bus, WIDE).await;
    assert_eq!(lag(&bus).await, 120);
    let mut seen = Vec::new();
    while seen.len() < 120 {
        let batch = next(&mut consumer).await;
        assert!((1..=100).contains(&batch.len()));
        for delivery in &batch {
            assert_eq!((delivery.subject(), delivery.n_delivered()), (METRICS_SUBJECT, 1));
            assert_eq!(delivery.message_id().unwrap().as_bytes(), &delivery.payload()[..]);
            seen.push(payloads(std::slice::from_ref(delivery)).remove(0));
            assert_eq!(delivery.stream_sequence(), seen.len() as u64);
            delivery.ack().await.unwrap();
        }
    }
    assert_eq!(seen, names(120));
    until("all acks to be counted", async || lag(&bus).await == 0).await;
}

#[tokio::test]
async fn the_streams_do_not_mix_and_an_idle_one_answers_with_nothing() {
    let (_server, bus, witness) = started().await;
    put(&witness, METRICS_SUBJECT, "m", "metric").await;
    let mut events = Consumer::open(bus.clone(), EVENTS_STREAM, DURABLE, WIDE).await.unwrap();
    let idle = ends("next() of an idle stream", events.next()).await.unwrap();
    assert!(idle.is_empty(), "{:?}", payloads(&idle));
    // Woken by the first message, not by its timeout.
    let started = Instant::now();
    let (batch, _) = tokio::join!(next(&mut events), put(&witness, EVENTS_SUBJECT, "e", "event"));
    assert_eq!(payloads(&batch), ["event"]);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_missing_stream_is_transient() {
    let (_server, bus, _) = started().await;
    let error = Consumer::open(bus, "NONE", DURABLE, WIDE).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient);
    assert!(error.to_string().contains("test of stream NONE"), "{error}");
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_what_is_terminated_never() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 3).await;
    let mut consumer = open(&bus, ConsumerLimits { ack_wait: Duration::from_millis(500), ..WIDE }).await;
    let first = next(&mut consumer).await;
    assert_eq!(payloads(&first), ["m1", "m2", "m3"]);
    first[0].term().await.unwrap();
    first[1].ack().await.unwrap();
    for n_delivered in 2..=3 {
        let again = only(&mut consumer).await;
        assert_eq!((&again.payload()[..], again.n_delivered()), (&b"m3"[..], n_delivered));
        if n_delivered == 3 {
            again.ack().await.unwrap();
        }
    }
    until("nothing to be left", async || lag(&bus).await == 0).await;
}

#[tokio::test]
async fn a_nak_sends_it_again_after_its_delay_and_not_before() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 1).await;
    let mut consumer = open(&bus, WIDE).await;
    let delay = Duration::from_millis(700);
    let refused_at = Instant::now();
    only(&mut consumer).await.nak(delay).await.unwrap();
    let again = only(&mut consumer).await;
    assert_eq!((again.n_delivered(), again.stream_sequence()), (2, 1));
    assert!(refused_at.elapsed() >= delay, "redelivered after {:?}", refused_at.elapsed());
    assert!(refused_at.elapsed() < WIDE.ack_wait, "ack_wait caused the redelivery");
}

#[tokio::test]
async fn progress_keeps_a_message_while_its_neighbour_comes_again() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 2).await;
    let mut consumer = open(&bus, ConsumerLimits { ack_wait: Duration::from_secs(1), ..WIDE }).await;
    let batch = next(&mut consumer).await;
    let working = async {
        loop {
            batch[0].progress().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let again = tokio::select! { () = working => unreachable!(), batch = next(&mut consumer) => batch };
    assert_eq!(payloads(&again), ["m2"], "both had the same ack_wait, and only one reported progress");
    batch[0].ack().await.unwrap();
    again[0].ack().await.unwrap();
    until("nothing to be left", async || lag(&bus).await == 0).await;
}

#[tokio::test]
async fn a_batch_keeps_to_its_limits_and_a_large_message_comes_alone() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 25).await;
    let mut by_number = open(&bus, ConsumerLimits { max_messages: 10, ..WIDE }).await;
    for expected in [10, 10, 5] {
        assert_eq!(next(&mut by_number).await.len(), expected);
    }
    // Sizes in thousands of bytes: over half the limit, small ones, and more than the limit itself.
    let sizes = [6, 1, 1, 1, 6, 6, 40, 1];
    for (index, size) in sizes.into_iter().enumerate() {
        put(&witness, EVENTS_SUBJECT, &format!("e{index}"), vec![b'x'; size * 1000]).await;
    }
    let limits = ConsumerLimits { max_bytes: 10_000, linger: Duration::from_millis(5), ..WIDE };
    let mut by_bytes = Consumer::open(bus.clone(), EVENTS_STREAM, DURABLE, limits).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < sizes.len() {
        let batch = next(&mut by_bytes).await;
        let batch_sizes: Vec<_> = batch.iter().map(|delivery| delivery.payload().len() / 1000).collect();
        assert!(batch.len() == 1 || batch_sizes.iter().sum::<usize>() <= 10, "{batch_sizes:?}");
        assert!(!batch.is_empty(), "stuck after {seen:?}");
        seen.extend(batch_sizes);
    }
    assert_eq!(seen, sizes);
}

#[tokio::test]
async fn a_pause_after_the_first_message_lets_others_join_it() {
    let (_server, bus, witness) = started().await;
    let mut consumer = open(&bus, ConsumerLimits { linger: Duration::from_secs(2), ..WIDE }).await;
    let (batch, ()) = tokio::join!(next(&mut consumer), put_many(&witness, METRICS_SUBJECT, 20));
    assert_eq!(payloads(&batch), names(20));
}

#[tokio::test]
async fn two_members_of_one_consumer_share_without_loss_or_double() {
    let (server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 200).await;
    let limits = ConsumerLimits { max_messages: 7, ..WIDE };
    let (mut one, mut other) = (open(&bus, limits).await, open(&connect(&server).await, limits).await);
    let mut seen = Vec::new();
    while seen.len() < 200 {
        let (first, second) = tokio::join!(next(&mut one), next(&mut other));
        assert!(!first.is_empty() || !second.is_empty(), "only {} of 200 messages came", seen.len());
        for delivery in first.iter().chain(&second) {
            delivery.ack().await.unwrap();
        }
        seen.extend(payloads(&first));
        seen.extend(payloads(&second));
    }
    seen.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
    assert_eq!(seen, names(200));
    until("all acks to be counted", async || lag(&bus).await == 0).await;
}

/// The runtime ends right after `close()`, as the program does: a queued ack would be lost.
#[test]
fn what_was_acknowledged_before_close_has_reached_the_server() {
    let alone = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let watching = alone();
    let (server, bus, witness) = watching.block_on(started());
    watching.block_on(put_many(&witness, METRICS_SUBJECT, 100));
    alone().block_on(async {
        let own = connect(&server).await;
        let batch = next(&mut open(&own, WIDE).await).await;
        for delivery in &batch {
            delivery.ack().await.unwrap();
        }
        own.close().await;
    });
    watching.block_on(until("all acks to be counted", async || lag(&bus).await == 0));
}

#[tokio::test]
async fn metadata_stays_with_the_consumer_over_opening_it_again_and_changes_nothing_else() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 3).await;
    let mut consumer = open(&bus, ConsumerLimits { max_messages: 2, ..WIDE }).await;
    for delivery in next(&mut consumer).await {
        delivery.ack().await.unwrap();
    }
    let metadata = async || bus.consumer_metadata(METRICS_STREAM, DURABLE, "key").await.unwrap();
    assert_eq!(metadata().await, None);
    for value in ["one", "two"] {
        bus.set_consumer_metadata(METRICS_STREAM, DURABLE, "key", value).await.unwrap();
        assert_eq!(metadata().await.as_deref(), Some(value));
    }
    let mut reopened = open(&bus, ConsumerLimits { ack_wait: Duration::from_secs(20), ..WIDE }).await;
    assert_eq!(metadata().await.as_deref(), Some("two"));
    let third = only(&mut reopened).await;
    assert_eq!((&third.payload()[..], third.n_delivered()), (&b"m3"[..], 1));
    let error = bus.set_consumer_metadata(METRICS_STREAM, "none", "key", "x").await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient, "{error}");
}
