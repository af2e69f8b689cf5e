//! Pulls on a cluster of three copies return every available message, although the server's status messages overtake
//! them.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::Duration;

use async_nats::jetstream::{Context, stream};
use spindle_bus::{Consumer, ConsumerLimits, METRICS_STREAM, METRICS_SUBJECT};
use spindle_testkit::{NatsServer, Options};
use support::{connect, ends, names, some, until, witness};

const LIMITS: ConsumerLimits = ConsumerLimits {
    max_messages: 500,
    max_bytes: 1 << 20,
    linger: Duration::ZERO,
    max_ack_pending: 2_000,
    // A message lost by a pull would be redelivered only after the test.
    ack_wait: Duration::from_secs(600),
};

async fn make_stream(jetstream: &Context) {
    let config = stream::Config {
        name: METRICS_STREAM.to_owned(),
        subjects: vec![METRICS_SUBJECT.to_owned()],
        discard: stream::DiscardPolicy::New,
        num_replicas: 3,
        ..stream::Config::default()
    };
    // The servers refuse until they have elected a leader.
    until("a stream of three copies", async || jetstream.create_stream(config.clone()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_comes_at_its_first_delivery() {
    const N_MESSAGES: usize = 2_000;
    let servers = NatsServer::start_cluster(|_| Options::default()).unwrap();
    let jetstream = witness(&servers[0]).await;
    make_stream(&jetstream).await;
    let mut acks = Vec::new();
    for id in names(N_MESSAGES) {
        acks.push(jetstream.publish(METRICS_SUBJECT, id.into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }
    let bus = connect(&servers[1]).await;
    let mut consumer = Consumer::open(bus, METRICS_STREAM, "test", LIMITS).await.unwrap();
    let (mut seen, mut n_pulls) = (Vec::new(), 0);
    while seen.len() < N_MESSAGES {
        let batch = ends("next()", consumer.next()).await.unwrap();
        n_pulls += 1;
        assert!(n_pulls <= 8, "{} of {N_MESSAGES} messages in {n_pulls} pulls", seen.len());
        for delivery in &batch {
            assert_eq!(delivery.n_delivered(), 1);
            seen.push(String::from_utf8(delivery.payload().to_vec()).unwrap());
            delivery.ack().await.unwrap();
        }
    }
    assert_eq!(seen, names(N_MESSAGES));

    // Likewise when limited by bytes: a message that does not fit ends a pull and comes with the next.
    let large = vec![b'x'; 300 << 10];
    for _ in 0..10 {
        jetstream.publish(METRICS_SUBJECT, large.clone().into()).await.unwrap().await.unwrap();
    }
    let mut n_seen = 0;
    while n_seen < 10 {
        let batch = ends("next()", consumer.next()).await.unwrap();
        assert!((1..=3).contains(&batch.len()), "{} after {n_seen}", batch.len());
        for delivery in &batch {
            assert_eq!(delivery.n_delivered(), 1);
            delivery.ack().await.unwrap();
        }
        n_seen += batch.len();
    }
}

/// Every kill of the leader elects another one, which may lag for a moment; the consumer must keep its position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_resets_no_consumer() {
    const N_ROUNDS: usize = 3;
    let mut servers = NatsServer::start_cluster(|_| Options::default()).unwrap();
    let urls = servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",");
    let jetstream = async_nats::jetstream::new(async_nats::connect(urls.split(',').collect::<Vec<_>>()).await.unwrap());
    make_stream(&jetstream).await;
    let bus = spindle_bus::Bus::connect(&support::settings(&urls), "test").await.unwrap();
    let mut consumer = Consumer::open(bus.clone(), METRICS_STREAM, "test", LIMITS).await.unwrap();
    let created = created_at(&jetstream).await;
    let mut n_seen = 0;
    for round in 1..=N_ROUNDS {
        for _ in 0..200 {
            let publish = async || match jetstream.publish(METRICS_SUBJECT, "x".into()).await {
                Ok(ack) => ack.await.is_ok(),
                Err(_) => false,
            };
            until("an ack", publish).await;
        }
        while n_seen < 200 * round {
            for delivery in ends("next()", consumer.next()).await.unwrap_or_default() {
                delivery.ack().await.unwrap();
                n_seen += 1;
            }
        }
        let leader = leader(&jetstream).await;
        servers[leader].kill();
        let reopened = async || Consumer::open(bus.clone(), METRICS_STREAM, "test", LIMITS).await.is_ok();
        until("the consumer to open", reopened).await;
        servers[leader].restart().unwrap();
        assert_eq!(created_at(&jetstream).await, created, "it was deleted and created again");
    }
}

/// Returns the time at which the consumer was created, in nanoseconds. No server answers while a leader is elected.
async fn created_at(jetstream: &Context) -> i128 {
    some("the consumer", async || {
        let consumer = jetstream.get_stream(METRICS_STREAM).await.ok()?.consumer_info("test").await.ok()?;
        Some(consumer.created.unix_timestamp_nanos())
    })
    .await
}

/// Returns the index of the server that leads the stream.
async fn leader(jetstream: &Context) -> usize {
    let name = some("a leader", async || {
        jetstream.get_stream(METRICS_STREAM).await.ok()?.cached_info().cluster.clone()?.leader
    });
    name.await.trim_start_matches("node-").parse().unwrap()
}
