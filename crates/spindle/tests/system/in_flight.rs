//! Several batches of one lane in flight at once, before an InfluxDB that answers as slowly as version 3.

use std::path::Path;
use std::time::Duration;

use spindle_testkit::{FacadeOptions, Fault, Generation, InfluxFacade, NatsServer, wait_until};

use crate::apart::{RoleProcess, connect, influx_count, lag, publish_values, wait_until_acknowledged};
use crate::harness::PATIENCE;

const WRITE: &str = "/api/v3/write_lp";

fn start_writer(folder: &Path, nats: &NatsServer, facade: &InfluxFacade, more: &[(&str, &str)]) -> RoleProcess {
    let (nats, host) = (nats.url(), facade.url());
    let variables = [("NATS_URL", nats.as_str()), ("INFLUXDB_HOST", &host), ("INFLUXDB_TOKEN", InfluxFacade::TOKEN)];
    RoleProcess::start(folder, "writer", &[&variables, more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn four_batches_are_on_their_way_and_no_more_and_one_tries_while_the_store_is_away() {
    let nats = NatsServer::start().unwrap();
    let facade = InfluxFacade::start(Generation::V3, FacadeOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let writer = start_writer(folder.path(), &nats, &facade, &[("SPINDLE_BATCH_MESSAGES", "10")]);
    writer.wait_until_ready();
    // Long enough for all of them to be sent before the first is answered, however slow the machine.
    facade.fault(Fault::delay(WRITE, Duration::from_secs(3)).if_body_holds("device_metrics,").times(usize::MAX));
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 400, 4).await;
    let n_in_flight = || {
        let requests = facade.record_of(WRITE);
        requests.iter().filter(|request| request.text().contains("device_metrics,")).count()
    };
    wait_until(PATIENCE, "four batches are in flight", || n_in_flight() == 4).unwrap();
    assert_eq!(influx_count(facade.server(), "device_metrics", "value"), 0, "the first is already stored");
    wait_until(PATIENCE, "the first is stored", || {
        let is_stored = influx_count(facade.server(), "device_metrics", "value") > 0;
        assert!(is_stored || n_in_flight() == 4, "more than four at once");
        is_stored
    })
    .unwrap();

    // The server becomes unavailable: batches stay in flight, one tries, nothing more is fetched.
    facade.clear_faults();
    facade.fault(Fault::answer(WRITE, 503, "down").times(usize::MAX));
    writer.wait_for_readiness("the writer is not ready", |words| words.contains("503 down"));
    publish_values(&jetstream, 400, 4_000, 4).await;
    let n_asked = facade.record_of(WRITE).len();
    wait_until(PATIENCE, "five tries", || facade.record_of(WRITE).len() >= n_asked + 5).unwrap();
    // Four, and one that may have been fetched before the breaker opened.
    let (n_pending, n_waiting) = lag(&jetstream, "METRICS").await;
    assert!(n_pending <= 50 && n_waiting >= 950, "{n_pending} in flight, {n_waiting} waiting");
    facade.clear_faults();
    wait_until(PATIENCE, "everything is stored", || influx_count(facade.server(), "device_metrics", "value") == 4_400)
        .unwrap();
    writer.wait_until_ready();
}

/// Each message is a batch; the first is delayed, or refused for now, and the second holds a newer value of the same
/// identity.
#[tokio::test(flavor = "multi_thread")]
async fn the_newer_of_two_values_stays_though_the_older_is_held_up() {
    let nats = NatsServer::start().unwrap();
    let facade = InfluxFacade::start(Generation::V3, FacadeOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let writer = start_writer(folder.path(), &nats, &facade, &[("SPINDLE_BATCH_MESSAGES", "1")]);
    writer.wait_until_ready();
    facade.fault(Fault::delay(WRITE, Duration::from_secs(1)).if_body_holds("metric_type=Held value=1.0"));
    facade.fault(Fault::answer(WRITE, 503, "later").if_body_holds("metric_type=Refused value=1.0"));
    let jetstream = connect(&nats.url()).await;
    for metric_type in ["Held", "Refused"] {
        for value in [1, 2] {
            let message = format!(
                r#"{{"timestamp":"2023-11-14T22:13:20Z","sourceDevice":"d","metricType":"{metric_type}","value":{value}}}"#
            );
            jetstream.publish("events.metrics", message.into()).await.unwrap().await.unwrap();
        }
        wait_until_acknowledged(&jetstream, "METRICS").await;
        let query = format!("SELECT value FROM device_metrics WHERE metric_type = '{metric_type}'");
        let answer = facade.server().query("spindle", &query).unwrap();
        assert_eq!(answer["results"][0]["series"][0]["values"][0][1], 2.0, "{metric_type}");
    }
}
