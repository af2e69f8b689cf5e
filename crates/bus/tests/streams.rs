//! The three streams: created as required, left alone if safe, refused if they would lose messages.

#![allow(clippy::unwrap_used, reason = "test helpers may unwrap, as tests do")]

mod support;

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType};
use spindle_bus::{
    BusErrorKind, DEAD_LETTER_STREAM, EVENTS_STREAM, EVENTS_SUBJECT, METRICS_STREAM, METRICS_SUBJECT, StreamFinding,
    StreamLimits,
};
use spindle_testkit::{NatsServer, Options};
use support::{LIMITS, chain, config_of, connect, put, started, until, witness};

/// METRICS as an operator may have created it.
fn metrics() -> Config {
    Config {
        name: METRICS_STREAM.to_owned(),
        subjects: vec![METRICS_SUBJECT.to_owned()],
        max_bytes: 1 << 20,
        discard: DiscardPolicy::New,
        ..Config::default()
    }
}

#[tokio::test]
async fn three_streams_that_refuse_rather_than_forget_and_a_second_call_changes_nothing() {
    let (_server, bus, witness) = started().await;
    let names = [METRICS_STREAM, EVENTS_STREAM, DEAD_LETTER_STREAM];
    let expected = [
        (METRICS_SUBJECT, LIMITS.metrics_bytes),
        (EVENTS_SUBJECT, LIMITS.events_bytes),
        ("deadletter.>", LIMITS.dead_letter_bytes),
    ];
    for (name, (subject, max_bytes)) in names.into_iter().zip(expected) {
        let config = config_of(&witness, name).await;
        assert_eq!(config.subjects, [subject]);
        assert_eq!(u64::try_from(config.max_bytes).unwrap(), max_bytes);
        assert_eq!(config.discard, DiscardPolicy::New);
        assert_eq!(config.retention, RetentionPolicy::Limits);
        assert_eq!(config.storage, StorageType::File);
        assert_eq!((config.max_age, config.max_messages), (Duration::ZERO, -1), "nothing else may remove a message");
        assert!(config.duplicate_window >= Duration::from_secs(120), "{:?}", config.duplicate_window);
    }
    put(&witness, METRICS_SUBJECT, "one", "x").await;
    let created = witness.get_stream(METRICS_STREAM).await.unwrap().cached_info().created;
    bus.ensure_streams(LIMITS).await.unwrap();
    let larger = StreamLimits { metrics_bytes: LIMITS.metrics_bytes * 2, ..LIMITS };
    bus.ensure_streams(larger).await.unwrap();
    assert_eq!(witness.get_stream(METRICS_STREAM).await.unwrap().cached_info().created, created);
    let state = bus.stream_state(METRICS_STREAM).await.unwrap();
    assert_eq!((state.messages, state.last_sequence), (1, 1));
    assert!(state.bytes > 0);
}

#[tokio::test]
async fn the_stream_of_dead_letters_grows_as_configured_and_never_shrinks() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    for (configured, expected) in [(64 << 10, 64 << 10), (1 << 20, 1 << 20), (64 << 10, 1 << 20)] {
        bus.ensure_streams(StreamLimits { dead_letter_bytes: configured, ..LIMITS }).await.unwrap();
        assert_eq!(config_of(&witness, DEAD_LETTER_STREAM).await.max_bytes, expected);
    }
    // It may already be unbounded.
    let boundless = Config { max_bytes: -1, ..config_of(&witness, DEAD_LETTER_STREAM).await };
    witness.update_stream(boundless).await.unwrap();
    bus.ensure_streams(StreamLimits { dead_letter_bytes: 2 << 20, ..LIMITS }).await.unwrap();
    assert_eq!(config_of(&witness, DEAD_LETTER_STREAM).await.max_bytes, -1);
}

/// A typed update would set back the fields that the client library does not know.
#[tokio::test]
async fn growth_keeps_the_rest_of_the_configuration() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    let theirs = Config {
        name: DEAD_LETTER_STREAM.to_owned(),
        subjects: vec!["deadletter.>".to_owned()],
        max_bytes: 64 << 10,
        discard: DiscardPolicy::New,
        description: Some("theirs".to_owned()),
        allow_direct: true,
        ..Config::default()
    };
    witness.create_stream(theirs).await.unwrap();
    bus.ensure_streams(LIMITS).await.unwrap();
    let found = config_of(&witness, DEAD_LETTER_STREAM).await;
    assert_eq!((found.description.as_deref(), found.allow_direct), (Some("theirs"), true));
    assert_eq!(u64::try_from(found.max_bytes).unwrap(), LIMITS.dead_letter_bytes);
}

#[tokio::test]
async fn no_room_to_grow_stops_nobody() {
    let options = Options { max_file_store: Some(LIMITS.total() + 1), ..Options::default() };
    let server = NatsServer::start_with(options).unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    bus.ensure_streams(LIMITS).await.unwrap();
    bus.ensure_streams(StreamLimits { dead_letter_bytes: 1 << 40, ..LIMITS }).await.unwrap();
    let max_bytes = config_of(&witness, DEAD_LETTER_STREAM).await.max_bytes;
    assert_eq!(u64::try_from(max_bytes).unwrap(), LIMITS.dead_letter_bytes);
}

#[tokio::test]
async fn a_server_with_no_byte_to_spare_starts_again_and_again() {
    let options = Options { max_file_store: Some(LIMITS.total() + 1), ..Options::default() };
    let mut server = NatsServer::start_with(options).unwrap();
    for _ in 0..2 {
        let bus = connect(&server).await;
        bus.ensure_streams(LIMITS).await.unwrap();
        bus.ensure_streams(LIMITS).await.unwrap();
        // The trap: such a server refuses to create even a stream that exists.
        let witness = witness(&server).await;
        let same = config_of(&witness, METRICS_STREAM).await;
        assert!(witness.create_stream(same).await.is_err(), "there is room left, so this test proves nothing");
        server.restart().unwrap();
    }
}

#[tokio::test]
async fn two_programs_that_start_at_once_both_get_the_streams() {
    let server = NatsServer::start().unwrap();
    let (one, other) = (connect(&server).await, connect(&server).await);
    let (first, second) = tokio::join!(one.ensure_streams(LIMITS), other.ensure_streams(LIMITS));
    first.unwrap();
    second.unwrap();
}

#[tokio::test]
async fn a_stream_that_would_lose_messages_is_refused_in_one_clear_line() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    let check = async |existing: Config, expected: &str| {
        // The server may still be removing the folder of the previous stream of that name.
        until("a stream", async || witness.create_stream(existing.clone()).await.is_ok()).await;
        let error = bus.ensure_streams(LIMITS).await.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Configuration, "{}", chain(&error));
        let line = error.to_string();
        assert!(line.contains(expected) && line.contains(METRICS_STREAM), "{line:?} lacks {expected:?}");
        assert!(!line.contains('\n'), "{line:?}");
        witness.delete_stream(METRICS_STREAM).await.unwrap();
    };
    check(Config { discard: DiscardPolicy::Old, ..metrics() }, "discard is old instead of new").await;
    check(Config { discard: DiscardPolicy::Old, max_bytes: -1, max_messages: 9, ..metrics() }, "discard is old").await;
    check(Config { storage: StorageType::Memory, ..metrics() }, "storage is memory instead of file").await;
    check(Config { retention: RetentionPolicy::Interest, ..metrics() }, "retention is interest").await;
    check(Config { retention: RetentionPolicy::WorkQueue, ..metrics() }, "nats stream rm METRICS").await;
    check(Config { subjects: vec!["else".to_owned()], ..metrics() }, "subjects is else instead of events.metrics")
        .await;
    let two = Config { storage: StorageType::Memory, discard: DiscardPolicy::Old, ..metrics() };
    check(two.clone(), "discard is old").await;
    check(two, "storage is memory").await;
    let hundred = Config { max_messages_per_subject: 100, discard: DiscardPolicy::Old, max_bytes: -1, ..metrics() };
    check(hundred, "max_msgs_per_subject is 100 instead of -1").await;
    // The per-subject limit removes messages of a stream that otherwise refuses new ones, too.
    check(Config { max_messages_per_subject: 100, ..metrics() }, "only the newest messages of a subject").await;
    check(Config { no_ack: true, ..metrics() }, "no_ack is true").await;
    check(Config { max_age: Duration::from_secs(86_400), ..metrics() }, "max_age is 86400 s instead of 0 s").await;
    check(Config { max_message_size: 1000, ..metrics() }, "max_msg_size is 1000").await;
    check(Config { persist_mode: Some(PersistenceMode::Async), ..metrics() }, "persist_mode is async").await;
    check(Config { deny_purge: true, ..metrics() }, "deny_purge is true").await;
    check(Config { allow_rollup: true, ..metrics() }, "allow_rollup_hdrs is true").await;
    bus.ensure_streams(LIMITS).await.unwrap();
}

#[tokio::test]
async fn what_an_operator_may_decide_is_left_as_it_is() {
    let server = NatsServer::start().unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    let theirs = Config {
        subjects: vec!["their.own".to_owned(), METRICS_SUBJECT.to_owned()],
        max_bytes: 1 << 30,
        max_age: Duration::from_secs(86_400),
        duplicate_window: Duration::from_secs(600),
        max_messages: 1_000_000,
        allow_direct: true,
        ..metrics()
    };
    witness.create_stream(theirs.clone()).await.unwrap();
    // The store keeps no longer what the stream lets expire; a daemon does not know what the store keeps.
    let retention = Some(Duration::from_secs(86_400));
    bus.ensure_streams(StreamLimits { retention, ..LIMITS }).await.unwrap();
    bus.ensure_publishing(LIMITS).await.unwrap();
    let findings = bus.inspect_streams(StreamLimits { retention, ..LIMITS }).await;
    let Ok(StreamFinding::Usable { differences, .. }) = &findings[0].1 else { panic!("{findings:?}") };
    let mut fields: Vec<_> = differences.iter().map(|difference| difference.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["allow_direct", "max_age", "max_bytes", "max_msgs", "subjects"]);
    let found = config_of(&witness, METRICS_STREAM).await;
    assert_eq!(found.subjects, theirs.subjects);
    assert_eq!((found.max_bytes, found.max_age), (theirs.max_bytes, theirs.max_age));
    assert_eq!(found.duplicate_window, theirs.duplicate_window);
}

#[tokio::test]
async fn no_room_and_a_taken_subject_are_said_with_the_remedy() {
    let options = Options { max_file_store: Some(LIMITS.metrics_bytes + 1), ..Options::default() };
    let server = NatsServer::start_with(options).unwrap();
    let (bus, witness) = (connect(&server).await, witness(&server).await);
    let error = bus.ensure_streams(LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Configuration, "{}", chain(&error));
    for expected in ["EVENTS", "8388608", "max_file_store", "nats.events_bytes"] {
        assert!(error.to_string().contains(expected), "{error} lacks {expected:?}");
    }
    witness.delete_stream(METRICS_STREAM).await.unwrap();
    let taken = Config { name: "OTHER".to_owned(), subjects: vec!["events.>".to_owned()], ..Config::default() };
    witness.create_stream(taken).await.unwrap();
    let error = bus.ensure_streams(LIMITS).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Configuration, "{}", chain(&error));
    assert!(error.to_string().contains("already takes events.metrics"), "{error}");
}

#[tokio::test]
async fn an_unknown_stream_is_worth_another_try() {
    let server = NatsServer::start().unwrap();
    let error = connect(&server).await.stream_state("NONE").await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Transient);
    assert!(error.to_string().contains("NONE"), "{error}");
}
