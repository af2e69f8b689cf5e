//! Dead letters: every byte is kept, with the reason, once.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use spindle_bus::{
    Bus, BusErrorKind, Consumer, ConsumerLimits, DEAD_LETTER_STREAM, Delivery, METRICS_STREAM, METRICS_SUBJECT,
    NewDeadLetter, StreamLimits,
};
use spindle_core::dead_letter::Reason;
use spindle_testkit::NatsServer;
use support::{LIMITS, chain, connect, content, ends, header, put, put_many, started, witness};

async fn deliveries(bus: &Bus, n: usize) -> Vec<Delivery> {
    let limits = ConsumerLimits {
        max_messages: n,
        max_bytes: 4 << 20,
        linger: Duration::ZERO,
        max_ack_pending: 100,
        ack_wait: Duration::from_secs(30),
    };
    let mut consumer = Consumer::open(bus.clone(), METRICS_STREAM, "test", limits).await.unwrap();
    let batch = ends("next()", consumer.next()).await.unwrap();
    assert_eq!(batch.len(), n);
    batch
}

fn new_dead_letter(index: usize) -> NewDeadLetter {
    NewDeadLetter {
        bytes: Bytes::from_static(b"bad"),
        reason: Reason::BadShape,
        detail: "it is bad".to_owned(),
        index,
        is_whole: false,
    }
}

#[tokio::test]
async fn every_byte_is_kept_with_where_it_came_from_and_why() {
    let (_server, bus, witness) = started().await;
    let payload: Vec<u8> = (0..=255).collect();
    put(&witness, METRICS_SUBJECT, "first", "x").await;
    put(&witness, METRICS_SUBJECT, "the-id", payload.clone()).await;
    let origin = &deliveries(&bus, 2).await[1];
    let detail = "line 1\r\nNats-Msg-Id: forged\n\ttab \0 nul, and ümlaut".to_owned();
    let dead = NewDeadLetter { bytes: origin.payload().clone(), detail, ..new_dead_letter(7) };
    bus.keep_dead_letter(METRICS_STREAM, origin, dead).await.unwrap();

    let kept = content(&witness, DEAD_LETTER_STREAM).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].subject.as_str(), "deadletter.bad_shape");
    assert_eq!(kept[0].payload, payload);
    let expected = [
        ("Spindle-Reason", "bad_shape"),
        ("Spindle-Detail", "line 1  Nats-Msg-Id: forged  tab   nul, and ümlaut"),
        ("Spindle-Subject", METRICS_SUBJECT),
        ("Spindle-Stream", METRICS_STREAM),
        ("Spindle-Sequence", "2"),
        ("Spindle-Index", "7"),
        ("Spindle-Message-Id", "the-id"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&kept[0], name), value, "{name}");
    }
    assert_ne!(header(&kept[0], "Nats-Msg-Id"), "forged");
}

#[tokio::test]
async fn the_same_letter_twice_is_one_and_another_part_or_message_is_another() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 2).await;
    let origins = deliveries(&bus, 2).await;
    for (origin, index, is_new) in [(0, 0, true), (0, 0, false), (0, 1, true), (1, 0, true), (1, 0, false)] {
        let kept = bus.keep_dead_letter(METRICS_STREAM, &origins[origin], new_dead_letter(index)).await.unwrap();
        assert_eq!(kept, is_new, "{origin} {index}");
    }
    let kept = content(&witness, DEAD_LETTER_STREAM).await;
    let places: Vec<_> =
        kept.iter().map(|kept| (header(kept, "Spindle-Sequence"), header(kept, "Spindle-Index"))).collect();
    assert_eq!(places, [("1", "0"), ("1", "1"), ("2", "0")]);
}

/// With its headers it exceeds the largest message: in one piece it could never be kept.
#[tokio::test]
async fn a_letter_as_large_as_a_message_is_kept_in_parts() {
    let (_server, bus, witness) = started().await;
    let payload: Vec<u8> = (0..bus.max_payload() - 100).map(|index| (index % 251) as u8).collect();
    put(&witness, METRICS_SUBJECT, "x", payload.clone()).await;
    let origin = &deliveries(&bus, 1).await[0];
    for _ in 0..2 {
        let dead = NewDeadLetter { bytes: origin.payload().clone(), detail: "ü".repeat(5000), ..new_dead_letter(0) };
        bus.keep_dead_letter(METRICS_STREAM, origin, dead).await.map_err(|error| chain(&error)).unwrap();
    }
    let kept = content(&witness, DEAD_LETTER_STREAM).await;
    let parts: Vec<_> = kept.iter().map(|kept| header(kept, "Spindle-Part")).collect();
    assert_eq!(parts, ["1/2", "2/2"]);
    assert!(kept.iter().flat_map(|kept| kept.payload.iter()).eq(&payload));
}

/// A dead letter that cannot be kept would have its message redelivered forever.
#[tokio::test]
async fn a_reason_of_any_length_can_be_kept() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 1).await;
    let origin = &deliveries(&bus, 1).await[0];
    for (index, detail) in [String::new(), "ü".repeat(100_000)].into_iter().enumerate() {
        let dead = NewDeadLetter { detail: detail.clone(), ..new_dead_letter(index) };
        bus.keep_dead_letter(METRICS_STREAM, origin, dead).await.map_err(|error| chain(&error)).unwrap();
    }
    let kept = content(&witness, DEAD_LETTER_STREAM).await;
    assert_eq!(header(&kept[0], "Spindle-Detail"), "");
    let long = header(&kept[1], "Spindle-Detail");
    assert!(long.starts_with("üüü") && long.len() >= 1000, "{} bytes", long.len());
}

#[tokio::test]
async fn a_letter_that_was_not_kept_is_an_error() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    bus.ensure_streams(StreamLimits { dead_letter_bytes: 2048, ..LIMITS }).await.unwrap();
    put_many(&witness, METRICS_SUBJECT, 1).await;
    let origin = &deliveries(&bus, 1).await[0];
    let large = NewDeadLetter { bytes: vec![0; 4096].into(), ..new_dead_letter(0) };
    let error = bus.keep_dead_letter(METRICS_STREAM, origin, large).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::StreamFull, "{}", chain(&error));
    witness.delete_stream(DEAD_LETTER_STREAM).await.unwrap();
    let error = bus.keep_dead_letter(METRICS_STREAM, origin, new_dead_letter(0)).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient, "{}", chain(&error));
}
