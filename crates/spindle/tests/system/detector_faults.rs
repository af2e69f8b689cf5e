//! The detector over faults of what it depends on: NATS restarts, streams that lose what it has not read or are created
//! again, a damaged state, a second detector, and a long absence.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::stream;
use spindle_testkit::{FakeClocks, NatsServer, wait_until};

use crate::apart::{RoleProcess, connect};
use crate::detector::{Fresh, ROWS, detector, made, messages, publish, settled, wait_until_judged};
use crate::harness::PATIENCE;
use crate::truth_of_writes::{hours_ago, value};

fn metrics(max_bytes: i64) -> stream::Config {
    stream::Config {
        name: "METRICS".to_owned(),
        subjects: vec!["events.metrics".to_owned()],
        max_bytes,
        discard: stream::DiscardPolicy::New,
        ..stream::Config::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_nats_lose_no_event_and_double_none() {
    let mut nats = NatsServer::start().unwrap();
    let fresh = Fresh::start(&nats);
    for some in messages(3).chunks(36) {
        publish(&connect(&nats.url()).await, some).await;
        nats.kill();
        nats.restart().unwrap();
    }
    wait_until_judged(&fresh.process, 3 * ROWS);
    fresh.process.wait_until_ready();
    assert!(fresh.compare(&nats, 3 * ROWS).await.len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_or_deleted_is_counted_and_the_rest_is_judged() {
    let nats = NatsServer::start().unwrap();
    let Fresh { folder, process, .. } = Fresh::start(&nats);
    let jetstream = connect(&nats.url()).await;
    let messages = messages(1);
    publish(&jetstream, &messages[..10]).await;
    wait_until_judged(&process, 250);
    let saved = || process.metric("spindle_detector_state_size_bytes");
    wait_until(PATIENCE, "the state is saved", || saved() > 1_000.0).unwrap();
    drop(process);
    // Purged past the position, while nobody reads.
    publish(&jetstream, &messages[10..20]).await;
    jetstream.get_stream("METRICS").await.unwrap().purge().sequence(19).await.unwrap();
    let process = detector(folder.path(), &nats, &[]);
    let missed = || process.metric(r#"spindle_detector_missed_messages_total{stream="METRICS"}"#);
    wait_until(PATIENCE, "the gap is counted", || missed() >= 8.0).unwrap();
    wait_until_judged(&process, 50);
    // A consumer that somebody removes is created again.
    jetstream.get_stream("METRICS").await.unwrap().delete_consumer("detector-metrics").await.unwrap();
    publish(&jetstream, &messages[20..30]).await;
    wait_until_judged(&process, 300);
    // A stream that is created again is followed from its beginning, with what was learnt before.
    jetstream.delete_stream("METRICS").await.unwrap();
    jetstream.create_stream(metrics(1 << 20)).await.unwrap();
    publish(&jetstream, &messages[30..]).await;
    wait_until_judged(&process, 300 + ROWS - 750);
    assert!(missed() < 20.0, "{}", process.log());
    assert_eq!(process.metric("spindle_detector_series"), 1.0);
    assert!(process.log().contains("created again"), "{}", process.log());
    assert!(!made(&jetstream).await.is_empty());
    process.wait_until_ready();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_is_set_aside_and_everything_learnt_again() {
    let nats = NatsServer::start().unwrap();
    let jetstream = connect(&nats.url()).await;
    let Fresh { folder, process, .. } = Fresh::start(&nats);
    let messages = messages(1);
    publish(&jetstream, &messages[..40]).await;
    wait_until_judged(&process, 1_000);
    drop(process);
    let state = folder.path().join("data/detector.state");
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&state, &bytes).unwrap();
    let process = detector(folder.path(), &nats, &[]);
    wait_until_judged(&process, 1_000);
    let line = process.log().lines().filter(|line| line.contains("set aside")).collect::<Vec<_>>().join("\n");
    assert!(line.contains("checksum") && line.contains("detector.state.unusable"), "{}", process.log());
    assert_eq!(std::fs::read(folder.path().join("data/detector.state.unusable")).unwrap(), bytes);
    // What was learnt from the stream finds what comes now.
    publish(&jetstream, &messages[40..]).await;
    assert!(settled(&jetstream).await.iter().any(|event| event.starts_with("MetricAnomaly disk-0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_detectors_one_stands_by_and_says_so() {
    let nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let jetstream = connect(&nats.url()).await;
    let messages = messages(2);
    let Fresh { folder: _folder, process: first, .. } = Fresh::start(&nats);
    publish(&jetstream, &messages[..60]).await;
    wait_until_judged(&first, 1_500);
    let second = detector(folder.path(), &nats, &[]);
    // What came before it began is no news to it.
    let state = folder.path().join("data/detector.state");
    wait_until(PATIENCE, "the second begins", || state.exists()).unwrap();
    let flowing = tokio::spawn({
        let (jetstream, messages) = (jetstream.clone(), messages.clone());
        async move { publish(&jetstream, &messages[60..]).await }
    });
    let said = first.wait_for_readiness("the first stands by", |state| state.contains("another detector"));
    assert!(said.contains(&format!("process {}", second.pid())) && said.starts_with("503"), "{said}");
    flowing.await.unwrap();
    second.wait_until_ready();
    wait_until_judged(&second, 2 * ROWS);
    // The events of both are the same.
    let both = settled(&jetstream).await;
    assert!(both.len() >= 2, "{both:#?}");
    // In the same directory it does not even start.
    let (code, text) = crate::apart::run_once(folder.path(), "detector", &nats.url());
    assert!(code == Some(2) && text.contains("another detector already runs"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_that_is_away_never_fills_a_stream() {
    const MAX_BYTES: i64 = 1 << 20;
    let nats = NatsServer::start().unwrap();
    let jetstream = connect(&nats.url()).await;
    jetstream.create_stream(metrics(MAX_BYTES)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = nats.url();
    let _writer = RoleProcess::start(folder.path(), "writer", &[("NATS_URL", &url), ("SPINDLE_METRICS_BYTES", "1MiB")]);
    let process = detector(folder.path(), &nats, &[]);
    let message = format!("[{}]", messages(1)[0].trim_matches(['[', ']']));
    let per_message = message.len() as u64 + 50;
    let bytes = async || jetstream.get_stream("METRICS").await.unwrap().cached_info().state.bytes;
    publish(&jetstream, std::slice::from_ref(&message)).await;
    wait_until_judged(&process, 25);
    drop(process);
    // Three times the stream; every publish is taken.
    let mut n_messages = 1;
    while n_messages * per_message < 3 * MAX_BYTES as u64 {
        while bytes().await < MAX_BYTES as u64 * 4 / 5 {
            publish(&jetstream, &vec![message.clone(); 20]).await;
            n_messages += 20;
        }
        let trimmed = async || {
            for _ in 0..600 {
                if bytes().await < MAX_BYTES as u64 * 3 / 5 {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            false
        };
        assert!(trimmed().await, "the detector holds the stream: {} bytes", bytes().await);
    }
    let process = detector(folder.path(), &nats, &[]);
    let missed = || process.metric(r#"spindle_detector_missed_messages_total{stream="METRICS"}"#);
    wait_until(PATIENCE, "the gap is counted", || missed() > 0.0).unwrap();
    process.wait_until_ready();
    assert!(process.log().contains("messages removed from the stream before they were judged"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stood_by_takes_over_and_counts_what_it_missed() {
    let nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let jetstream = connect(&nats.url()).await;
    let messages = messages(1);
    let Fresh { folder: _folder, process: first, .. } = Fresh::start(&nats);
    publish(&jetstream, &messages[..20]).await;
    wait_until_judged(&first, 500);
    let second = detector(folder.path(), &nats, &[]);
    // Until then the first may get some of the next.
    first.wait_for_readiness("the first stands by", |state| state.contains("another detector"));
    publish(&jetstream, &messages[20..30]).await;
    wait_until_judged(&second, 750);
    drop(second);
    let metrics = jetstream.get_stream("METRICS").await.unwrap();
    metrics.purge().sequence(26).await.unwrap();
    // A minute without deliveries would do as well. One that was killed while it created a consumer again has none.
    metrics.delete_consumer("detector-metrics").await.ok();
    jetstream.get_stream("EVENTS").await.unwrap().delete_consumer("detector-events").await.ok();
    publish(&jetstream, &messages[30..]).await;
    wait_until_judged(&first, ROWS - 5 * 25);
    first.wait_until_ready();
    assert_eq!(first.metric(r#"spindle_detector_missed_messages_total{stream="METRICS"}"#), 5.0, "{}", first.log());
    assert!(first.log().contains("taking over"), "{}", first.log());
    assert!(settled(&jetstream).await.iter().any(|event| event.starts_with("MetricAnomaly disk-0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_events_are_refused_nothing_is_judged_and_none_is_lost() {
    let nats = NatsServer::start().unwrap();
    let fresh = Fresh::start(&nats);
    let jetstream = connect(&nats.url()).await;
    let roomy = jetstream.get_stream("EVENTS").await.unwrap().cached_info().config.clone();
    jetstream.update_stream(stream::Config { max_bytes: 10, ..roomy.clone() }).await.unwrap();
    publish(&jetstream, &messages(3)).await;
    let said = fresh.process.wait_for_readiness("it waits", |state| state.contains("until its events are taken"));
    assert!(said.starts_with("503"), "{said}");
    // Killed meanwhile, the next one makes the same events.
    jetstream.update_stream(roomy).await.unwrap();
    let fresh = fresh.kill(&nats);
    fresh.process.wait_until_ready();
    assert!(fresh.compare(&nats, 3 * ROWS).await.len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_the_host_that_is_ahead_makes_no_device_silent() {
    let nats = NatsServer::start().unwrap();
    let Fresh { folder, process, .. } = Fresh::start(&nats);
    let jetstream = connect(&nats.url()).await;
    let state = folder.path().join("data/detector.state");
    let before = std::fs::read(&state).unwrap();
    publish(&jetstream, &[value("disk-1", hours_ago(0), 0)]).await;
    wait_until_judged(&process, 1);
    wait_until(PATIENCE, "the state is saved", || std::fs::read(&state).unwrap() != before).unwrap();
    drop(process);
    let clocks = FakeClocks::find(folder.path()).unwrap().expect("libfaketime is installed (Debian: libfaketime)");
    let variables = clocks.variables("detector");
    clocks.set("detector", 5 * 3_600).unwrap();
    let variables: Vec<_> = variables.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let process = detector(folder.path(), &nats, &variables);
    process.wait_until_ready();
    publish(&jetstream, &[value("disk-1", hours_ago(0), 1)]).await;
    wait_until_judged(&process, 1);
    // Pulled and judged again, with the time that passed.
    let saved = || process.metric("spindle_detector_saved_timestamp_seconds");
    wait_until(PATIENCE, "the second state is saved", || saved() > 0.0).unwrap();
    assert!(made(&jetstream).await.is_empty(), "{:?}", made(&jetstream).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_comes_back_with_less_is_judged_from_there() {
    let mut nats = NatsServer::start().unwrap();
    let Fresh { folder, process, .. } = Fresh::start(&nats);
    let copy = tempfile::tempdir().unwrap();
    let copy_all = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
        assert!(copied.success());
    };
    let messages = messages(1);
    publish(&connect(&nats.url()).await, &messages[..20]).await;
    wait_until_judged(&process, 500);
    nats.stop().unwrap();
    copy_all(nats.store_dir(), copy.path());
    nats.restart().unwrap();
    publish(&connect(&nats.url()).await, &messages[20..30]).await;
    wait_until_judged(&process, 750);
    // Restored from the copy, with other messages under the same numbers.
    nats.stop().unwrap();
    std::fs::remove_dir_all(nats.store_dir()).unwrap();
    std::fs::create_dir(nats.store_dir()).unwrap();
    copy_all(copy.path(), nats.store_dir());
    nats.restart().unwrap();
    process.wait_until_ready();
    wait_until(PATIENCE, "it goes back", || process.log().contains("came back with less")).unwrap();
    let jetstream = connect(&nats.url()).await;
    publish(&jetstream, &messages[20..35]).await;
    wait_until_judged(&process, 750 + 15 * 25);
    drop(process);
    // Whatever was saved before it died, the rest is judged.
    publish(&jetstream, &messages[35..]).await;
    let process = detector(folder.path(), &nats, &[]);
    wait_until_judged(&process, ROWS - 35 * 25);
    assert_eq!(process.metric(r#"spindle_detector_missed_messages_total{stream="METRICS"}"#), 0.0, "{}", process.log());
    assert!(settled(&jetstream).await.iter().any(|event| event.starts_with("MetricAnomaly disk-0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_state_that_cannot_be_saved_is_saved_later() {
    let (nats, folder) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let in_the_way = folder.path().join("data/detector.state.new");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let process = detector(folder.path(), &nats, &[]);
    let said = process.wait_for_readiness("it says so", |state| state.contains("cannot save its state"));
    assert!(said.starts_with("503"), "{said}");
    std::fs::remove_dir(&in_the_way).unwrap();
    // Nothing has come meanwhile.
    process.wait_until_ready();
    assert!(folder.path().join("data/detector.state").exists());
}
