//! History of the pipeline: what writers report of themselves, in the store and in the answers of other processes.

use std::time::Duration;

use serde_json::{Value, json};
use spindle_testkit::{NatsServer, wait_until};

use crate::apart::{RoleProcess, connect, publish_values};
use crate::harness::PATIENCE;

/// Writers report every 10 s.
const REPORT: Duration = Duration::from_secs(10);

async fn ask(client: &async_nats::Client, query: &Value) -> Value {
    let request = client.request("reader.query", query.to_string().into());
    match request.await {
        Ok(answer) => serde_json::from_slice(&answer.payload).unwrap(),
        Err(_) => Value::Null,
    }
}

fn sum(answer: &Value, field: &str) -> f64 {
    answer["data"].as_array().map_or(0.0, |data| data.iter().filter_map(|bucket| bucket[field].as_f64()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_elsewhere_tells_what_was_stored_and_when_no_writer_was_there() {
    let nats = NatsServer::start().unwrap();
    let (folder, url) = (tempfile::tempdir().unwrap(), nats.url());
    let variables = [("NATS_URL", url.as_str())];
    let start = || RoleProcess::start(folder.path(), "writer", &variables);
    let writer = start();
    writer.wait_until_ready();
    let reader = RoleProcess::start(folder.path(), "reader", &variables);
    reader.wait_until_ready();
    let jetstream = connect(&url).await;
    let client = async_nats::connect(&url).await.unwrap();
    let question = json!({ "query_type": "pipeline", "params": { "since_minutes": 10, "bucket_seconds": 1 } });
    let wait_for_stored = async |wanted: f64| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = ask(&client, &question).await;
            // Each report holds the rate of about 10 s, more on a busy machine.
            let stored = sum(&answer, "values_per_second") * REPORT.as_secs_f64();
            if stored > wanted * 0.7 {
                assert!(stored < wanted * 1.3, "{stored} of {wanted}: {answer:#}");
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "{stored} of {wanted}: {answer:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    publish_values(&jetstream, 0, 5_000, 500).await;
    let first = wait_for_stored(5_000.0).await;
    assert!(sum(&first, "ready") >= 1.0 && sum(&first, "store_latency_p99_seconds") > 0.0, "{first:#}");

    drop(writer);
    tokio::time::sleep(REPORT * 2).await;
    publish_values(&jetstream, 5_000, 5_000, 500).await;
    let writer = start();
    let second = wait_for_stored(10_000.0).await;
    let times = second["data"].as_array().unwrap().iter().map(|bucket| bucket["time"].as_str().unwrap());
    let times: Vec<_> = times.map(|time| spindle_core::Timestamp::parse(time).unwrap()).collect();
    let gap = times.windows(2).map(|pair| pair[1].seconds_since(pair[0])).fold(0.0, f64::max);
    assert!(gap >= 20.0, "{times:?}");
    drop(writer);

    // It is no data of a device.
    let devices = ask(&client, &json!({ "query_type": "devices", "params": { "limit": 1000 } })).await;
    assert_eq!(devices["data"].as_array().unwrap().len(), 100, "{devices:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_while_the_store_was_away_is_told_afterwards() {
    let mut influx = spindle_testkit::InfluxServer::start().unwrap();
    let nats = NatsServer::start().unwrap();
    let (folder, url, host) = (tempfile::tempdir().unwrap(), nats.url(), influx.url());
    let variables = [("NATS_URL", url.as_str()), ("INFLUXDB_HOST", &host), ("INFLUXDB_VERSION", "1")];
    let writer = RoleProcess::start(folder.path(), "writer", &variables);
    writer.wait_until_ready();
    influx.kill();
    let jetstream = connect(&url).await;
    publish_values(&jetstream, 0, 2_000, 10).await;
    tokio::time::sleep(REPORT * 2).await;
    influx.restart().unwrap();
    let reader = RoleProcess::start(folder.path(), "reader", &variables);
    reader.wait_until_ready();
    let client = async_nats::connect(&url).await.unwrap();
    let question = json!({ "query_type": "pipeline", "params": { "since_minutes": 10, "bucket_seconds": 1 } });
    let mut answer = Value::Null;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let has_waited = |answer: &Value| {
        answer["data"].as_array().is_some_and(|data| {
            data.iter().any(|bucket| bucket["metrics_lag"].as_f64() > Some(100.0) && bucket["ready"] == json!(0.0))
        })
    };
    while !has_waited(&answer) {
        assert!(tokio::time::Instant::now() < deadline, "{answer:#}\n{}", writer.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
        answer = ask(&client, &question).await;
    }
    wait_until(PATIENCE, "it is ready again", || writer.readiness() == "200 ready").unwrap();
}
