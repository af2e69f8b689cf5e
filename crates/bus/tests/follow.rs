//! Following a stream: from a position, over everything that may happen to stream, consumer and connection.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use async_nats::jetstream::consumer::PullConsumer;
use futures::StreamExt;
use spindle_bus::{
    Bus, Followed, FollowedMessage, FollowedMessages, Follower, FollowerActivity, METRICS_STREAM, METRICS_SUBJECT,
    StreamMark, StreamPosition,
};
use spindle_core::Timestamp;
use spindle_testkit::NatsServer;
use support::{LIMITS, connect, ends, put_many, started, until, witness};

const DURABLE: &str = "detector-metrics";

fn follower(bus: &Bus, owner: &str, saved: Option<StreamPosition>) -> Follower {
    Follower::new(bus.clone(), METRICS_STREAM, DURABLE, owner.to_owned(), saved)
}

/// Returns the answer to the next pull; retries errors, as a role does.
async fn answer(follower: &mut Follower, max_messages: usize) -> FollowedMessages {
    ends("next()", async {
        loop {
            match follower.next(max_messages, 1 << 20).await {
                Ok(Followed::Messages(followed)) => return followed,
                Ok(Followed::Taken(owner)) => panic!("taken by {owner}"),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await
}

async fn next(follower: &mut Follower, max_messages: usize) -> (Vec<FollowedMessage>, u64) {
    let followed = answer(follower, max_messages).await;
    (followed.messages, followed.n_lost)
}

/// Returns the sequences of everything up to the end of the stream, and the number of messages lost.
async fn all(follower: &mut Follower) -> (Vec<u64>, u64) {
    let (mut sequences, mut n_lost) = (Vec::new(), 0);
    loop {
        let followed = answer(follower, 7).await;
        n_lost += followed.n_lost;
        sequences.extend(followed.messages.iter().map(|message| message.mark.position.sequence));
        if followed.is_end {
            return (sequences, n_lost);
        }
    }
}

#[tokio::test]
async fn it_goes_on_behind_what_was_saved_and_nowhere_else() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 30).await;
    let mut first = follower(&bus, "first", None);
    let (messages, n_lost) = next(&mut first, 20).await;
    assert_eq!((messages.len(), n_lost, first.position(None).unwrap().sequence), (20, 0, 0));
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
    let position = follower.position(None).unwrap();
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
    let mut replaced = None;
    let mut seen = Vec::new();
    ends("waiting for the messages of the new stream", async {
        while seen.len() < 3 {
            if let Ok(Followed::Messages(followed)) = later.next(10, 1 << 20).await {
                replaced = followed.replaced.or(replaced);
                seen.extend(followed.messages.into_iter().map(|message| message.mark.position.sequence));
            }
        }
    })
    .await;
    assert_eq!(replaced.unwrap().sequence, 0);
    assert!(replaced.unwrap().created > position.created);
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
    assert_eq!(first.activity_of_other().await.unwrap(), FollowerActivity::Active);
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
    // Nothing more comes, and that is not the end of the stream.
    assert_eq!(all(&mut follower).await, (vec![7, 8, 9, 10], 0));
}

#[tokio::test]
async fn messages_that_came_before_are_no_end_of_the_stream() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(LIMITS).await.unwrap();
    put_unchecked(&server, 2_500).await;
    let mut follower = follower(&bus, "one", None);
    assert_eq!(all(&mut follower).await.0.len(), 2_500);
    server.kill();
    server.restart().unwrap();
    put_unchecked(&server, 5).await;
    // Nothing was saved: a new consumer delivers everything again.
    let mut sequences = Vec::new();
    let mut followed = answer(&mut follower, 1_000).await;
    while !followed.is_end {
        sequences.extend(followed.messages.iter().map(|message| message.mark.position.sequence));
        followed = answer(&mut follower, 1_000).await;
    }
    assert_eq!(sequences, (2_501..=2_505).collect::<Vec<u64>>());
}

/// Publishes messages without waiting for each.
async fn put_unchecked(server: &NatsServer, n: usize) {
    let witness = witness(server).await;
    let mut sent = Vec::new();
    for _ in 0..n {
        sent.push(witness.publish(METRICS_SUBJECT, "x".into()).await.unwrap());
    }
    for ack in sent {
        ack.await.unwrap();
    }
}

#[tokio::test]
async fn a_position_that_the_stream_no_longer_has_covers_nothing() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 10).await;
    let mut earlier = follower(&bus, "one", None);
    assert_eq!(all(&mut earlier).await.0.len(), 10);
    let begin = earlier.position(None).unwrap();
    // As after a restore of the stream from a copy with ten messages.
    let beyond = StreamPosition { sequence: 15, ..begin };
    let mut follower = follower(&bus, "two", Some(beyond));
    let followed = answer(&mut follower, 10).await;
    assert_eq!(followed.replaced, Some(StreamPosition { sequence: 10, ..begin }));
    assert!(followed.messages.is_empty() && followed.is_end_behind_gap);
    assert_eq!(follower.position(Some(&StreamMark::at(beyond))).unwrap().sequence, 10);
    follower.acknowledge(&StreamMark::at(beyond)).await.unwrap();
    for id in 11..=13 {
        support::put(&witness, METRICS_SUBJECT, &format!("x{id}"), "x").await;
    }
    let followed = answer(&mut follower, 10).await;
    let sequences = |followed: &FollowedMessages| -> Vec<(u64, bool)> {
        followed.messages.iter().map(|message| (message.mark.position.sequence, message.is_behind_gap)).collect()
    };
    // The gap was before the end.
    assert_eq!(sequences(&followed), [(11, false), (12, false), (13, false)]);
    assert_eq!((followed.n_lost, followed.replaced), (0, None));
    assert_eq!(follower.position(Some(&followed.messages[1].mark)).unwrap().sequence, 12);
    // Without an end, it is before the next message.
    let mut follower = self::follower(&bus, "three", Some(StreamPosition { created: Timestamp::default(), ..begin }));
    assert_eq!(sequences(&answer(&mut follower, 2).await), [(1, true), (2, false)]);
}

#[tokio::test]
async fn one_that_has_lost_the_consumer_acknowledges_nothing() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 10).await;
    let (mut first, mut second) = (follower(&bus, "first", None), follower(&bus, "second", None));
    let (taken, _) = next(&mut first, 10).await;
    assert_eq!(next(&mut second, 10).await.0.len(), 10);
    // It has not noticed yet.
    first.acknowledge(&taken[9].mark).await.unwrap();
    let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
    // Sent on the same connection behind the acknowledgement, if there was one.
    second.activity_of_other().await.unwrap();
    assert_eq!(stream.consumer_info(DURABLE).await.unwrap().ack_floor.stream_sequence, 0);
}

#[tokio::test]
async fn a_position_saved_again_leaves_the_consumer_as_it_is() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    bus.ensure_streams(LIMITS).await.unwrap();
    put_unchecked(&server, 10).await;
    let mut follower = follower(&bus, "one", None);
    let (taken, _) = next(&mut follower, 10).await;
    server.kill();
    server.restart().unwrap();
    assert_eq!(all(&mut follower).await, (vec![], 0));
    follower.acknowledge(&taken[9].mark).await.unwrap();
    let witness = witness(&server).await;
    let created = async || {
        let stream = witness.get_stream(METRICS_STREAM).await.unwrap();
        let info = stream.consumer_info(DURABLE).await.unwrap();
        (info.created, info.ack_floor.stream_sequence)
    };
    assert_eq!(all(&mut follower).await, (vec![], 0));
    let behind = created().await;
    assert_eq!(behind.1, 10, "the new consumer begins behind the saved position");
    for _ in 0..3 {
        follower.acknowledge(&taken[9].mark).await.unwrap();
        follower.acknowledge(&taken[4].mark).await.unwrap();
        assert_eq!(all(&mut follower).await, (vec![], 0));
    }
    assert_eq!(created().await, behind);
}

#[tokio::test]
async fn an_end_without_messages_may_be_behind_a_gap() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 10).await;
    let mut earlier = follower(&bus, "one", None);
    assert_eq!(all(&mut earlier).await.0.len(), 10);
    let begin = earlier.position(None).unwrap();
    witness.get_stream(METRICS_STREAM).await.unwrap().purge().await.unwrap();
    let mut follower = follower(&bus, "two", Some(StreamPosition { sequence: 4, ..begin }));
    for is_end_behind_gap in [true, false] {
        let followed = answer(&mut follower, 10).await;
        assert_eq!((followed.is_end, followed.is_end_behind_gap, followed.n_lost), (true, is_end_behind_gap, 0));
    }
    support::put(&witness, METRICS_SUBJECT, "x11", "x").await;
    let mut followed = answer(&mut follower, 10).await;
    while followed.messages.is_empty() {
        assert!(!followed.is_end_behind_gap);
        followed = answer(&mut follower, 10).await;
    }
    assert_eq!((followed.messages.len(), followed.n_lost), (1, 6));
    // One that has received everything misses nothing.
    witness.get_stream(METRICS_STREAM).await.unwrap().purge().await.unwrap();
    let at = StreamPosition { sequence: 11, ..begin };
    let followed = answer(&mut self::follower(&bus, "three", Some(at)), 10).await;
    assert!(followed.is_end && !followed.is_end_behind_gap);
}
