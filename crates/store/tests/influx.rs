//! A real InfluxDB 1.x: outages, credentials, and single points that it refuses.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::records::{EventFilter, TimeBasis, Window};
use spindle_core::{Batch, Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};
use spindle_store::{InfluxSettings, Refusal, RefusedItem, Store, StoreErrorKind};
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

/// Values of known devices pass while `max-values-per-tag` keeps new ones out; those pass once it is raised. Labels of
/// new devices are kept out as well, and their devices with them.
#[tokio::test]
async fn a_limit_keeps_new_devices_out_and_no_others() {
    let options = InfluxOptions { data_config: "max-values-per-tag = 3".to_owned(), ..InfluxOptions::default() };
    let mut server = InfluxServer::start_with(options).unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    let at = |seconds: i64| Timestamp::from_seconds(1_700_000_000 + seconds);
    assert_eq!(store.write(batch(&["a", "b", "c"]), at(0)).await.unwrap().n_metrics, 3);
    let names: Vec<String> = (0..40).map(|number| format!("new-{number}")).collect();
    let mut mixed: Vec<&str> = names.iter().map(String::as_str).collect();
    // Known devices at both ends and in the middle.
    for (position, known) in [(42, "c"), (20, "b"), (0, "a")] {
        mixed.insert(position.min(mixed.len()), known);
    }
    let with_labels = |names: &[&str]| {
        let mut metrics = batch(names).metrics.clone();
        for metric in &mut metrics {
            metric.timestamp = at(1);
            metric.labels = Some(Box::new([("rack".to_owned(), "7".to_owned())].into()));
        }
        Arc::new(Batch { metrics, events: Vec::new() })
    };
    for seconds in [1, 2, 7, 13] {
        let written = store.write(with_labels(&mixed), at(seconds)).await.unwrap();
        assert_eq!((written.n_metrics, written.refused.len()), (3, 40), "{seconds}: {:?}", written.refused);
        assert!(written.refused.iter().all(|refused| refused.reason == Refusal::Limit));
        assert!(written.refused[0].message.contains("max-values-per-tag"), "{:?}", written.refused[0]);
    }
    let labels = async |name| store.device(&DeviceName::new(name).unwrap()).await.unwrap().unwrap().labels.len();
    assert_eq!((labels("a").await, n_values(&server)), (1, 6));
    server.restart_with_data_config("max-values-per-tag = 100").unwrap();
    // The connections of before are broken.
    while store.ping().await.is_err() {}
    let written = loop {
        match store.write(with_labels(&mixed), at(20)).await {
            Ok(written) => break written,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    };
    assert_eq!((written.n_metrics, written.refused.len()), (43, 0), "{:?}", written.refused);
    assert_eq!((labels("new-7").await, n_values(&server)), (1, 46));
}

/// The other limit of version 1: of series.
#[tokio::test]
async fn a_limit_of_series_keeps_new_ones_out_and_no_others() {
    let options = InfluxOptions { data_config: "max-series-per-database = 2".to_owned(), ..InfluxOptions::default() };
    let server = InfluxServer::start_with(options).unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    assert_eq!(store.write(batch(&["a", "b"]), Timestamp::from_ns(2)).await.unwrap().n_metrics, 2);
    let written = store.write(batch(&["c", "a", "d", "b", "e"]), Timestamp::from_ns(2)).await.unwrap();
    let refused: Vec<_> = written.refused.iter().map(|refused| (refused.item, refused.reason)).collect();
    assert_eq!((written.n_metrics, refused.len()), (2, 3), "{refused:?}");
    for index in [0, 2, 4] {
        assert!(refused.contains(&(RefusedItem::Metric(index), Refusal::Limit)), "{refused:?}");
    }
    // So are the numbers of values that meet; these are stored all the same.
    let mut meeting = Batch::clone(&batch(&["a", "a", "b"]));
    for (metric, seq) in meeting.metrics.iter_mut().zip(1..) {
        (metric.seq, metric.value) = (Some(seq), seq as f64);
    }
    let written = store.write(Arc::new(meeting), Timestamp::from_ns(3)).await.unwrap();
    assert_eq!((written.n_metrics_stored(), written.refused.len()), (3, 0), "{:?}", written.refused);
    // The probe point is a new series too: a limit is not mistaken for a server that takes nothing.
    let alone = store.write(batch(&["f"]), Timestamp::from_ns(2)).await.unwrap();
    assert_eq!(alone.refused[0].reason, Refusal::Limit);
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

/// Lines of an earlier version, which had no indexes.
fn unindexed(n_events: u64) -> String {
    let line = |number: u64| {
        let (id, time) = (Uuid::from_u128(number.into()), 1_700_000_000_000_000_000 + number * 3_600_000_000_000);
        let received = 1_749_211_200_000_000_000_u64 + number % 7;
        format!(
            "events,source_device=a{},event_type=Note event_id=\"{id}\",criticality=9i,timestamp_ns={time}i,received_ns={received}i {time}",
            number % 3
        )
    };
    let metrics = "device_metrics,source_device=silent,metric_type=IOPs value=1.5 1600000000000000000\ndevice_metrics,source_device=silent,metric_type=IOPs value=1.5 1610000000000000000";
    (0..n_events).map(line).chain([metrics.to_owned()]).collect::<Vec<_>>().join("\n")
}

fn arrived() -> EventFilter {
    EventFilter {
        window: Window {
            from: Timestamp::from_ns(1_749_211_200_000_000_000),
            until: Timestamp::from_ns(1_749_211_200_000_000_007),
        },
        basis: TimeBasis::Received,
        source_device: None,
        event_type: None,
        min_criticality: Criticality::MAX,
        limit: 100_000,
        offset: 0,
    }
}

/// After an upgrade, what was stored before is found by its arrival, and silent devices are listed.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_completed_from_what_an_earlier_version_stored() {
    const N_EVENTS: u64 = 2_500;
    let server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    store.check().await.unwrap();
    server.write("fleet", &unindexed(N_EVENTS)).unwrap();
    let filter = EventFilter { min_criticality: Criticality::new(9).unwrap(), ..arrived() };
    assert!(store.events(filter.clone()).await.unwrap().is_empty());
    let now = Timestamp::from_ns(1_750_000_000_000_000_000);
    for _ in 0..2 {
        store.complete_indexes(now).await.unwrap();
        let found = store.events(filter.clone()).await.unwrap();
        let ids: BTreeSet<String> = found.iter().map(|record| record.event.id.to_string()).collect();
        assert_eq!((found.len(), ids.len()), (N_EVENTS as usize, N_EVENTS as usize));
        let devices = store.devices(None, 10).await.unwrap();
        let names: Vec<&str> = devices.iter().map(|record| record.source_device.as_str()).collect();
        assert_eq!(names, ["a0", "a1", "a2", "silent"]);
        let silent = &devices[3];
        assert_eq!(
            (silent.first_seen.as_ns(), silent.last_seen.as_ns()),
            (1_600_000_000_000_000_000, 1_610_000_000_000_000_000)
        );
        // The marker is valid for other sessions too, as are the notes of this one.
        let other = Store::open_influx(settings(&server)).unwrap();
        assert_eq!(other.devices(None, 10).await.unwrap(), devices);
    }
    // Marked as complete: what appears without an index from here on is not looked for.
    server.write("fleet", "events,source_device=b,event_type=Note event_id=\"x\",criticality=9i,timestamp_ns=1i,received_ns=1749211200000000001i 1").unwrap();
    store.complete_indexes(now).await.unwrap();
    assert_eq!(store.events(filter).await.unwrap().len(), N_EVENTS as usize);
}

/// The retention takes events by their own time: entries of their arrivals may outlive them.
#[tokio::test(flavor = "multi_thread")]
async fn entries_without_their_events_are_passed_over() {
    let server = InfluxServer::start().unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    let received = Timestamp::from_ns(1_749_211_200_000_000_001);
    let event = |number: u64, device: &str| Event {
        id: Uuid::from_u128(number.into()).into(),
        criticality: Criticality::MAX,
        timestamp: Timestamp::from_ns(1_000 + number.cast_signed()),
        source_device: DeviceName::new(device).unwrap(),
        event_type: EventType::new("Note").unwrap(),
        event_message: None,
        seq: None,
        labels: None,
    };
    let events = (0..50).map(|number| event(number, if number % 2 == 0 { "kept" } else { "gone" })).collect();
    store.write(Arc::new(Batch { metrics: Vec::new(), events }), received).await.unwrap();
    server.query("fleet", "DELETE FROM events WHERE source_device = 'gone'").unwrap();
    let page = store.events(EventFilter { limit: 20, ..arrived() }).await.unwrap();
    assert_eq!(page.len(), 20);
    let rest = store.events(EventFilter { limit: 20, offset: 20, ..arrived() }).await.unwrap();
    assert_eq!(rest.len(), 5);
    let counts = store.count_events_by_device(arrived()).await.unwrap();
    assert_eq!(counts, [(DeviceName::new("kept").unwrap(), 25)]);
}

/// Two sessions note one device, in any order, and a restart that loses a note has it written again.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_narrows_what_another_has_noted() {
    let mut server = InfluxServer::start().unwrap();
    let one = Store::open_influx(settings(&server)).unwrap();
    let other = Store::open_influx(settings(&server)).unwrap();
    let at = |time: i64| {
        let mut batch = (*batch(&["a"])).clone();
        batch.metrics[0].timestamp = Timestamp::from_ns(time);
        Arc::new(batch)
    };
    let day = 86_400_000_000_000_i64;
    let received = Timestamp::from_ns(2);
    for (store, time) in [(&one, 5 * day), (&other, 3 * day), (&one, 6 * day), (&other, 4 * day), (&one, 5 * day + 1)] {
        store.write(at(time), received).await.unwrap();
    }
    let life = async || {
        let record = one.device(&DeviceName::new("a").unwrap()).await.unwrap().unwrap();
        (record.first_seen.as_ns(), record.last_seen.as_ns())
    };
    assert_eq!(life().await, (3 * day, 6 * day));
    other.write(at(6 * day + 60_000_000_000), received).await.unwrap();
    assert_eq!(life().await, (3 * day, 6 * day + 60_000_000_000), "newer than the index by a minute");
    one.server_incarnation().await.unwrap();
    server.query("fleet", "DELETE FROM devices").unwrap();
    server.kill();
    server.restart().unwrap();
    one.server_incarnation().await.unwrap();
    one.write(at(6 * day), received).await.unwrap();
    assert_eq!(life().await.1, 6 * day + 60_000_000_000);
}

/// A limit of rows in the server's settings holds for responses without chunks, and none of ours is one.
#[tokio::test]
async fn a_limit_of_rows_withholds_nothing() {
    let options = InfluxOptions { http_config: "max-row-limit = 3".to_owned(), ..InfluxOptions::default() };
    let server = InfluxServer::start_with(options).unwrap();
    let store = Store::open_influx(settings(&server)).unwrap();
    let mut many = Batch::clone(&batch(&["a"; 50]));
    for (metric, time) in many.metrics.iter_mut().zip(1..) {
        metric.timestamp = Timestamp::from_ns(time);
    }
    store.write(Arc::new(many), Timestamp::from_ns(2)).await.unwrap();
    let limited = server.query("fleet", "SELECT value FROM device_metrics").unwrap();
    assert_eq!(limited["results"][0]["series"][0]["partial"], true, "{limited}");
    let (name, kind) = (DeviceName::new("a").unwrap(), MetricType::new("IOPs").unwrap());
    let window = Window { from: Timestamp::from_ns(0), until: Timestamp::from_ns(100) };
    assert_eq!(store.range(&name, &kind, window, 100).await.unwrap().len(), 50);
}
