//! openGemini, against a facade that answers as version 1.5.2 does.

use std::time::Duration;

use spindle_core::pipeline::PipelinePoint;
use spindle_store::{InfluxSettings, InfluxVersion, Store, StoreErrorKind};
use spindle_testkit::{Fault, Generation, InfluxFacade};

use crate::*;

fn start_empty() -> InfluxFacade {
    start(Generation::OpenGemini)
}

fn open_with(facade: &InfluxFacade, change: impl FnOnce(&mut InfluxSettings)) -> Store {
    let mut settings = InfluxSettings { token: None, org: None, ..settings(facade) };
    change(&mut settings);
    Store::open_influx(settings).unwrap()
}

/// By its headers, whose version is empty, by name, and under the name of version 1.
#[tokio::test]
async fn it_is_recognised() {
    for version in [None, Some(InfluxVersion::OpenGemini), Some(InfluxVersion::V1)] {
        let facade = start_empty();
        let store = open_with(&facade, |settings| settings.version = version);
        store.check().await.unwrap();
        assert_eq!(store.read_lag(), Duration::from_millis(2_500), "{version:?}");
        write(&store, metrics(&["a"]), vec![]).await.unwrap();
        facade.show_all().unwrap();
        assert_eq!(counts(&facade, &store).await, (1, 0));
        assert_eq!(store.server_incarnation().await.unwrap(), None);
    }
}

#[tokio::test]
async fn nothing_written_is_an_empty_result() {
    let facade = start_empty();
    let store = open_with(&facade, |_| {});
    assert!(!store.probe().await.unwrap(), "no database");
    store.check().await.unwrap();
    assert!(store.probe().await.unwrap(), "a database without measurements");
    store.ping().await.unwrap();
    let (device, kind) = (DeviceName::new("a").unwrap(), MetricType::new("IOPs").unwrap());
    let all = window(i64::MIN, i64::MAX);
    assert_eq!(store.devices(None, 10).await.unwrap(), []);
    assert_eq!(store.device(&device).await.unwrap(), None);
    assert_eq!(store.range(&device, &kind, all, 10).await.unwrap(), []);
    assert_eq!(store.latest(&device, all).await.unwrap(), []);
    assert_eq!(store.first_and_last(&device, &kind, all).await.unwrap(), None);
    assert_eq!(store.tally(&[device], all).await.unwrap()[0].n_points(), 0);
}

#[tokio::test]
async fn copies_are_made_once_and_compared() {
    let facade = start_empty();
    let day = Some(Duration::from_secs(86_400));
    let with = |copies| open_with(&facade, |settings| (settings.replication, settings.retention) = (copies, day));
    with(Some(3)).check().await.unwrap();
    assert_eq!((facade.n_copies(DATABASE), facade.retention_s(DATABASE)), (Some(3), Some(86_400)));
    // `CREATE DATABASE` would fail now, because the retention was set.
    with(Some(3)).check().await.unwrap();
    with(None).check().await.unwrap();
    let error = with(Some(2)).check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Permanent);
    expect_message(&error, &["openGemini at http", "has 3 copies", "INFLUXDB_REPLICATION asks for 2"]);
    for generation in BOTH {
        let other = start(generation);
        let error = open_with_copies(&other).check().await.unwrap_err();
        expect_message(&error, &["INFLUXDB_REPLICATION applies to openGemini only"]);
    }
    let named = InfluxSettings { replication: Some(2), version: Some(InfluxVersion::V2), ..settings(&facade) };
    expect_message(&Store::open_influx(named).unwrap_err(), &["INFLUXDB_REPLICATION applies to openGemini only"]);
}

fn open_with_copies(facade: &InfluxFacade) -> Store {
    Store::open_influx(InfluxSettings { replication: Some(2), ..settings(facade) }).unwrap()
}

/// Shorter than a shard, a week by default, and an hour: in one statement, and once.
#[tokio::test]
async fn retention_is_set_with_the_length_of_a_shard() {
    for hours in [1, 24, 72, 720] {
        let facade = start_empty();
        let open = || open_with(&facade, |settings| settings.retention = Some(Duration::from_secs(hours * 3_600)));
        open().check().await.unwrap();
        assert_eq!(facade.retention_s(DATABASE), Some(hours * 3_600));
        let n_altered = || {
            facade.record_of("/query").iter().filter(|request| format!("{:?}", request.query).contains("ALTER")).count()
        };
        let n_before = n_altered();
        open().check().await.unwrap();
        assert_eq!(n_altered(), n_before, "{hours}: it is right already");
    }
}

#[tokio::test]
async fn a_database_that_goes_away_is_made_again() {
    let facade = start_empty();
    let store = open_with(&facade, |settings| settings.replication = Some(3));
    write(&store, metrics(&["a"]), vec![]).await.unwrap();
    facade.drop_database(DATABASE).unwrap();
    write(&store, metrics(&["b"]), vec![]).await.unwrap();
    facade.show_all().unwrap();
    assert_eq!((counts(&facade, &store).await, facade.n_copies(DATABASE)), ((1, 0), Some(3)));
}

#[tokio::test]
async fn points_of_a_wrong_type_stand_alone() {
    let facade = start_empty();
    let store = open_with(&facade, |_| {});
    store.check().await.unwrap();
    facade.write(DATABASE, &format!("device_metrics,source_device=x,metric_type=x seq=0.5 {NOON}")).unwrap();
    let mut three = metrics(&["a", "b", "c"]);
    three[1].seq = Some(1);
    let written = write(&store, three, vec![]).await.unwrap();
    assert_eq!((refused(&written), written.n_metrics), (vec![RefusedItem::Metric(1)], 2));
    facade.show_all().unwrap();
    assert_eq!(counts(&facade, &store).await, (2, 0));
}

/// A body is stored in blocks of 64 KiB, and the answer names the first error: it confirms nothing beyond one block.
#[tokio::test]
async fn an_answer_for_one_block_confirms_no_other() {
    let facade = start_empty();
    let store = open_with(&facade, |_| {});
    store.check().await.unwrap();
    let expired = r#"{"error":"partial write: point time is expired, compared with rp duration dropped=1"}"#;
    facade.fault(Fault::answer("/write", 400, expired));
    let many = (0..2_000).map(|number| metric(&format!("disk-{number}"), NOON)).collect();
    write(&store, many, vec![]).await.unwrap();
    facade.show_all().unwrap();
    assert_eq!(counts(&facade, &store).await, (2_000, 0));
}

/// While one of its nodes is away, lines for the others are stored: none is to blame, however often that happens.
#[tokio::test]
async fn a_node_that_is_away_blames_no_line() {
    let facade = start_empty();
    let store = open_with(&facade, |_| {});
    store.check().await.unwrap();
    assert_eq!(store.n_recoveries(), 0);
    let away = r#"{"error":"no connections available, node: 4, 127.0.0.1:8400"}"#;
    facade.fault(Fault::answer("/write", 500, away).if_body_holds("disk-7,").times(usize::MAX));
    let many = || (0..20).map(|number| metric(&format!("disk-{number}"), NOON)).collect();
    for _ in 0..12 {
        let error = write(&store, many(), vec![]).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        expect_message(&error, &["openGemini at http", "500", "no connections available"]);
    }
    facade.clear_faults();
    assert_eq!(write(&store, many(), vec![]).await.unwrap().n_metrics, 20);
    assert_eq!(store.n_recoveries(), 1, "what that node had acknowledged may be lost");
}

/// openGemini loses such a line in silence.
#[tokio::test]
async fn no_field_is_ever_empty() {
    let facade = start_empty();
    let store = open_with(&facade, |_| {});
    let mut message = event(1);
    message.event_message = Some(String::new());
    write(&store, metrics(&["a"]), vec![message]).await.unwrap();
    let point = |values: &[_]| PipelinePoint { at: Timestamp::from_ns(NOON), values: values.to_vec() };
    store.write_self_metrics("i", &[point(&[("ready", f64::NAN)])]).await.unwrap();
    store.write_self_metrics("i", &[point(&[("lag", f64::INFINITY), ("ready", 1.0)])]).await.unwrap();
    for request in facade.record_of("/write") {
        for line in request.text().lines() {
            assert!(!line.contains("=,") && !line.contains("= ") && line.split(' ').count() == 3, "{line}");
        }
    }
    // The value, the arrival of the device, the entry of the event's arrival, the event, the note of the device, the
    // second metric of the pipeline.
    assert_eq!(facade.record_of("/write").len(), 6);
}
