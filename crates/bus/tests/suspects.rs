//! The last guard: what ends the writer becomes a dead letter; what was only in its hand does not.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

mod support;

use std::time::Duration;

use async_nats::jetstream::Context;
use spindle_bus::{
    Bus, DEAD_LETTER_STREAM, Delivery, Intake, IntakeLimits, Kind, MAX_ATTEMPTS, METRICS_STREAM, METRICS_SUBJECT,
    StreamLimits, Suspicion,
};
use spindle_testkit::NatsServer;
use support::{LIMITS, chain, connect, content, ends, header, put, put_many, started, until, witness};

const ACK_WAIT: Duration = Duration::from_millis(300);

async fn intake(bus: &Bus) -> Intake {
    let limits = IntakeLimits {
        max_messages: 10,
        max_bytes: 4 << 20,
        linger: Duration::ZERO,
        max_ack_pending: 100,
        ack_wait: ACK_WAIT,
    };
    Intake::open(bus.clone(), METRICS_STREAM, "test", limits).await.unwrap()
}

async fn next(intake: &mut Intake) -> Vec<Delivery> {
    loop {
        let batch = ends("next()", intake.next()).await.unwrap();
        if !batch.is_empty() {
            return batch;
        }
    }
}

async fn letters(witness: &Context) -> Vec<(String, String)> {
    let kept = content(witness, DEAD_LETTER_STREAM).await;
    kept.iter().map(|kept| (kept.subject.to_string(), header(kept, "Spindle-Attempt").to_owned())).collect()
}

#[tokio::test]
async fn a_message_at_which_the_writer_dies_again_and_again_is_a_dead_letter() {
    let (_server, bus, witness) = started().await;
    let payload: Vec<u8> = (0..=255).collect();
    put(&witness, METRICS_SUBJECT, "poison", payload.clone()).await;
    let mut intake = intake(&bus).await;
    for attempt in 1..=MAX_ATTEMPTS {
        let suspect = &next(&mut intake).await[0];
        assert_eq!(bus.suspect(METRICS_STREAM, suspect).await.unwrap(), Suspicion::Try);
        let kept = letters(&witness).await;
        assert_eq!(kept.len(), 1, "one copy at a time: {kept:?}");
        assert!(kept[0].0.starts_with("deadletter.undeliverable.METRICS-"), "{kept:?}");
        assert_eq!(kept[0].1, attempt.to_string());
        // The writer dies here.
    }
    let suspect = &next(&mut intake).await[0];
    assert_eq!(bus.suspect(METRICS_STREAM, suspect).await.unwrap(), Suspicion::Guilty);
    suspect.term().await.unwrap();
    until("it to be terminated", async || Intake::lag(&bus, METRICS_STREAM, "test").await.unwrap() == 0).await;
    let kept = content(&witness, DEAD_LETTER_STREAM).await;
    assert_eq!((kept.len(), &kept[0].payload[..]), (1, &payload[..]));
    assert_eq!(header(&kept[0], "Spindle-Message-Id"), "poison");
    let detail = header(&kept[0], "Spindle-Detail");
    assert!(detail.contains("3 of 3 times") && detail.contains("delivered 3 times"), "{detail}");
    let whole = bus.dead_letter(4).await;
    let whole = whole.unwrap().or(bus.dead_letter(3).await.unwrap()).unwrap();
    assert_eq!((whole.letter.reason.as_str(), &whole.bytes[..]), ("undeliverable", &payload[..]));
    assert_eq!(bus.replayer().await.unwrap().replay(&whole).await.unwrap(), spindle_bus::Replayed::Stored);
}

/// Restarts of the writer cost deliveries, however good the message is: 200 of them prove nothing.
#[tokio::test]
async fn a_message_that_is_survived_is_never_a_dead_letter() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 1).await;
    let mut intake = intake(&bus).await;
    for n_deaths in 0..10 {
        let suspect = next(&mut intake).await.pop().unwrap();
        assert_eq!(bus.suspect(METRICS_STREAM, &suspect).await.unwrap(), Suspicion::Try, "{n_deaths}");
        // The store is away: it was survived, and then the writer is killed for another reason.
        suspect.survived().await.unwrap();
        assert!(letters(&witness).await.is_empty());
    }
    // Two kills by chance in the middle of an attempt are no proof either.
    for _ in 0..MAX_ATTEMPTS - 1 {
        let suspect = next(&mut intake).await.pop().unwrap();
        assert_eq!(bus.suspect(METRICS_STREAM, &suspect).await.unwrap(), Suspicion::Try);
    }
    let suspect = next(&mut intake).await.pop().unwrap();
    assert_eq!(bus.suspect(METRICS_STREAM, &suspect).await.unwrap(), Suspicion::Try);
    suspect.ack().await.unwrap();
    assert!(letters(&witness).await.is_empty(), "an ack says that it was survived");
    until("the ack to be counted", async || Intake::lag(&bus, METRICS_STREAM, "test").await.unwrap() == 0).await;
}

#[tokio::test]
async fn each_answer_ends_an_attempt_and_only_its_own() {
    let (_server, bus, witness) = started().await;
    put_many(&witness, METRICS_SUBJECT, 4).await;
    let mut intake = intake(&bus).await;
    let batch = next(&mut intake).await;
    for suspect in &batch {
        assert_eq!(bus.suspect(METRICS_STREAM, suspect).await.unwrap(), Suspicion::Try);
    }
    assert_eq!(letters(&witness).await.len(), 4);
    batch[0].ack().await.unwrap();
    batch[1].term().await.unwrap();
    batch[2].nak(Duration::from_secs(60)).await.unwrap();
    let left = content(&witness, DEAD_LETTER_STREAM).await;
    assert_eq!((left.len(), &left[0].payload[..]), (1, &b"m4"[..]));
}

/// A message as large as they come has a copy in parts: all of them go with its attempt.
#[tokio::test]
async fn the_copy_of_a_large_message_goes_as_a_whole() {
    let (_server, bus, witness) = started().await;
    let payload = vec![b'x'; bus.max_payload()];
    witness.publish(METRICS_SUBJECT, payload.into()).await.unwrap().await.unwrap();
    let mut intake = intake(&bus).await;
    for attempt in ["1", "2"] {
        let suspect = next(&mut intake).await.pop().unwrap();
        assert_eq!(bus.suspect(METRICS_STREAM, &suspect).await.unwrap(), Suspicion::Try);
        let kept = letters(&witness).await;
        assert!(kept.len() == 2 && kept.iter().all(|(_, number)| number == attempt), "{kept:?}");
    }
    let suspect = next(&mut intake).await.pop().unwrap();
    assert_eq!(bus.suspect(METRICS_STREAM, &suspect).await.unwrap(), Suspicion::Try);
    suspect.ack().await.unwrap();
    assert!(letters(&witness).await.is_empty());
}

#[tokio::test]
async fn without_room_for_the_copy_no_attempt_begins() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    bus.ensure_streams(StreamLimits { dead_letter_bytes: 2048, ..LIMITS }).await.unwrap();
    put(&witness, METRICS_SUBJECT, "m", vec![0; 4096]).await;
    let suspect = next(&mut intake(&bus).await).await.pop().unwrap();
    let error = bus.suspect(METRICS_STREAM, &suspect).await.unwrap_err();
    assert_eq!(error.kind(), Kind::StreamFull, "{}", chain(&error));
}
