//! Consuming while NATS dies, returns, or is tampered with: the consumer may return errors, and then goes on.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use spindle_bus::{Bus, BusErrorKind, Consumer, ConsumerLimits, METRICS_STREAM, METRICS_SUBJECT};
use support::{connect, ends, names, put, put_many, started, until, witness};

const DURABLE: &str = "test";

const LIMITS: ConsumerLimits = ConsumerLimits {
    max_messages: 10,
    max_bytes: 1 << 20,
    linger: Duration::ZERO,
    max_ack_pending: 1000,
    ack_wait: Duration::from_secs(1),
};

async fn open(bus: &Bus) -> Consumer {
    Consumer::open(bus.clone(), METRICS_STREAM, DURABLE, LIMITS).await.unwrap()
}

/// Takes and acknowledges messages until all of `wanted` have come. Handles errors as the writer does: they must be
/// transient, and the next call tries again. Returns the number of errors.
async fn take(consumer: &mut Consumer, mut wanted: BTreeSet<String>) -> usize {
    let mut n_errors = 0;
    while !wanted.is_empty() {
        match consumer.next().await {
            Ok(batch) => {
                for delivery in batch {
                    delivery.ack().await.unwrap();
                    wanted.remove(delivery.message_id().unwrap());
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), BusErrorKind::Transient, "{}", support::chain(&error));
                n_errors += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    n_errors
}

#[tokio::test]
async fn a_consumer_deleted_behind_its_back_is_made_again() {
    let (_server, bus, witness) = started().await;
    let mut consumer = open(&bus).await;
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();

    // Between two pulls.
    put(&witness, METRICS_SUBJECT, "m1", "x").await;
    stream.delete_consumer(DURABLE).await.unwrap();
    let n_errors = ends("m1", take(&mut consumer, ["m1".to_owned()].into())).await;
    assert!(n_errors <= 1, "{n_errors} errors");

    // While it waits for a message.
    let tampering = async {
        let waits = async || stream.consumer_info(DURABLE).await.is_ok_and(|info| info.num_waiting > 0);
        until("the pull to wait at the server", waits).await;
        stream.delete_consumer(DURABLE).await.unwrap();
        put(&witness, METRICS_SUBJECT, "m2", "x").await;
    };
    let taking = take(&mut consumer, ["m2".to_owned()].into());
    let (n_errors, ()) = ends("m2", async { tokio::join!(taking, tampering) }).await;
    assert!(n_errors <= 2, "{n_errors} errors");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed_in_the_middle() {
    let (mut server, bus, witness_before) = started().await;
    put_many(&witness_before, METRICS_SUBJECT, 200).await;
    let mut consumer = open(&bus).await;
    let mut wanted: BTreeSet<_> = names(200).into_iter().collect();
    for _ in 0..5 {
        for delivery in consumer.next().await.unwrap() {
            delivery.ack().await.unwrap();
            wanted.remove(delivery.message_id().unwrap());
        }
    }
    let in_flight = consumer.next().await.unwrap();
    assert!(!in_flight.is_empty());
    server.kill();
    let taking = tokio::spawn(async move { take(&mut consumer, wanted).await });
    until("the loss to be noticed", async || !bus.is_connected()).await;
    server.restart().unwrap();
    ends("the rest", taking).await.unwrap();
    let lag = async || Consumer::lag(&bus, METRICS_STREAM, DURABLE).await.unwrap();
    // Messages whose ack was lost with the server are redelivered and acknowledged again.
    let mut consumer = open(&bus).await;
    let again = async {
        while lag().await > 0 {
            take_what_is_there(&mut consumer).await;
        }
    };
    ends("the redelivered messages", again).await;
}

async fn take_what_is_there(consumer: &mut Consumer) {
    for delivery in consumer.next().await.unwrap() {
        delivery.ack().await.unwrap();
    }
}

/// A member that opens during traffic must not mistake the others' progress for an error: between its requests for the
/// state of the stream and of the consumer, both move on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joins_in_the_middle_of_traffic_does_not_reset_the_consumer() {
    let (server, bus, witness) = started().await;
    let mut consumer = open(&bus).await;
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    let created = stream.consumer_info(DURABLE).await.unwrap().created;
    let traffic = tokio::spawn(async move {
        for number in 0_u64.. {
            put(&witness, METRICS_SUBJECT, &number.to_string(), "x").await;
            take_what_is_there(&mut consumer).await;
        }
    });
    let joining = connect(&server).await;
    for _ in 0..300 {
        drop(open(&joining).await);
    }
    assert_eq!(stream.consumer_info(DURABLE).await.unwrap().created, created, "it was deleted and created again");
    assert!(!traffic.is_finished());
    traffic.abort();
}

/// Servers before 2.14 keep the consumer ahead of its stream and would skip new messages; newer ones repair that
/// themselves. Either way the next message must arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_restored_from_an_older_state_still_delivers_what_comes_next() {
    let (mut server, bus, before) = started().await;
    let mut consumer = open(&bus).await;
    put_many(&before, METRICS_SUBJECT, 5).await;
    ends("m1 to m5", take(&mut consumer, names(5).into_iter().collect())).await;
    let all_counted = async || Consumer::lag(&bus, METRICS_STREAM, DURABLE).await.is_ok_and(|lag| lag == 0);
    until("the acks to be counted", all_counted).await;
    server.stop().unwrap();
    let messages = server.store_dir().join("jetstream/$G/streams").join(METRICS_STREAM).join("msgs");
    let copy = server.store_dir().join("older");
    copy_files(&messages, &copy);
    server.restart().unwrap();
    let later = witness(&server).await;
    for id in ["m6", "m7", "m8"] {
        put(&later, METRICS_SUBJECT, id, "x").await;
    }
    ends("m6 to m8", take(&mut consumer, ["m6", "m7", "m8"].map(str::to_owned).into())).await;
    until("the acks to be counted", all_counted).await;
    server.stop().unwrap();
    fs::remove_dir_all(&messages).unwrap();
    copy_files(&copy, &messages);
    server.restart().unwrap();
    let restored = witness(&server).await;
    let sequence = put(&restored, METRICS_SUBJECT, "new", "x").await;
    assert_eq!(sequence, 6, "the stream is not back in its older state");
    ends("the new message", take(&mut open(&connect(&server).await).await, ["new".to_owned()].into())).await;
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
