//! Replays: every byte goes back to its original subject, once, however often the replay is interrupted.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use spindle_bus::{
    Bus, BusErrorKind, Consumer, ConsumerLimits, DEAD_LETTER_STREAM, DeadLetter, Delivery, EVENTS_STREAM,
    EVENTS_SUBJECT, METRICS_STREAM, METRICS_SUBJECT, NewDeadLetter, Replayed,
};
use spindle_core::dead_letter::Reason;
use support::{chain, content, ends, header, put, started, until};

/// Returns the next message of METRICS for the test's consumer.
async fn next(bus: &Bus) -> Delivery {
    let limits = ConsumerLimits {
        max_messages: 1,
        max_bytes: 4 << 20,
        linger: Duration::ZERO,
        max_ack_pending: 100,
        ack_wait: Duration::from_secs(30),
    };
    let mut consumer = Consumer::open(bus.clone(), METRICS_STREAM, "test", limits).await.unwrap();
    ends("next()", consumer.next()).await.unwrap().pop().unwrap()
}

/// Takes the next message and keeps it as a dead letter, as the writer does.
async fn keep_next(bus: &Bus, index: usize) {
    let origin = next(bus).await;
    let (bytes, detail) = (origin.payload().clone(), "it is bad".to_owned());
    let dead_letter = NewDeadLetter { bytes, reason: Reason::BadField, detail, index, is_whole: false };
    bus.keep_dead_letter(METRICS_STREAM, &origin, dead_letter).await.map_err(|error| chain(&error)).unwrap();
    origin.term().await.unwrap();
}

async fn dead_letter(bus: &Bus, sequence: u64) -> DeadLetter {
    bus.dead_letter(sequence).await.map_err(|error| chain(&error)).unwrap().unwrap()
}

/// Bytes that text handling, compression or JSON parsing would change.
fn noise(n_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(n_bytes)
    .collect()
}

async fn leave(witness: &Context, headers: &[(&str, &str)], payload: impl Into<Bytes>) -> u64 {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    witness.publish_with_headers("deadletter.bad", map, payload.into()).await.unwrap().await.unwrap().sequence
}

#[tokio::test]
async fn every_byte_of_every_size_comes_back() {
    let (_server, bus, witness) = started().await;
    let max = bus.max_payload();
    assert_eq!(max, 1 << 20);
    let replayer = bus.replayer().await.unwrap();
    let headers = HeaderMap::new();
    // Empty, every byte value, with room for our headers, and without.
    for (number, size) in [0, 1, 256, 1000, max - 20_000, max - 300, max - 10, max].into_iter().enumerate() {
        let payload = if size == 256 { (0..=255).collect() } else { noise(size) };
        let sent = witness.publish_with_headers(METRICS_SUBJECT, headers.clone(), payload.clone().into()).await;
        sent.unwrap().await.unwrap();
        keep_next(&bus, 0).await;
        let newest = bus.stream_state(DEAD_LETTER_STREAM).await.unwrap().last_sequence;
        let whole = dead_letter(&bus, newest).await;
        assert!(whole.bytes == payload, "{size} bytes");
        assert_eq!(replayer.replay(&whole).await.map_err(|error| chain(&error)).unwrap(), Replayed::Stored);
        bus.remove_dead_letters(&whole.sequences).await.unwrap();
        assert_eq!(bus.stream_state(DEAD_LETTER_STREAM).await.unwrap().messages, 0, "{size} bytes");
        let back = next(&bus).await;
        assert!(back.payload() == &payload, "{size} bytes");
        assert_eq!((back.subject(), back.stream_sequence()), (METRICS_SUBJECT, 2 * number as u64 + 2));
        back.ack().await.unwrap();
    }
}

#[tokio::test]
async fn an_interrupted_replay_is_stored_once_and_a_second_letter_is_replayed_again() {
    let (_server, bus, witness) = started().await;
    put(&witness, METRICS_SUBJECT, "the-id", "bad").await;
    keep_next(&bus, 3).await;
    let replayer = bus.replayer().await.unwrap();
    // Interrupted twice between publishing and removing, then completed.
    assert_eq!(replayer.replay(&dead_letter(&bus, 1).await).await.unwrap(), Replayed::Stored);
    for _ in 0..2 {
        assert_eq!(replayer.replay(&dead_letter(&bus, 1).await).await.unwrap(), Replayed::Duplicate);
    }
    assert_eq!(bus.remove_dead_letters(&[1]).await.unwrap(), 1);
    assert_eq!(content(&witness, METRICS_STREAM).await.len(), 2);
    assert!(bus.dead_letter(1).await.unwrap().is_none());
    // As bad as before: a new dead letter, which counts its replays, and whose replay is not a duplicate.
    for n_replays in 1..=3 {
        keep_next(&bus, 0).await;
        let again = dead_letter(&bus, n_replays + 1).await;
        assert_eq!((again.head.n_replays, again.head.index), (n_replays as u32, Some(0)));
        assert_eq!(again.head.stream_sequence, Some(n_replays + 1));
        assert_eq!(replayer.replay(&again).await.unwrap(), Replayed::Stored);
        bus.remove_dead_letters(&again.sequences).await.unwrap();
    }
    let published = content(&witness, METRICS_STREAM).await;
    let counts: Vec<_> = published.iter().map(|message| header(message, "Spindle-Replays")).collect();
    assert_eq!(counts, ["", "1", "2", "3", "4"]);
    assert!(published.iter().all(|message| &message.payload[..] == b"bad"));
}

#[tokio::test]
async fn the_parts_of_a_letter_are_found_from_each_of_them_and_a_missing_one_is_said() {
    let (_server, bus, witness) = started().await;
    let payload = noise(bus.max_payload() - 100);
    // Two dead letters whose parts could be mistaken for each other's.
    for _ in 0..2 {
        witness.publish(METRICS_SUBJECT, payload.clone().into()).await.unwrap().await.unwrap();
        keep_next(&bus, 0).await;
    }
    for (named, expected) in [(1, [1, 2]), (2, [1, 2]), (3, [3, 4]), (4, [3, 4])] {
        let whole = dead_letter(&bus, named).await;
        assert!(whole.bytes == payload);
        assert_eq!((whole.sequences, whole.head.sequence), (expected.to_vec(), named));
    }
    let replayer = bus.replayer().await.unwrap();
    assert_eq!(replayer.replay(&dead_letter(&bus, 1).await).await.unwrap(), Replayed::Stored);
    // The other part of the same dead letter is the same replay, the other dead letter a different one.
    let header_less = replayer.replay(&dead_letter(&bus, 2).await).await.unwrap();
    assert_eq!(header_less, Replayed::Stored, "no room for an id: only the store recognizes it");
    bus.remove_dead_letters(&[1]).await.unwrap();
    let error = bus.dead_letter(2).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Permanent);
    assert!(error.to_string().contains("part 1 of 2 is missing"), "{error}");
    assert!(dead_letter(&bus, 4).await.bytes == payload);
}

#[tokio::test]
async fn parts_far_apart_and_kept_twice_are_one_letter() {
    let (_server, bus, witness) = started().await;
    let part = |id: &'static str, part: &'static str| {
        [("Nats-Msg-Id", id), ("Spindle-Part", part), ("Spindle-Subject", METRICS_SUBJECT)]
    };
    let first = leave(&witness, &part("k-1", "1/2"), "head ").await;
    for _ in 0..600 {
        leave(&witness, &[], "between").await;
    }
    let last = leave(&witness, &part("k-2", "2/2"), "tail").await;
    // After the duplicate window the writer could keep a part again.
    let again = leave(&witness, &part("k-02", "2/2"), "tail").await;
    let whole = dead_letter(&bus, last).await;
    assert_eq!(&whole.bytes[..], b"head tail");
    assert_eq!(whole.sequences, [first, last, again]);
    assert_eq!(bus.sequences_of(&whole.head).await.unwrap(), whole.sequences);
    let replayer = bus.replayer().await.unwrap();
    assert_eq!(replayer.replay(&whole).await.unwrap(), Replayed::Stored);
    assert_eq!(replayer.replay(&dead_letter(&bus, first).await).await.unwrap(), Replayed::Duplicate);
}

#[tokio::test]
async fn nothing_is_published_where_no_stream_of_ours_listens() {
    let (_server, bus, witness) = started().await;
    let replayer = bus.replayer().await.unwrap();
    for (subject, expected) in [
        (None, "has no original subject"),
        (Some("deadletter.bad"), "neither METRICS nor EVENTS takes"),
        (Some("$JS.API.STREAM.DELETE.METRICS"), "neither METRICS nor EVENTS takes"),
        (Some("events.*"), "neither METRICS nor EVENTS takes"),
    ] {
        let headers: Vec<_> = subject.map(|subject| ("Spindle-Subject", subject)).into_iter().collect();
        let sequence = leave(&witness, &headers, "{}").await;
        let error = replayer.replay(&dead_letter(&bus, sequence).await).await.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Permanent, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let event = leave(&witness, &[("Spindle-Subject", EVENTS_SUBJECT)], "{}").await;
    assert_eq!(replayer.replay(&dead_letter(&bus, event).await).await.unwrap(), Replayed::Stored);
    assert_eq!(bus.stream_state(EVENTS_STREAM).await.unwrap().messages, 1);
    assert_eq!(bus.stream_state(METRICS_STREAM).await.unwrap().messages, 0);
}

#[tokio::test]
async fn a_forged_count_of_replays_is_not_carried_on() {
    let (_server, bus, witness) = started().await;
    for forged in ["many", "-1", "1\u{1b}[2J", "4294967296"] {
        let mut headers = HeaderMap::new();
        headers.insert("Spindle-Replays", forged);
        witness.publish_with_headers(METRICS_SUBJECT, headers, "x".into()).await.unwrap().await.unwrap();
        keep_next(&bus, 0).await;
    }
    for kept in content(&witness, DEAD_LETTER_STREAM).await {
        assert_eq!(header(&kept, "Spindle-Replays"), "");
        assert!(header(&kept, "Spindle-Published").starts_with("20"), "{}", header(&kept, "Spindle-Published"));
    }
}

#[tokio::test]
async fn a_letter_stays_while_its_replay_is_refused() {
    let (_server, bus, witness) = started().await;
    put(&witness, METRICS_SUBJECT, "m", "bad").await;
    keep_next(&bus, 0).await;
    let replayer = bus.replayer().await.unwrap();
    let whole = dead_letter(&bus, 1).await;
    witness.delete_stream(METRICS_STREAM).await.unwrap();
    let error = replayer.replay(&whole).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient, "{}", chain(&error));
    until("the dead letter to be still there", async || bus.dead_letter(1).await.unwrap().is_some()).await;
}
