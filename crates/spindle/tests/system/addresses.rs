//! A store with several addresses, and an openGemini behind one: roles as processes.

use std::path::Path;
use std::time::Duration;

use spindle_testkit::{
    FacadeOptions, Fault, Generation, InfluxFacade, InfluxServer, NatsServer, free_port, wait_until,
};

use crate::apart::{RoleProcess, connect, publish_event, publish_values};
use crate::harness::{PATIENCE, spindle};
use crate::influxdb::{start, wait_for_counts};

/// The last of the variables with one name counts.
fn start_on(folder: &Path, role: &str, nats: &NatsServer, influx: &InfluxServer, host: &str) -> RoleProcess {
    start(folder, role, nats, influx, &[("INFLUXDB_HOST", host)])
}

/// One of two addresses is nowhere: the writer is ready and stores, and log and metrics name the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_away_is_shown_and_stops_nothing() {
    let (nats, mut influx) = (NatsServer::start().unwrap(), InfluxServer::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let away = format!("http://127.0.0.1:{}", free_port().unwrap());
    let host = format!("{}, {}", away.replace("://", "://me:sesame@"), influx.url());
    let writer = start_on(folder.path(), "writer", &nats, &influx, &host);
    let reader = start_on(folder.path(), "reader", &nats, &influx, &host);
    publish_values(&connect(&nats.url()).await, 0, 1_000, 10).await;
    wait_for_counts(&influx, 1_000, 0);
    writer.wait_until_ready();
    reader.wait_until_ready();
    let up = |address: &str, up: u8| format!("spindle_store_address_up{{address=\"{address}\"}} {up}");
    let expected = [up(&away, 0), up(&influx.url(), 1)];
    for role in [&writer, &reader] {
        let metrics = role.get("/metrics");
        assert!(expected.iter().all(|line| metrics.contains(line)), "{metrics}");
    }
    let n_lines = |words: &str| writer.log().lines().filter(|line| line.contains(words)).count();
    assert_eq!(n_lines("store address unavailable, passed over"), 1, "{}", writer.log());
    assert!(!writer.log().contains("sesame"), "{}", writer.log());

    influx.kill();
    let words = writer.wait_for_readiness("none serves", |words| words.starts_with("503"));
    let words = if words.contains(&away) {
        words
    } else {
        writer.wait_for_readiness("it names both", |words| words.contains(&away))
    };
    assert!(words.contains(&influx.url()), "{words}");
    influx.restart().unwrap();
    writer.wait_until_ready();
    wait_until(PATIENCE, "it is available again", || n_lines("store address available again") == 1).unwrap();
}

/// Everything is stored once in a store whose reads lag, and an audit in the midst of it finds no gap.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_gemini_stores_everything_once() {
    let nats = NatsServer::start().unwrap();
    let facade = InfluxFacade::start(Generation::OpenGemini, FacadeOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (nats_url, host) = (nats.url(), facade.url());
    let variables = [
        ("NATS_URL", nats_url.as_str()),
        ("INFLUXDB_HOST", host.as_str()),
        ("INFLUXDB_VERSION", "opengemini"),
        ("INFLUXDB_REPLICATION", "3"),
    ];
    let writer = RoleProcess::start(folder.path(), "writer", &variables);
    let _reader = RoleProcess::start(folder.path(), "reader", &variables);
    facade.fault(Fault::reset("/write").after());
    facade.fault(
        Fault::answer("/write", 500, r#"{"error":"no connections available, node: 4"}"#).if_body_holds("events,"),
    );
    let jetstream = connect(&nats.url()).await;
    publish_values(&jetstream, 0, 1_000, 10).await;
    for id in 0..10 {
        publish_event(&jetstream, id).await;
    }
    wait_until(Duration::from_secs(60), "everything is stored", || {
        facade.show_all().unwrap();
        crate::apart::influx_count(facade.server(), "device_metrics", "value") == 1_000
            && crate::apart::influx_count(facade.server(), "events", "criticality") == 10
    })
    .unwrap();
    writer.wait_until_ready();
    assert_eq!(facade.n_copies("spindle"), Some(3));
    assert!(writer.log().contains("openGemini at http://"), "{}", writer.log());
    let mut query = spindle(&folder.path().join("data"));
    let query = query.args(["query", "devices", "--format", "json"]).env("NATS_URL", &nats_url);
    let output = query.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
