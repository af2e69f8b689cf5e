//! A real InfluxDB, filled by the real store with a simulated hour, answers every query with data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use spindle_core::metric::METRICS;
use spindle_core::schema::PIPELINE;
use spindle_core::simulate::{Fleet, FleetConfig};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use spindle_store::{InfluxSettings, Store};
use spindle_testkit::InfluxServer;
use uuid::Uuid;

use crate::check::Boards;
use crate::query::{Variables, fill_in};

const DATABASE: &str = "fleet";
/// Has every metric type at its critical limit, labels, and a critical event. Its name is hard on a regex.
const PLANTED: &str = "Disk.Unit (7)/a+b";
/// Has stopped reporting half an hour ago.
const SILENT: &str = "DiskUnit-silent";

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
    let mut faults = Vec::new();
    let queries = Boards::read().queries();
    assert!(queries.len() > 50, "only {} queries were found", queries.len());
    for query in queries {
        let filled = fill_in(&query.text, &variables).unwrap();
        match server.query(DATABASE, &filled) {
            Err(fault) => faults.push(format!("{}: {fault:#}", query.name)),
            Ok(answer) if !has_values(&answer) => faults.push(format!("{}: nothing for {filled}", query.name)),
            Ok(_) => {}
        }
    }
    assert!(faults.is_empty(), "{} faults:\n  {}", faults.len(), faults.join("\n  "));
    the_rules_tell_the_silent_from_the_others(&server);
}

/// The last value of each device is what the rule's threshold sees: below 0.01 is an alert.
fn the_rules_tell_the_silent_from_the_others(server: &InfluxServer) {
    let queries = Boards::read().queries();
    let rule = queries.iter().find(|query| query.name == "rule Silent device: A").unwrap();
    let answer = server.query(DATABASE, &rule.text).unwrap();
    let mut last: BTreeMap<&str, f64> = BTreeMap::new();
    for series in answer["results"][0]["series"].as_array().unwrap() {
        let newest = series["values"].as_array().unwrap().iter().rev().find_map(|row| row[1].as_f64());
        last.insert(series["tags"]["source_device"].as_str().unwrap(), newest.unwrap());
    }
    assert!(last[SILENT] < 0.01, "{last:?}");
    assert!(last[PLANTED] > 0.01, "{last:?}");
    let writer = |letter: char| {
        let rule = queries.iter().find(|query| query.name == format!("rule Writer stalled: {letter}")).unwrap();
        let answer = server.query(DATABASE, &rule.text).unwrap();
        answer["results"][0]["series"][0]["values"][0][1].as_f64().unwrap()
    };
    assert!(writer('A') > 0.0 && writer('B') == 0.0, "the planted writer is stalled in one lane");
    assert!(writer('C') == 0.0 && writer('D') > 0.0, "and works in the other");
}

/// At least one value that is neither a time nor null.
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

async fn fill(server: &InfluxServer, now: Timestamp) {
    let settings = InfluxSettings { host: server.url(), database: DATABASE.to_owned(), ..InfluxSettings::default() };
    let store = Store::open_influx(settings).unwrap();
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
            batch.events.push(critical_event(u128::from(seconds), at));
        }
        write(&store, batch, at).await;
    }
    // Metrics pile up and are not stored; events flow.
    for (round, seconds) in (0..18_u32).rev().map(|tens| 10 * u64::from(tens)).enumerate() {
        let figures: Vec<(&'static str, f64)> = PIPELINE
            .fields
            .iter()
            .map(|field| match field.name {
                "values_per_second" | "events_lag" => (field.name, 0.0),
                "metrics_lag" => (field.name, 100.0 * round as f64),
                name => (name, 1.0),
            })
            .collect();
        let at = now.minus(Duration::from_secs(seconds));
        store.write_figures("writer-1", at, &figures).await.unwrap();
    }
    store.close().await.unwrap();
}

async fn write(store: &Store, batch: Batch, received: Timestamp) {
    let written = store.write(Arc::new(batch), received).await.unwrap();
    assert!(written.refused.is_empty(), "{:?}", written.refused);
}

/// Every metric type there is, at its critical limit if it has one.
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

fn critical_event(id: u128, at: Timestamp) -> Event {
    Event {
        id: Uuid::from_u128(id),
        criticality: Criticality::new(9).unwrap(),
        timestamp: at,
        source_device: DeviceName::new(PLANTED).unwrap(),
        event_type: EventType::new("DriveFailure").unwrap(),
        event_message: Some("does not answer".to_owned()),
        seq: None,
        labels: None,
    }
}
