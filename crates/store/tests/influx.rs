//! A real InfluxDB 1.x: outages, credentials, and single points that it refuses.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use spindle_core::records::Window;
use spindle_core::{Batch, DeviceMetric, DeviceName, MetricType, Timestamp};
use spindle_store::{InfluxSettings, RefusedItem, Store, StoreErrorKind};
use spindle_testkit::{InfluxOptions, InfluxServer};
use uuid::Uuid;

fn settings(server: &InfluxServer) -> InfluxSettings {
    InfluxSettings { host: server.url(), database: "fleet".to_owned(), ..InfluxSettings::default() }
}

fn batch(devices: &[&str]) -> Arc<Batch> {
    let metric = |name: &&str| DeviceMetric {
        timestamp: Timestamp::from_ns(1),
        source_device: DeviceName::new(name).unwrap(),
        metric_type: MetricType::new("IOPs").unwrap(),
        value: 2.5,
        seq: None,
        labels: None,
    };
    Arc::new(Batch { metrics: devices.iter().map(metric).collect(), events: Vec::new() })
}

fn n_values(server: &InfluxServer) -> u64 {
    let response = server.query("fleet", "SELECT count(value) FROM device_metrics").unwrap();
    response["results"][0]["series"][0]["values"][0][1].as_u64().unwrap()
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let mut server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    store.write(batch(&["a"]), Timestamp::from_ns(2)).await.unwrap();
    store.ping().await.unwrap();
    server.kill();
    assert!(store.ping().await.is_err());
    let error = store.write(batch(&["b"]), Timestamp::from_ns(2)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(&server.url()), "{error}");
    server.restart().unwrap();
    store.write(batch(&["b"]), Timestamp::from_ns(2)).await.unwrap();
    assert_eq!(n_values(&server), 2);
}

#[tokio::test]
async fn a_restart_is_told_from_no_restart() {
    let mut server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    let first = store.server_incarnation().await.unwrap();
    assert!(first.is_some());
    assert_eq!(store.server_incarnation().await.unwrap(), first);
    server.kill();
    assert!(store.server_incarnation().await.unwrap_err().is_transient());
    server.restart().unwrap();
    let second = store.server_incarnation().await.unwrap();
    assert!(second.is_some() && second != first, "{second:?}");
}

#[tokio::test]
async fn wrong_credentials_are_said_and_mended_without_a_restart() {
    let server = InfluxServer::start_with(InfluxOptions { auth: true, ..InfluxOptions::default() }).unwrap();
    let user = |name: &str, password: &str| InfluxSettings {
        username: Some(name.to_owned()),
        password: Some(password.to_owned()),
        ..settings(&server)
    };
    for wrong in [settings(&server), user("admin", "wrong"), user("late", "secret-words")] {
        let store = Store::open_influx(wrong).unwrap();
        let error = store.write(batch(&["a"]), Timestamp::from_ns(2)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Permanent);
        assert!(
            error.to_string().contains("INFLUXDB_PASSWORD") && !error.to_string().contains("secret-words"),
            "{error}"
        );
    }
    let store = Store::open_influx(user("late", "secret-words")).unwrap();
    server.query("", "CREATE USER late WITH PASSWORD 'secret-words'").unwrap();
    let error = store.write(batch(&["a"]), Timestamp::from_ns(2)).await.unwrap_err();
    assert!(error.to_string().contains("CREATE DATABASE"), "{error}");
    server.query("", "CREATE DATABASE fleet").unwrap();
    server.query("", "GRANT ALL ON fleet TO late").unwrap();
    store.write(batch(&["a"]), Timestamp::from_ns(2)).await.unwrap();
}

#[tokio::test]
async fn a_database_that_goes_away_is_made_again() {
    let server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    store.write(batch(&["a"]), Timestamp::from_ns(2)).await.unwrap();
    server.query("", "DROP DATABASE fleet").unwrap();
    store.write(batch(&["b"]), Timestamp::from_ns(2)).await.unwrap();
    assert_eq!(n_values(&server), 1);
}

/// Also a retention shorter than a shard of the server, seven days by default.
#[tokio::test]
async fn the_retention_asked_for_is_set() {
    let server = InfluxServer::start().unwrap();
    for (hours, duration, shard) in [(720, "720h0m0s", "168h0m0s"), (72, "72h0m0s", "24h0m0s"), (1, "1h0m0s", "1h0m0s")]
    {
        let retention = Some(Duration::from_secs(hours * 3600));
        Store::open_influx(InfluxSettings { retention, ..settings(&server) }).unwrap().check().await.unwrap();
        let policies = server.query("fleet", "SHOW RETENTION POLICIES").unwrap();
        let policy = &policies["results"][0]["series"][0]["values"][0];
        assert_eq!((&policy[1], &policy[2], &policy[4]), (&duration.into(), &shard.into(), &true.into()), "{policies}");
    }
}

/// The server refuses values of a type that conflicts with the stored field.
#[tokio::test]
async fn what_it_refuses_stands_alone() {
    let server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    store.check().await.unwrap();
    // In the shard of the first days of 1970 the field is an integer: values of that time conflict.
    server.write("fleet", "device_metrics,source_device=x,metric_type=IOPs value=1i 1").unwrap();
    let mut mixed = Batch { metrics: batch(&["a", "b", "c"]).metrics.clone(), events: Vec::new() };
    for index in [0, 2] {
        mixed.metrics[index].timestamp = Timestamp::from_ns(1_700_000_000_000_000_000);
    }
    let written = store.write(Arc::new(mixed), Timestamp::from_ns(2)).await.unwrap();
    assert_eq!(written.n_metrics, 2);
    let refused: Vec<_> = written.refused.iter().map(|refused| refused.item).collect();
    assert_eq!(refused, [RefusedItem::Metric(1)]);
    assert!(written.refused[0].message.contains("field type conflict"), "{:?}", written.refused);
}

/// Two concurrent writers can leave one event in two slots: it is one event, and its number is not a duplicate. Another
/// event with the same number is.
#[tokio::test]
async fn an_event_in_two_slots_has_its_number_once() {
    let server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    store.check().await.unwrap();
    let line = |tags: &str, id: u128, seq: u64, time: u64| {
        let id = Uuid::from_u128(id);
        format!(
            "events,source_device=a,event_type=Note{tags} event_id=\"{id}\",criticality=5i,timestamp_ns=1000i,received_ns=1000i,seq={seq}i {time}"
        )
    };
    let device = DeviceName::new("a").unwrap();
    let window = Window { from: Timestamp::from_ns(0), until: Timestamp::from_ns(2000) };
    let counted = async || {
        let tally = store.tally(std::slice::from_ref(&device), window).await.unwrap().pop().unwrap();
        (tally.n_points(), tally.totals())
    };
    server
        .write("fleet", &[line("", 1, 7, 1000), line(",slot=1", 1, 7, 1000), line("", 1, 7, 1001)].join("\n"))
        .unwrap();
    assert_eq!(counted().await, (1, (1, 0, 0)));
    server.write("fleet", &line("", 2, 7, 1002)).unwrap();
    assert_eq!(counted().await, (2, (1, 0, 1)));
}
