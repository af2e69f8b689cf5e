//! Responses to queries that no InfluxDB sends. No result is built from them: an empty list would mean "no devices".

use std::time::Duration;

use spindle_core::Timestamp;
use spindle_core::records::{EventFilter, TimeBasis};
use spindle_testkit::{Fault, Generation, InfluxFacade};

use crate::*;

const ALL: [Generation; 3] = [Generation::V2, Generation::V3, Generation::OpenGemini];
const LOGIN: &str = "<html><head><title>Sign in</title></head><body>Please sign in</body></html>";
const SHAPE: &str = "JSON of another shape";

/// Responses of others, and a part of the message about each.
fn foreign() -> Vec<(Fault, &'static str)> {
    let answer = |status, body| Fault::answer("/query", status, body);
    let cut_chunk =
        r#"{"results":[{"statement_id":0,"series":[{"name":"devices","columns":["time","a"],"values":[[1,2"#;
    let more_follows = r#"{"results":[{"statement_id":0,"series":[{"name":"x","columns":["time","a"],"values":[[1,2]],"partial":true}],"partial":true}]}"#;
    vec![
        (answer(200, LOGIN), "'Sign in Please sign in'"),
        (answer(200, LOGIN).header("Content-Type", "text/html"), "200 text/html 'Sign in Please sign in'"),
        (answer(200, "It works!"), "'It works!'"),
        (answer(200, ""), "empty response"),
        (answer(200, " \r\n"), "empty response"),
        (answer(200, "{}"), SHAPE),
        (answer(200, r#"{"status":"ok","data":[]}"#), SHAPE),
        (answer(200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#), SHAPE),
        (answer(200, r#"{"results":[]}"#), SHAPE),
        (answer(200, r#"{"results":[{}]}"#), SHAPE),
        (answer(200, r#"{"results":"none"}"#), SHAPE),
        (answer(200, "[]"), "'[]'"),
        (answer(200, "null"), "'null'"),
        (answer(200, "{\"results\":[{\"statement_id\":0}]} trailing"), "not JSON"),
        (answer(200, cut_chunk), "broke off"),
        (answer(200, more_follows), "max-row-limit = 0"),
        (answer(204, ""), "204"),
        (answer(302, "").header("Location", "https://sso.example/login"), "302 https://sso.example/login"),
        (answer(301, LOGIN).header("Location", "/login"), "301 /login 'Sign in"),
        (answer(403, LOGIN), "403 'Sign in Please sign in'"),
        (answer(404, LOGIN), "404 'Sign in"),
        (answer(418, "<p>teapot</p>"), "418 'teapot'"),
        (
            answer(502, "<html><h1>502 Bad Gateway</h1></html>").header("Content-Type", "text/html"),
            "502 text/html '502 Bad Gateway'",
        ),
        (answer(503, ""), "503"),
        (Fault::cut("/query"), ""),
        (Fault::reset("/query"), ""),
    ]
}

fn start_without_lag(generation: Generation) -> InfluxFacade {
    let options = FacadeOptions { read_lag: (Duration::ZERO, Duration::ZERO), ..FacadeOptions::default() };
    start_with(generation, options)
}

async fn open_with_data(facade: &InfluxFacade) -> Store {
    let settings = InfluxSettings { read_lag: Some(Duration::ZERO), ..settings(facade) };
    let store = Store::open_influx(settings).unwrap();
    write(&store, metrics(&["a", "b"]), vec![event(1), event(2)]).await.unwrap();
    store
}

/// Runs every query; returns its name and its error.
async fn errors(store: &Store) -> Vec<(&'static str, Option<StoreError>)> {
    let (device, kind) = (DeviceName::new("a").unwrap(), MetricType::new("IOPs").unwrap());
    let devices = std::slice::from_ref(&device);
    let day = window(NOON - 3_600_000_000_000, NOON + 1);
    let filter = |basis| EventFilter {
        window: day,
        basis,
        source_device: None,
        event_type: None,
        min_criticality: Criticality::new(1).unwrap(),
        limit: 10,
        offset: 0,
    };
    vec![
        ("devices", store.devices(None, 10).await.err()),
        ("device", store.device(&device).await.err()),
        ("last arrivals", store.last_arrivals(devices, day).await.err()),
        ("latest", store.latest_many(devices, day).await.err()),
        ("range", store.range(&device, &kind, day, 10).await.err()),
        ("first and last", store.first_and_last(&device, &kind, day).await.err()),
        ("buckets", store.buckets(&device, &kind, day, Duration::from_secs(60)).await.err()),
        ("events that happened", store.events(filter(TimeBasis::Happened)).await.err()),
        ("events that arrived", store.events(filter(TimeBasis::Received)).await.err()),
        ("events by either", store.events(filter(TimeBasis::Either)).await.err()),
        ("counts", store.count_events_by_device(filter(TimeBasis::Either)).await.err()),
        ("tally", store.tally(devices, day).await.err()),
        ("ping", store.ping().await.err()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_answered_from_them() {
    for generation in ALL {
        let facade = start_without_lag(generation);
        let store = open_with_data(&facade).await;
        for (fault, part) in foreign() {
            facade.fault(fault.clone().times(usize::MAX));
            for (name, error) in errors(&store).await {
                let Some(error) = error else { panic!("{generation:?} {name} was answered from {fault:?}") };
                expect_message(&error, &[part]);
            }
            facade.clear_faults();
        }
        assert!(errors(&store).await.iter().all(|(_, error)| error.is_none()));
        assert_eq!(store.devices(None, 10).await.unwrap().len(), 3);
    }
}

/// Each single query of several may be the one that is answered by somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_result_is_built_from_them() {
    for generation in ALL {
        let facade = start_without_lag(generation);
        let store = open_with_data(&facade).await;
        for (fault, part) in
            [(Fault::answer("/query", 200, "{}"), SHAPE), (Fault::answer("/query", 200, LOGIN), "Sign in")]
        {
            for measurement in ["FROM+devices+", "device_labels", "device_metrics", "FROM+events+", "event_arrivals"] {
                facade.fault(fault.clone().if_body_holds(measurement).times(usize::MAX));
                let failed: Vec<_> = errors(&store).await.into_iter().filter_map(|(_, error)| error).collect();
                assert!(!failed.is_empty(), "{generation:?} {measurement}");
                failed.iter().for_each(|error| expect_message(error, &[part]));
                facade.clear_faults();
            }
        }
    }
}

/// Nor does the writer conclude from them that a place is free.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_written_over_another_because_of_them() {
    for generation in ALL {
        let facade = start_without_lag(generation);
        let store = open_with_data(&facade).await;
        for (fault, part) in foreign().into_iter().filter(|(_, part)| !part.is_empty()) {
            facade.fault(fault.times(usize::MAX));
            let other = Event { id: Uuid::from_u128(9).into(), ..event(1) };
            let batch = Arc::new(Batch { metrics: Vec::new(), events: vec![other] });
            let error = store.write(batch, Timestamp::from_ns(NOON)).await.unwrap_err();
            expect_message(&error, &[part]);
            facade.clear_faults();
        }
        assert_eq!(counts(&facade, &store).await, (2, 2));
    }
}
