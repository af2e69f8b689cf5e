//! Following a stream: from a position, over everything that may happen to stream, consumer and connection.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use spindle_bus::{Bus, Followed, FollowedMessage, Follower, METRICS_STREAM, METRICS_SUBJECT, StreamPosition};
use spindle_testkit::NatsServer;
use support::{LIMITS, connect, ends, put_many, started, until, witness};

const DURABLE: &str = "detector-metrics";

fn follower(bus: &Bus, owner: &str, saved: Option<StreamPosition>) -> Follower {
    Follower::new(bus.clone(), METRICS_STREAM, DURABLE, owner.to_owned(), saved)
}

/// Returns the next messages, and the number of those lost; retries errors, as a role does.
async fn next(follower: &mut Follower, max_messages: usize) -> (Vec<FollowedMessage>, u64) {
    ends("next()", async {
        loop {
            match follower.next(max_messages, 1 << 20).await {
                Ok(Followed::Messages(followed)) => return (followed.messages, followed.n_lost),
                Ok(Followed::Taken(owner)) => panic!("taken by {owner}"),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await
}

/// Returns the sequences of everything that is there, and the number of messages lost.
async fn all(follower: &mut Follower) -> (Vec<u64>, u64) {
    let (mut sequences, mut n_lost) = (Vec::new(), 0);
    loop {
        let (messages, lost) = next(follower, 7).await;
        n_lost += lost;
        if messages.is_empty() {
            return (sequences, n_lost);
        }
        sequences.extend(messages.iter().map(|message| message.mark.position.sequence));
    }
}

#[tokio::test]
async fn it_goes_on_behind_what_was_saved_and_nowhere_else() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 30).await;
    let mut first = follower(&bus, "first", None);
    let (messages, n_lost) = next(&mut first, 20).await;
    assert_eq!((messages.len(), n_lost, first.begin().unwrap().sequence), (20, 0, 0));
    assert_eq!(messages[4].payload, "m5");
    assert!(messages.is_sorted_by_key(|message| message.published));
    first.acknowledge(&messages[11].mark).await.unwrap();
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    let floor = async || stream.consumer_info(DURABLE).await.unwrap().ack_floor.stream_sequence;
    until("the ack to be counted", async || floor().await == 12).await;
    assert_eq!(all(&mut first).await, ((21..=30).collect(), 0));
    // Another process, with the saved position.
    let mut second = follower(&bus, "second", Some(messages[11].mark.position));
    assert_eq!(all(&mut second).await, ((13..=30).collect(), 0));
    assert_eq!(floor().await, 12);
}

#[tokio::test]
async fn a_lost_connection_a_removed_and_a_changed_consumer_leave_out_nothing() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(LIMITS).await.unwrap();
    let (jetstream, mut seen) = (witness(&server).await, Vec::new());
    let mut follower = follower(&bus, "one", None);
    put_many(&jetstream, METRICS_SUBJECT, 10).await;
    seen.extend(all(&mut follower).await.0);
    server.kill();
    server.restart().unwrap();
    let jetstream = witness(&server).await;
    for id in 11..=20 {
        support::put(&jetstream, METRICS_SUBJECT, &format!("x{id}"), "x").await;
    }
    seen.extend(all(&mut follower).await.0);
    let stream = jetstream.get_stream(METRICS_STREAM).await.unwrap();
    stream.delete_consumer(DURABLE).await.unwrap();
    for id in 21..=30 {
        support::put(&jetstream, METRICS_SUBJECT, &format!("x{id}"), "x").await;
    }
    ends("waiting for the messages after the removal", async {
        while seen.len() < 30 {
            let (more, n_lost) = all(&mut follower).await;
            seen.extend(more);
            assert_eq!(n_lost, 0);
        }
    })
    .await;
    assert_eq!(seen, (1..=30).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_is_gone_is_counted_and_another_stream_is_recognised() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 10).await;
    let mut follower = follower(&bus, "one", None);
    assert_eq!(all(&mut follower).await.0.len(), 10);
    let position = follower.begin().unwrap();
    let at = StreamPosition { sequence: 10, ..position };
    for id in 0..10 {
        support::put(&witness, METRICS_SUBJECT, &format!("x{id}"), "x").await;
    }
    witness.get_stream(METRICS_STREAM).await.unwrap().purge().sequence(16).await.unwrap();
    let mut later = self::follower(&bus, "two", Some(at));
    assert_eq!(all(&mut later).await, ((16..=20).collect(), 5));
    witness.delete_stream(METRICS_STREAM).await.unwrap();
    bus.ensure_streams(LIMITS).await.unwrap();
    put_many(&witness, METRICS_SUBJECT, 3).await;
    let mut is_replaced = false;
    let mut seen = Vec::new();
    ends("waiting for the messages of the new stream", async {
        while seen.len() < 3 {
            if let Ok(Followed::Messages(followed)) = later.next(10, 1 << 20).await {
                is_replaced |= followed.is_replaced;
                seen.extend(followed.messages.into_iter().map(|message| message.mark.position.sequence));
            }
        }
    })
    .await;
    assert!(is_replaced);
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test]
async fn of_two_the_first_is_told_the_name_of_the_second() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 10).await;
    let (mut first, mut second) = (follower(&bus, "first", None), follower(&bus, "second", None));
    assert_eq!(next(&mut first, 5).await.0.len(), 5);
    assert_eq!(next(&mut second, 3).await.0.len(), 3);
    // The delivery that it takes from the other's consumer is not its own next one.
    let owner = ends("waiting until the first notices", async {
        loop {
            match first.next(5, 1 << 20).await {
                Ok(Followed::Taken(owner)) => return owner,
                Ok(Followed::Messages(followed)) => assert!(followed.messages.is_empty()),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await;
    assert_eq!(owner, "second");
    assert!(!first.is_abandoned().await.unwrap());
    // The second notices that a message is missing, and gets it.
    let mut seen = Vec::new();
    ends("waiting for the rest", async {
        while seen.len() < 7 {
            seen.extend(all(&mut second).await.0);
        }
    })
    .await;
    assert_eq!(seen, [4, 5, 6, 7, 8, 9, 10]);
    first.take_over();
    assert_eq!(all(&mut first).await.0, [6, 7, 8, 9, 10]);
}

#[tokio::test]
async fn the_last_messages_come_though_somebody_else_has_taken_them() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 10).await;
    let mut follower = follower(&bus, "one", None);
    assert_eq!(next(&mut follower, 6).await.0.len(), 6);
    let consumer: PullConsumer = witness.get_stream(METRICS_STREAM).await.unwrap().get_consumer(DURABLE).await.unwrap();
    let taken = consumer.batch().max_messages(4).expires(support::TIMEOUT).messages().await.unwrap();
    assert_eq!(taken.count().await, 4);
    let mut seen = Vec::new();
    ends("waiting for the rest", async {
        while seen.len() < 4 {
            seen.extend(all(&mut follower).await.0);
        }
    })
    .await;
    assert_eq!(seen, [7, 8, 9, 10]);
}
