//! Transient failures: the same batch is retried, and everything is stored once.

use std::time::Duration;

use spindle_testkit::{Fault, Generation};

use crate::*;

fn passing(path: &str) -> Vec<Fault> {
    let timeout = r#"{"code":"internal error","message":"unexpected error writing points to database: timeout"}"#;
    let wal = r#"{"code":"invalid","message":"write buffer error: error from wal: wal buffer full with 100000 ops"}"#;
    let mut faults = Vec::new();
    for fault in [
        Fault::answer(path, 500, timeout),
        Fault::answer(path, 400, wal),
        Fault::answer(path, 502, "<html>bad gateway</html>"),
        Fault::answer(path, 504, ""),
        Fault::answer(path, 408, ""),
        Fault::reset(path),
    ] {
        faults.extend([fault.clone(), fault.after()]);
    }
    faults
}

#[tokio::test]
async fn what_was_in_doubt_is_stored_once() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        for (round, fault) in passing(write_path(generation)).into_iter().enumerate() {
            let time = NOON + round as i64;
            let batch = || {
                (
                    vec![metric("a", time), metric("b", time)],
                    vec![event(2 * round as u128), event(2 * round as u128 + 1)],
                )
            };
            // First for the values, then for the events, which are sent later.
            facade.fault(fault.clone());
            let (values, events) = batch();
            let error = write(&store, values, events).await.unwrap_err();
            assert!(error.is_transient(), "{fault:?}: {error}");
            facade.fault(fault.clone().if_body_holds("events,"));
            let (values, events) = batch();
            let error = write(&store, values, events).await.unwrap_err();
            assert!(error.is_transient(), "{fault:?}: {error}");
            let (values, events) = batch();
            let written = write(&store, values, events).await.unwrap();
            assert_eq!(written.refused, [], "{fault:?}");
            let n_stored = 2 * (round as u64 + 1);
            assert_eq!(counts(&facade, &store).await, (n_stored, n_stored), "{generation:?} {fault:?}");
        }
    }
}

/// Both find the same position free and write there. The overwritten writer notices it and writes again elsewhere.
#[tokio::test]
async fn an_event_that_another_writer_has_written_over_is_written_again() {
    for generation in BOTH {
        let facade = start(generation);
        let (early, late) = (open(&facade), open(&facade));
        early.check().await.unwrap();
        late.check().await.unwrap();
        // The halves of an id cancel out in the position: these two have the same.
        let [one, other] = [1, 2].map(|half: u64| event(Uuid::from_u64_pair(half, half).as_u128()));
        let write_of = |event: &Event, by_ms: u64| {
            Fault::delay(write_path(generation), Duration::from_millis(by_ms))
                .if_body_holds(&format!(" event_id=\"{}\"", event.id))
        };
        // The first is stored at once, but its response is delayed until the other has arrived as well.
        facade.fault(write_of(&one, 800).after());
        facade.fault(write_of(&other, 400));
        let (first, second) = tokio::join!(write(&early, Vec::new(), vec![one]), write(&late, Vec::new(), vec![other]));
        assert_eq!((first.unwrap().n_events, second.unwrap().n_events), (1, 1));
        assert_eq!(counts(&facade, &early).await, (0, 2), "{generation:?}");
    }
}

/// InfluxDB 1 with a full disk responds with 500 and yet returns the points that it did not persist, until a restart.
#[tokio::test]
async fn what_can_be_read_but_was_never_confirmed_is_written_again() {
    for generation in BOTH {
        let (facade, path) = (start(generation), write_path(generation));
        let store = open(&facade);
        store.check().await.unwrap();
        facade.fault(Fault::answer(path, 500, "no space left on device").after().if_body_holds("events,"));
        write(&store, vec![], vec![event(1)]).await.unwrap_err();
        let stored = facade.server().query(DATABASE, "SELECT count(criticality) FROM events").unwrap();
        assert_eq!(stored["results"][0]["series"][0]["values"][0][1], 1, "it can be read");
        let sent = || writes_of(&facade, path, "events").into_iter().map(|request| request.text()).collect::<Vec<_>>();
        let first = sent();
        write(&store, vec![], vec![event(1)]).await.unwrap();
        assert_eq!(sent().len(), first.len() + 1, "{generation:?}: nothing confirmed it");
        assert_eq!(sent().last(), first.last(), "and it is written as it was");
        assert_eq!(counts(&facade, &store).await, (0, 1));
    }
}

#[tokio::test]
async fn a_server_that_says_when_is_asked_then() {
    for generation in BOTH {
        let path = write_path(generation);
        let facade = start(generation);
        let store = open(&facade);
        store.check().await.unwrap();
        for (status, header, expected) in
            [(429, Some("7"), Some(7)), (503, Some("120"), Some(120)), (503, None, None), (429, Some("soon"), None)]
        {
            let mut fault = Fault::answer(path, status, "busy");
            if let Some(value) = header {
                fault = fault.header("Retry-After", value);
            }
            facade.fault(fault);
            let error = write(&store, metrics(&["a"]), vec![]).await.unwrap_err();
            let StoreError::Unavailable { retry_after, .. } = &error else { panic!("{error}") };
            assert_eq!(*retry_after, expected.map(Duration::from_secs), "{status} {header:?}");
            expect_message(&error, &[&status.to_string(), "busy"]);
        }
        facade.fault(Fault::answer("/query", 503, "busy").header("Retry-After", "9"));
        let error = store.devices(None, 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { retry_after: Some(Duration { .. }), .. }), "{error:?}");
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        assert_eq!(counts(&facade, &store).await, (1, 0));
    }
}

fn many(n_lines: usize) -> Vec<DeviceMetric> {
    (0..n_lines).map(|number| metric("disk", NOON + number as i64)).collect()
}

/// A batch of many requests: after the first failure no further one is sent, and the next attempt sends fewer at once.
#[tokio::test]
async fn a_server_that_is_away_is_not_asked_for_each_part_of_a_batch() {
    let facade = start(Generation::V3);
    let path = write_path(Generation::V3);
    let store = open(&facade);
    store.check().await.unwrap();
    facade.fault(Fault::answer(path, 503, "busy").times(usize::MAX));
    let mut n_sent = 0;
    for at_most in [4, 2, 1, 1] {
        assert!(write(&store, many(60_000), vec![]).await.unwrap_err().is_transient());
        let n_requests = facade.record_of(path).len() - n_sent;
        assert!((1..=at_most).contains(&n_requests), "{n_requests} requests instead of {at_most}");
        n_sent += n_requests;
    }
    facade.clear_faults();
    write(&store, many(60_000), vec![]).await.unwrap();
    assert_eq!(counts(&facade, &store).await, (60_000, 0));
}

/// Values use all of their permits; events have a separate limit.
#[tokio::test]
async fn an_event_does_not_wait_for_values_that_the_server_is_slow_with() {
    let facade = start(Generation::V3);
    let path = write_path(Generation::V3);
    let store = open(&facade);
    store.check().await.unwrap();
    let slow = Fault::delay(path, Duration::from_secs(1)).if_body_holds("device_metrics,").times(usize::MAX);
    facade.fault(slow);
    let values = write(&store, many(60_000), vec![]);
    let event = async {
        while facade.record_of(path).len() < 4 {
            tokio::task::yield_now().await;
        }
        write(&store, vec![], vec![event(1)]).await
    };
    tokio::select! {
        biased;
        stored = event => assert_eq!(stored.unwrap().n_events, 1),
        stored = values => panic!("the values were stored first: {stored:?}"),
    }
}

/// A response that breaks off is an error, also if whole documents of it (10,000 rows each) have arrived.
#[tokio::test]
async fn half_an_answer_is_none() {
    for generation in BOTH {
        let facade = start(generation);
        let store = open(&facade);
        let many = (0..25_000).map(|number| metric("disk", NOON + number)).collect();
        write(&store, many, vec![]).await.unwrap();
        let (device, kind) = (DeviceName::new("disk").unwrap(), MetricType::new("IOPs").unwrap());
        let all = window(NOON, NOON + 25_000);
        for fault in [Fault::cut("/query"), Fault::reset("/query"), Fault::reset("/query").after()] {
            facade.fault(fault.clone());
            let error = store.range(&device, &kind, all, usize::MAX).await.unwrap_err();
            assert!(error.is_transient(), "{fault:?} {error:?}");
        }
        assert_eq!(store.range(&device, &kind, all, usize::MAX).await.unwrap().len(), 25_000);
    }
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let facade = start(Generation::V3);
    let store = open(&facade);
    store.check().await.unwrap();
    facade.fault(Fault::delay("/api/v3/write_lp", Duration::from_millis(1_500)));
    write(&store, metrics(&["a"]), vec![]).await.unwrap();
    assert_eq!(counts(&facade, &store).await, (1, 0));
    assert_eq!(writes_of(&facade, "/api/v3/write_lp", "device_metrics").len(), 1);
}

/// Headers and parameters of every write request.
#[tokio::test]
async fn writes_say_unit_place_and_packing() {
    for generation in BOTH {
        let facade = start(generation);
        write(&open(&facade), metrics(&["a"]), vec![]).await.unwrap();
        let request = writes_of(&facade, write_path(generation), "device_metrics").pop().unwrap();
        let (unit, place) = match generation {
            Generation::V2 => ("ns", "bucket"),
            Generation::V3 => ("nanosecond", "db"),
            Generation::OpenGemini => ("ns", "db"),
        };
        assert_eq!((request.parameter("precision"), request.parameter(place)), (Some(unit), Some(DATABASE)));
        assert_eq!(request.header("content-encoding"), Some("gzip"));
        assert_eq!(request.text(), format!("device_metrics,source_device=a,metric_type=IOPs value=2.5 {NOON}"));
    }
}
