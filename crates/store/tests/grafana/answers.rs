//! A real InfluxDB, filled by the real store with a simulated hour, returns data for every query.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use spindle_core::metric::METRICS;
use spindle_core::pipeline::PipelinePoint;
use spindle_core::schema::PIPELINE;
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use spindle_simulate::{Fleet, FleetConfig};
use spindle_store::{InfluxSettings, Store};
use spindle_testkit::InfluxServer;
use uuid::Uuid;

use crate::check::Boards;
use crate::firing::firing;
use crate::json::rules;
use crate::query::{Variables, fill_in};

const DATABASE: &str = "fleet";
const EMPTY: &str = "empty";
/// Device with every metric type at its critical limit, labels, and events. Its name is hard on a regex.
const PLANTED: &str = "Disk.Unit (7)/a+b";
/// Device that stopped reporting half an hour ago.
const SILENT: &str = "DiskUnit-silent";
/// Writers with their lag and their rate per second: metrics, then events.
const WRITERS: [(&str, [f64; 2], [f64; 2]); 4] = [
    ("metrics-stuck", [100.0, 0.0], [0.0, 0.0]),
    ("events-stuck", [100.0, 1.0], [50.0, 0.0]),
    ("behind-but-working", [100.0, 1.0], [50.0, 1.0]),
    ("idle", [0.0, 0.0], [0.0, 0.0]),
];

#[tokio::test]
async fn every_query_is_answered_with_data() {
    let server = InfluxServer::start().unwrap();
    let now = now();
    fill(&server, now).await;
    let variables = Variables {
        from_ns: now.minus(Duration::from_secs(3600)).as_ns(),
        to_ns: now.as_ns() + 60_000_000_000,
        interval: "10s",
        source_device: PLANTED.to_owned(),
        min_criticality: 8,
    };
    let mut errors = Vec::new();
    let queries = Boards::read().queries();
    assert!(queries.len() > 50, "only {} queries were found", queries.len());
    for query in queries {
        let filled = fill_in(&query.text, &variables).unwrap();
        match server.query(DATABASE, &filled) {
            Err(error) => errors.push(format!("{}: {error:#}", query.name)),
            Ok(answer) if !has_values(&answer) => errors.push(format!("{}: nothing for {filled}", query.name)),
            Ok(_) => {}
        }
    }
    assert!(errors.is_empty(), "{} errors:\n  {}", errors.len(), errors.join("\n  "));
    rules_fire_for_what_they_are_for(&server);
    rules_say_what_no_data_means(&server).await;
}

/// Each rule fires for its own condition, and for nothing else.
fn rules_fire_for_what_they_are_for(server: &InfluxServer) {
    let alerts = Boards::read().alerts;
    let rule = |uid: &str| rules(&alerts).into_iter().find(|rule| rule["uid"] == uid).unwrap();
    let fires = |uid: &str| firing(rule(uid), server, DATABASE).unwrap_or_else(|| panic!("{uid}: no data"));

    let critical = fires("spindle-critical-events");
    assert!(critical.contains(&format!("event_type=DriveFailure source_device={PLANTED}")), "{critical:?}");
    assert!(!critical.iter().any(|series| series.contains("Notice")), "{critical:?}");
    // Devices of a simulated shelf that is offline are silent as well.
    let silent = fires("spindle-silent-devices");
    assert!(silent.contains(&format!("source_device={SILENT}")), "{silent:?}");
    assert!(!silent.contains(&format!("source_device={PLANTED}")), "{silent:?}");
    assert_eq!(fires("spindle-writer-stalled"), ["instance=events-stuck", "instance=metrics-stuck"]);
    assert_eq!(fires("spindle-writer-away"), Vec::<String>::new());
}

/// A new store: no device is silent, no event has happened, but a writer is missing.
async fn rules_say_what_no_data_means(server: &InfluxServer) {
    Store::open_influx(settings(server, EMPTY)).unwrap().check().await.unwrap();
    let alerts = Boards::read().alerts;
    for rule in rules(&alerts) {
        assert_eq!(firing(rule, server, EMPTY), None, "{}", rule["title"]);
        let expected = if rule["uid"] == "spindle-writer-away" { "Alerting" } else { "OK" };
        assert_eq!(rule["noDataState"], expected, "{}", rule["title"]);
    }
}

/// Returns whether a response holds at least one value that is neither a time nor null.
fn has_values(answer: &Value) -> bool {
    let series = answer["results"][0]["series"].as_array();
    let rows = series.into_iter().flatten().flat_map(|one| one["values"].as_array().into_iter().flatten());
    rows.into_iter().any(|row| row.as_array().is_some_and(|row| row.iter().skip(1).any(|value| !value.is_null())))
}

#[allow(clippy::disallowed_methods, reason = "alert rules ask for the last minutes of the real time")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_ns(i64::try_from(since.as_nanos()).unwrap())
}

fn settings(server: &InfluxServer, database: &str) -> InfluxSettings {
    InfluxSettings { host: server.url(), database: database.to_owned(), ..InfluxSettings::default() }
}

async fn fill(server: &InfluxServer, now: Timestamp) {
    let store = Store::open_influx(settings(server, DATABASE)).unwrap();
    let begin = now.minus(Duration::from_secs(3600));
    let mut fleet = Fleet::new(FleetConfig::new(5, 7, begin));
    for seconds in (30..=3600).step_by(30) {
        let at = begin.plus(Duration::from_secs(seconds));
        let mut batch = fleet.tick(at);
        batch.metrics.extend(planted(PLANTED, at));
        if seconds < 1800 {
            batch.metrics.extend(planted(SILENT, at));
        }
        if seconds.is_multiple_of(600) {
            let id = u128::from(seconds);
            batch.events.push(event(id, at, "DriveFailure", 9));
            batch.events.push(event(id + 1, at, "Notice", 7));
        }
        write(&store, batch, at).await;
    }
    for seconds in (0..180).step_by(10) {
        for (instance, waiting, stored) in WRITERS {
            let at = now.minus(Duration::from_secs(seconds));
            let point = PipelinePoint { at, values: self_metrics(waiting, stored) };
            store.write_self_metrics(instance, &[point]).await.unwrap();
        }
    }
    store.close().await.unwrap();
}

async fn write(store: &Store, batch: Batch, received: Timestamp) {
    let written = store.write(Arc::new(batch), received).await.unwrap();
    assert!(written.refused.is_empty(), "{:?}", written.refused);
}

/// Returns a value of every metric type, at its critical limit if it has one.
fn planted(device: &str, at: Timestamp) -> Vec<DeviceMetric> {
    let metric = |kind: &spindle_core::metric::MetricKind| DeviceMetric {
        timestamp: at,
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new(kind.name).unwrap(),
        value: kind.limits.map_or(1.0, |limits| limits.critical),
        seq: Some(1),
        labels: Some(Box::new([("model".to_owned(), "ST4000".to_owned())].into_iter().collect())),
    };
    METRICS.iter().map(metric).collect()
}

fn event(id: u128, at: Timestamp, event_type: &str, criticality: u64) -> Event {
    Event {
        id: Uuid::from_u128(id).into(),
        criticality: Criticality::new(criticality).unwrap(),
        timestamp: at,
        source_device: DeviceName::new(PLANTED).unwrap(),
        event_type: EventType::new(event_type).unwrap(),
        event_message: Some("does not answer".to_owned()),
        seq: None,
        labels: None,
    }
}

/// Returns a value for every self metric.
fn self_metrics(waiting: [f64; 2], stored: [f64; 2]) -> Vec<(&'static str, f64)> {
    let value = |name: &str| match name {
        "metrics_lag" => waiting[0],
        "events_lag" => waiting[1],
        "values_per_second" => stored[0],
        "events_per_second" => stored[1],
        _ => 1.0,
    };
    PIPELINE.fields.iter().map(|field| (field.name, value(field.name))).collect()
}
