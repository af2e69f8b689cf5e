//! Trimming a stream removes messages that every consumer has acknowledged, and nothing else.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{Context, stream};
use spindle_bus::{
    Bus, Consumer, ConsumerLimits, Delivery, FillLevel, METRICS_STREAM, METRICS_SUBJECT, StreamHolder, StreamLimits,
    trim_acknowledged,
};
use spindle_core::Timestamp;
use spindle_testkit::NatsServer;
use support::{LIMITS, connect, ends, ids, names, put, until, witness};

const MAX_BYTES: u64 = 64 << 10;
const MESSAGE_BYTES: usize = 1 << 10;

async fn small_stream() -> (NatsServer, Bus, Context) {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(StreamLimits { metrics_bytes: MAX_BYTES, ..LIMITS }).await.unwrap();
    let witness = witness(&server).await;
    (server, bus, witness)
}

async fn fill(witness: &Context, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        put(witness, METRICS_SUBJECT, &format!("m{number}"), vec![b'x'; MESSAGE_BYTES]).await;
    }
}

/// A time long after everything was published.
fn later() -> Timestamp {
    Timestamp::from_seconds(9_000_000_000)
}

/// Trims without a replay tail.
async fn trim(bus: &Bus) -> u64 {
    trim_acknowledged(bus, METRICS_STREAM, "a", Duration::ZERO, later()).await.unwrap()
}

/// Trims with a replay tail that begins with the message `sequence` and ends with the newest acknowledged one.
async fn trim_with_tail_from(bus: &Bus, witness: &Context, sequence: u64) -> u64 {
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    let floor = stream.consumer_info("a").await.unwrap().ack_floor.stream_sequence;
    let published = async |sequence| {
        let time = stream.get_raw_message(sequence).await.unwrap().time;
        u64::try_from(time.unix_timestamp_nanos()).unwrap()
    };
    let tail = Duration::from_nanos(published(floor).await - published(sequence).await + 1);
    trim_acknowledged(bus, METRICS_STREAM, "a", tail, later()).await.unwrap()
}

async fn open(bus: &Bus, durable: &'static str) -> Consumer {
    let limits = ConsumerLimits {
        max_messages: 100,
        max_bytes: 1 << 20,
        linger: Duration::ZERO,
        max_ack_pending: 1000,
        ack_wait: Duration::from_secs(30),
    };
    Consumer::open(bus.clone(), METRICS_STREAM, durable, limits).await.unwrap()
}

async fn take(consumer: &mut Consumer, n: usize) -> Vec<Delivery> {
    let batch = ends("next()", consumer.next()).await.unwrap();
    assert_eq!(batch.len(), n);
    batch
}

/// Acknowledges deliveries and waits until the server has counted the acks.
async fn ack(witness: &Context, durable: &str, deliveries: &[Delivery], floor: u64) {
    for delivery in deliveries {
        delivery.ack().await.unwrap();
    }
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    until("the acks to be counted", async || {
        stream.consumer_info(durable).await.unwrap().ack_floor.stream_sequence == floor
    })
    .await;
}

#[tokio::test]
async fn nothing_goes_below_half_or_without_a_consumer() {
    let (_server, bus, witness) = small_stream().await;
    fill(&witness, 1..=20).await;
    let batch = take(&mut open(&bus, "a").await, 20).await;
    ack(&witness, "a", &batch, 20).await;
    assert_eq!(trim(&bus).await, 0);
    assert_eq!(ids(&witness, METRICS_STREAM).await.len(), 20, "below half");

    witness.get_stream(METRICS_STREAM).await.unwrap().delete_consumer("a").await.unwrap();
    fill(&witness, 21..=40).await;
    assert!(bus.stream_state(METRICS_STREAM).await.unwrap().bytes > MAX_BYTES / 2);
    assert_eq!(trim(&bus).await, 0);
    assert_eq!(ids(&witness, METRICS_STREAM).await.len(), 40, "no consumer has acknowledged anything");
}

#[tokio::test]
async fn what_any_of_two_consumers_wants_stays() {
    let (_server, bus, witness) = small_stream().await;
    let (mut fast, mut slow) = (open(&bus, "a").await, open(&bus, "slow").await);
    fill(&witness, 1..=50).await;
    let fast_batch = take(&mut fast, 50).await;
    ack(&witness, "a", &fast_batch, 50).await;
    assert_eq!(trim(&bus).await, 0, "slow has acknowledged nothing yet");

    // All of the first 25 but the sixth: a gap keeps everything behind it.
    let slow_batch = take(&mut slow, 50).await;
    let (before, after) = slow_batch.split_at(5);
    ack(&witness, "slow", before, 5).await;
    ack(&witness, "slow", &after[1..20], 5).await;
    assert_eq!(trim(&bus).await, 5);
    assert_eq!(ids(&witness, METRICS_STREAM).await, names(50)[5..]);
    assert_eq!(trim(&bus).await, 0, "a second call finds nothing more");

    ack(&witness, "slow", &after[..1], 25).await;
    assert_eq!(trim(&bus).await, 20);
    assert_eq!(ids(&witness, METRICS_STREAM).await, names(50)[25..]);
}

#[tokio::test]
async fn a_full_stream_takes_messages_again_and_consumers_go_on_after_it() {
    let (_server, bus, witness) = small_stream().await;
    let mut consumer = open(&bus, "a").await;
    fill(&witness, 1..=55).await;
    let batch = take(&mut consumer, 55).await;
    ack(&witness, "a", &batch, 55).await;
    assert_eq!(trim(&bus).await, 55);
    fill(&witness, 56..=100).await;
    let batch = take(&mut consumer, 45).await;
    assert_eq!(batch[0].stream_sequence(), 56);
    assert_eq!(batch[44].message_id(), Some("m100"));
}

/// A stream with messages `1..=n`, all acknowledged and counted.
async fn acknowledged(n: usize) -> (NatsServer, Bus, Context) {
    let (server, bus, witness) = small_stream().await;
    let mut consumer = open(&bus, "a").await;
    fill(&witness, 1..=n).await;
    let batch = take(&mut consumer, n).await;
    ack(&witness, "a", &batch, n as u64).await;
    (server, bus, witness)
}

#[tokio::test]
async fn the_replay_tail_stays_and_older_messages_go_over_missing_sequences_too() {
    let (_server, bus, witness) = acknowledged(45).await;
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    for sequence in [1, 10, 11, 12, 20, 21, 22, 23] {
        stream.delete_message(sequence).await.unwrap();
    }
    assert_eq!(trim_with_tail_from(&bus, &witness, 24).await, 15);
    assert_eq!(ids(&witness, METRICS_STREAM).await, names(45)[23..]);
    assert_eq!(trim_with_tail_from(&bus, &witness, 45).await, 0, "below half everything stays");
}

#[tokio::test]
async fn a_tail_larger_than_half_of_the_stream_is_cut_to_half() {
    let (_server, bus, witness) = acknowledged(55).await;
    let n_removed = trim_with_tail_from(&bus, &witness, 10).await;
    assert_eq!(ids(&witness, METRICS_STREAM).await, names(55)[n_removed as usize..]);
    let left = bus.stream_state(METRICS_STREAM).await.unwrap().bytes;
    let two_messages = 2 * (MESSAGE_BYTES as u64 + 100);
    assert!(left <= MAX_BYTES / 2 && left > MAX_BYTES / 2 - two_messages, "{left} bytes are left");
}

#[tokio::test]
async fn nothing_unacknowledged_goes_though_the_stream_stays_more_than_half_full() {
    let (_server, bus, witness) = small_stream().await;
    let mut consumer = open(&bus, "a").await;
    fill(&witness, 1..=50).await;
    let batch = take(&mut consumer, 50).await;
    ack(&witness, "a", &batch[..5], 5).await;
    assert_eq!(trim_with_tail_from(&bus, &witness, 3).await, 2, "the backlog does not shorten the tail");
    assert_eq!(ids(&witness, METRICS_STREAM).await, names(50)[2..]);
    assert!(bus.stream_state(METRICS_STREAM).await.unwrap().bytes > MAX_BYTES / 2);
}

#[tokio::test]
async fn without_the_writer_another_consumer_alone_removes_nothing() {
    let (_server, bus, witness) = small_stream().await;
    let mut debug = open(&bus, "debug").await;
    fill(&witness, 1..=50).await;
    let batch = take(&mut debug, 50).await;
    ack(&witness, "debug", &batch, 50).await;
    assert_eq!(trim(&bus).await, 0);
    assert_eq!(ids(&witness, METRICS_STREAM).await.len(), 50);
}

#[tokio::test]
async fn a_forgotten_consumer_is_named_as_the_holder_of_a_full_stream() {
    let (_server, bus, witness) = small_stream().await;
    let (mut writer, mut debug) = (open(&bus, "a").await, open(&bus, "debug").await);
    fill(&witness, 1..=50).await;
    ack(&witness, "a", &take(&mut writer, 50).await, 50).await;
    ack(&witness, "debug", &take(&mut debug, 50).await[..3], 3).await;
    assert_eq!(trim(&bus).await, 3);
    let fill = bus.stream_fill(METRICS_STREAM, Some("a")).await.unwrap();
    assert_eq!(fill.holder, Some(StreamHolder { consumer: "debug".to_owned(), n_pending: 47 }));
    assert!(fill.percent() > 50 && fill.level() != FillLevel::Full, "{fill:?}");
    while witness.publish(METRICS_SUBJECT, vec![b'x'; MESSAGE_BYTES].into()).await.unwrap().await.is_ok() {}
    assert_eq!(bus.stream_fill(METRICS_STREAM, Some("a")).await.unwrap().level(), FillLevel::Full);

    witness.get_stream(METRICS_STREAM).await.unwrap().delete_consumer("debug").await.unwrap();
    assert_eq!(trim(&bus).await, 47);
    assert_eq!(bus.stream_fill(METRICS_STREAM, Some("a")).await.unwrap().holder, None);
}

#[tokio::test]
async fn a_limit_in_messages_is_trimmed_like_one_in_bytes() {
    let (_server, bus, witness) = small_stream().await;
    let config = support::config_of(&witness, METRICS_STREAM).await;
    witness.update_stream(stream::Config { max_messages: 20, ..config }).await.unwrap();
    let mut consumer = open(&bus, "a").await;
    fill(&witness, 1..=15).await;
    ack(&witness, "a", &take(&mut consumer, 15).await, 15).await;
    assert_eq!(trim(&bus).await, 15);
}

#[tokio::test]
async fn a_consumer_whose_filter_leaves_out_everything_holds_nothing() {
    let (_server, bus, witness) = small_stream().await;
    let idle = pull::Config {
        durable_name: Some("idle".to_owned()),
        filter_subject: "their.own".to_owned(),
        ..pull::Config::default()
    };
    let config = support::config_of(&witness, METRICS_STREAM).await;
    let subjects = vec![METRICS_SUBJECT.to_owned(), "their.own".to_owned()];
    witness.update_stream(stream::Config { subjects, ..config }).await.unwrap();
    witness.get_stream(METRICS_STREAM).await.unwrap().create_consumer(idle).await.unwrap();
    let mut consumer = open(&bus, "a").await;
    fill(&witness, 1..=50).await;
    ack(&witness, "a", &take(&mut consumer, 50).await, 50).await;
    assert_eq!(bus.stream_fill(METRICS_STREAM, Some("a")).await.unwrap().holder, None);
    assert_eq!(trim(&bus).await, 50);
}

#[tokio::test]
async fn a_missing_stream_is_an_error() {
    let (_server, bus, _) = small_stream().await;
    let error = trim_acknowledged(&bus, "NONE", "a", Duration::ZERO, later()).await.unwrap_err();
    assert!(error.to_string().contains("NONE"), "{error}");
}

#[tokio::test]
async fn a_detector_holds_a_stream_until_it_is_three_quarters_full() {
    let (_server, bus, witness) = small_stream().await;
    let (mut writer, mut detector) = (open(&bus, "a").await, open(&bus, "detector-metrics").await);
    bus.set_consumer_metadata(METRICS_STREAM, "detector-metrics", "spindle-follower", "process 7").await.unwrap();
    fill(&witness, 1..=40).await;
    let batch = take(&mut writer, 40).await;
    ack(&witness, "a", &batch, 40).await;
    let judged = take(&mut detector, 40).await;
    ack(&witness, "detector-metrics", &judged[..3], 3).await;
    assert_eq!(trim(&bus).await, 3, "the detector has not acknowledged the others");
    let holder = bus.stream_fill(METRICS_STREAM, Some("a")).await.unwrap().holder;
    assert_eq!(holder.unwrap().consumer, "detector-metrics");
    fill(&witness, 41..=50).await;
    let full = bus.stream_fill(METRICS_STREAM, Some("a")).await.unwrap();
    assert!(full.percent() >= 75 && full.holder.is_none(), "{full:?}");
    // No further than until half of the stream is left for what is stored, though all of it is older than the tail.
    let n_removed = trim(&bus).await;
    assert!((5..=10).contains(&n_removed), "{n_removed}");
    // A consumer of somebody else keeps what it has not acknowledged, whatever its name is.
    drop(open(&bus, "detector-theirs").await);
    let batch = take(&mut writer, 10).await;
    ack(&witness, "a", &batch, 50).await;
    assert_eq!(trim(&bus).await, 0);
    witness.get_stream(METRICS_STREAM).await.unwrap().delete_consumer("detector-theirs").await.unwrap();
    fill(&witness, 51..=58).await;
    assert!((5..=15).contains(&trim(&bus).await));
}
