//! Listing dead letters and removing them: each is listed once, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use spindle_bus::{Bus, BusErrorKind, DEAD_LETTER_STREAM, DeadLetterFilter, DeadLetterHead, StreamLimits};
use spindle_core::Timestamp;
use spindle_testkit::NatsServer;
use support::{LIMITS, TIMEOUT, chain, connect, content, started, until, witness};

/// Publishes a dead letter as the writer does, without the bus.
async fn leave(witness: &Context, reason: &str, subject: &str, number: u64, payload: impl Into<Bytes>) -> u64 {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("METRICS-1-{number}-0-1").as_str());
    headers.insert("Spindle-Detail", "it is bad");
    headers.insert("Spindle-Subject", subject);
    headers.insert("Spindle-Sequence", number.to_string().as_str());
    let sent = witness.publish_with_headers(format!("deadletter.{reason}"), headers, payload.into()).await.unwrap();
    sent.await.unwrap().sequence
}

async fn all(bus: &Bus, filter: DeadLetterFilter) -> Vec<DeadLetterHead> {
    let mut pages = bus.dead_letters(filter).await.unwrap();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        found.extend(page);
    }
    found
}

async fn sequences(bus: &Bus, filter: DeadLetterFilter) -> Vec<u64> {
    all(bus, filter).await.iter().map(|head| head.sequence).collect()
}

async fn n_consumers(witness: &Context) -> usize {
    witness.get_stream(DEAD_LETTER_STREAM).await.unwrap().cached_info().state.consumer_count
}

fn named(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn every_filter_finds_what_it_says_and_leaves_no_consumer() {
    let (_server, bus, witness) = started().await;
    assert!(all(&bus, DeadLetterFilter::default()).await.is_empty(), "an empty stream");
    for (number, (reason, subject)) in [
        ("bad_json", "events.event"),
        ("bad_field", "events.metrics"),
        ("bad_json", "events.metrics"),
        ("undeliverable.METRICS-1-2", "events.metrics"),
    ]
    .into_iter()
    .enumerate()
    {
        leave(&witness, reason, subject, number as u64, vec![b'x'; 10 + number]).await;
    }
    witness.publish("deadletter.foreign", "no header at all".into()).await.unwrap().await.unwrap();

    let heads = all(&bus, DeadLetterFilter::default()).await;
    assert_eq!(heads.iter().map(|head| head.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(heads.iter().map(|head| head.size_bytes).collect::<Vec<_>>(), [10, 11, 12, 13, 16]);
    assert_eq!(heads[3].reason, "undeliverable");
    assert_eq!((heads[1].detail.as_str(), heads[1].stream_sequence), ("it is bad", Some(1)));
    assert_eq!((heads[4].reason.as_str(), &heads[4].subject), ("foreign", &None));

    let by_reason = |reason: &str| DeadLetterFilter { reason: named(reason), ..DeadLetterFilter::default() };
    assert_eq!(sequences(&bus, by_reason("bad_json")).await, [1, 3]);
    assert_eq!(sequences(&bus, by_reason("undeliverable")).await, [4]);
    for odd in ["bad", "", "*", ">", "a b", "bad_json.x"] {
        assert_eq!(sequences(&bus, by_reason(odd)).await, [0; 0], "{odd}");
    }
    let metrics = DeadLetterFilter { subject: named("events.metrics"), ..DeadLetterFilter::default() };
    assert_eq!(sequences(&bus, metrics.clone()).await, [2, 3, 4]);
    assert_eq!(sequences(&bus, DeadLetterFilter { reason: named("bad_json"), ..metrics }).await, [3]);
    let since = DeadLetterFilter { since: Some(heads[2].kept_at), ..DeadLetterFilter::default() };
    assert_eq!(sequences(&bus, since.clone()).await, [3, 4, 5]);
    let until = DeadLetterFilter { until: Some(heads[4].kept_at), ..since };
    assert_eq!(sequences(&bus, until).await, [3, 4]);
    assert_eq!(n_consumers(&witness).await, 0);
}

#[tokio::test]
async fn a_hundred_thousand_letters_are_read_page_by_page() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    // Publishing so many may take long on a machine that is busy with other tests.
    let client = async_nats::connect(server.url()).await.unwrap();
    let patient = async_nats::jetstream::ContextBuilder::new().timeout(TIMEOUT).build(client);
    bus.ensure_streams(StreamLimits { dead_letter_bytes: 1 << 30, ..LIMITS }).await.unwrap();
    const N_DEAD_LETTERS: u64 = 100_000;
    let mut in_flight = FuturesUnordered::new();
    for number in 0..N_DEAD_LETTERS {
        let mut headers = HeaderMap::new();
        headers.insert("Spindle-Detail", "x".repeat(200).as_str());
        headers.insert("Spindle-Sequence", number.to_string().as_str());
        let reason = if number % 1000 == 7 { "deadletter.rare" } else { "deadletter.common" };
        let sent = patient.publish_with_headers(reason, headers, Bytes::from_static(&[b'x'; 500])).await.unwrap();
        in_flight.push(sent.into_future());
        if in_flight.len() > 500 {
            in_flight.next().await.unwrap().unwrap();
        }
    }
    while let Some(acked) = in_flight.next().await {
        acked.unwrap();
    }
    let started = Instant::now();
    let mut pages = bus.dead_letters(DeadLetterFilter::default()).await.unwrap();
    let (mut n_found, mut longest_page) = (0, 0);
    while let Some(page) = pages.next().await.unwrap() {
        for head in &page {
            assert_eq!(head.stream_sequence, Some(n_found));
            n_found += 1;
        }
        longest_page = longest_page.max(page.len());
    }
    assert_eq!(n_found, N_DEAD_LETTERS);
    assert!(longest_page <= 1000, "{longest_page} dead letters in a page");
    eprintln!("{N_DEAD_LETTERS} dead letters read in {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let started = Instant::now();
    let rare = DeadLetterFilter { reason: named("rare"), ..DeadLetterFilter::default() };
    assert_eq!(sequences(&bus, rare).await.len(), 100);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_comes_after_the_beginning_is_not_met() {
    let (_server, bus, witness) = started().await;
    for number in 0..3 {
        leave(&witness, "x", "events.event", number, "before").await;
    }
    let mut pages = bus.dead_letters(DeadLetterFilter::default()).await.unwrap();
    leave(&witness, "x", "events.event", 99, "after").await;
    let mut found = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        found.extend(page.into_iter().map(|head| head.sequence));
    }
    assert_eq!((found, pages.last_sequence()), (vec![1, 2, 3], 3));
}

#[tokio::test]
async fn reading_goes_on_where_a_killed_server_interrupted_it() {
    let mut server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    bus.ensure_streams(LIMITS).await.unwrap();
    for number in 0..2500 {
        leave(&witness, "x", "events.event", number, "x").await;
    }
    let mut pages = bus.dead_letters(DeadLetterFilter::default()).await.unwrap();
    let mut found = pages.next().await.unwrap().unwrap();
    assert_eq!(found.len(), 1000);
    server.kill();
    let error = pages.next().await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient, "{}", chain(&error));
    server.restart().unwrap();
    until("the connection", async || bus.is_connected()).await;
    loop {
        match pages.next().await {
            Ok(Some(page)) => found.extend(page),
            Ok(None) => break,
            Err(error) => assert_eq!(error.kind(), BusErrorKind::Transient, "{}", chain(&error)),
        }
    }
    let numbers: Vec<_> = found.iter().map(|head| head.stream_sequence.unwrap()).collect();
    assert_eq!(numbers, (0..2500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_missing_stream_is_said_at_once() {
    let server = NatsServer::start().unwrap();
    let error = connect(&server).await.dead_letters(DeadLetterFilter::default()).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Configuration);
    assert!(error.to_string().contains("no stream DEADLETTER"), "{error}");
}

#[tokio::test]
async fn letters_are_removed_by_sequence_or_by_reason_and_never_beyond() {
    let (_server, bus, witness) = started().await;
    for number in 0..6 {
        leave(&witness, if number % 2 == 0 { "even" } else { "odd" }, "events.event", number, "x").await;
    }
    assert_eq!(bus.remove_dead_letters(&[2, 99]).await.unwrap(), 1);
    assert_eq!(bus.remove_dead_letters(&[2]).await.unwrap(), 0, "already gone");
    assert_eq!(sequences(&bus, DeadLetterFilter::default()).await, [1, 3, 4, 5, 6]);
    assert_eq!(bus.purge_dead_letters(Some("even"), 3).await.unwrap(), 2);
    assert_eq!(sequences(&bus, DeadLetterFilter::default()).await, [4, 5, 6]);
    assert_eq!(bus.purge_dead_letters(None, 5).await.unwrap(), 2);
    assert_eq!(sequences(&bus, DeadLetterFilter::default()).await, [6]);
    assert_eq!(content(&witness, DEAD_LETTER_STREAM).await.len(), 1);
    let time = all(&bus, DeadLetterFilter::default()).await[0].kept_at;
    assert!(time > Timestamp::from_seconds(1_700_000_000), "{time}");
}

#[tokio::test]
async fn the_newest_are_found_past_holes_of_any_size() {
    let (_server, bus, witness) = started().await;
    let newest = async |before, limit| {
        let found = bus.newest_dead_letters(before, limit).await.unwrap();
        (found.heads.iter().map(|head| head.sequence).collect::<Vec<_>>(), found.next)
    };
    assert_eq!(newest(None, 5).await, (vec![], None));
    for number in 0..300 {
        leave(&witness, "bad_json", "events.event", number, "x").await;
    }
    assert_eq!(newest(None, 3).await, (vec![300, 299, 298], Some(298)));
    assert_eq!(newest(Some(3), 3).await, (vec![2, 1], None));
    assert_eq!(newest(Some(1), 3).await, (vec![], None));
    assert_eq!(newest(Some(u64::MAX), 1).await, (vec![300], Some(300)));
    let sequences: Vec<u64> = (10..=295).filter(|sequence| *sequence != 150).collect();
    bus.remove_dead_letters(&sequences).await.unwrap();
    assert_eq!(newest(None, 7).await, (vec![300, 299, 298, 297, 296, 150, 9], Some(9)));
    assert_eq!(newest(Some(200), 2).await, (vec![150, 9], Some(9)));
    assert_eq!(newest(Some(9), 100).await, ((1..9).rev().collect(), None));
    bus.purge_dead_letters(None, 299).await.unwrap();
    assert_eq!(newest(None, 2).await, (vec![300], None));
    bus.purge_dead_letters(None, 300).await.unwrap();
    let empty = bus.newest_dead_letters(None, 2).await.unwrap();
    assert_eq!((empty.heads, empty.next, empty.n_messages), (vec![], None, 0));
    assert_eq!(n_consumers(&witness).await, 0);
}
