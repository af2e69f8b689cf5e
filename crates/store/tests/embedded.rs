//! Failures specific to a file: kills, full disks, damage, several processes, and retention that must shrink it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use spindle_core::records::{Arrival, Window};
use spindle_core::{Batch, DeviceMetric, DeviceName, Labels, MetricType, Timestamp};
use spindle_store::{Store, StoreError, StoreErrorKind};
use spindle_testkit::SmallDisk;
use tempfile::TempDir;

const NOON: Timestamp = Timestamp::from_seconds(1_749_211_200);
const DAY_S: i64 = 86_400;
const ALWAYS: Window = Window { from: Timestamp::from_ns(i64::MIN), until: Timestamp::from_ns(i64::MAX) };

fn metric(device: &str, time_s: i64, value: f64) -> DeviceMetric {
    DeviceMetric {
        timestamp: Timestamp::from_seconds(time_s),
        source_device: DeviceName::new(device).unwrap(),
        metric_type: MetricType::new("DiskTemp").unwrap(),
        value,
        seq: None,
        labels: None,
    }
}

/// `n_rows` values of one device from second `from_s` on.
fn rows(device: &str, from_s: i64, n_rows: i64) -> Arc<Batch> {
    let metrics = (from_s..from_s + n_rows).map(|time_s| metric(device, time_s, time_s as f64 / 7.0)).collect();
    Arc::new(Batch { metrics, events: vec![] })
}

/// Counts the rows of a table in the file itself.
fn n_rows(path: &Path, table: &str) -> i64 {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spindle.db");
    (folder, path)
}

/// Checks the kind, and that the message is one line that names the file.
#[track_caller]
fn check_error(error: &StoreError, kind: StoreErrorKind, path: &Path, message: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(!text.contains('\n') && text.contains(path.to_str().unwrap()) && text.contains(message), "{text}");
}

/// A store of format 2 knows the arrival of each sample, and so that of each device.
#[tokio::test]
async fn arrivals_are_taken_over_from_an_older_format() {
    let (_folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    store.write(rows("disk", 1_749_211_100, 60), NOON).await.unwrap();
    store.close().await.unwrap();
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "DROP TABLE pipeline; DROP TABLE last_arrivals; DROP TABLE replaced; DROP INDEX events_by_type; DROP INDEX events_of_type; PRAGMA user_version = 2;",
        )
        .unwrap();
    drop(connection);
    let store = Store::open_embedded(&path).await.unwrap();
    let found = store.last_arrivals(&[DeviceName::new("disk").unwrap()], ALWAYS).await.unwrap();
    let measured = Timestamp::from_seconds(1_749_211_159);
    assert_eq!(found, [Some(Arrival { received: NOON, measured })]);
}

/// A redelivered value is not a sign of life.
#[tokio::test]
async fn what_is_already_stored_does_not_arrive_again() {
    let (_folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    store.write(rows("disk", 1_749_211_100, 60), NOON).await.unwrap();
    let later = Timestamp::from_seconds(1_749_211_200 + DAY_S);
    store.write(rows("disk", 1_749_211_100, 60), later).await.unwrap();
    let names = [DeviceName::new("disk").unwrap()];
    assert_eq!(store.last_arrivals(&names, ALWAYS).await.unwrap()[0].unwrap().received, NOON);
    store.remove_before(later).await.unwrap();
    assert_eq!(store.last_arrivals(&names, ALWAYS).await.unwrap(), [None]);
    assert_eq!(n_rows(&path, "last_arrivals"), 0);
}

/// A copy of the files after a write returned is what a kill would leave behind.
#[tokio::test]
async fn an_answered_write_survives_a_kill() {
    let (folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    for round in 0..5 {
        store.write(rows("disk", round * 100, 100), NOON).await.unwrap();
        let copy = folder.path().join(format!("copy-{round}.db"));
        for suffix in ["", "-wal"] {
            let beside = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            std::fs::copy(beside(&path), beside(&copy)).unwrap();
        }
        let _after_kill = Store::open_embedded(&copy).await.unwrap();
        assert_eq!(n_rows(&copy, "samples"), (round + 1) * 100);
    }
}

/// Fills the disk until a write fails, checks the error, makes space and continues.
#[tokio::test]
async fn a_full_disk_says_so_and_nothing_needs_doing_after_it_has_room() {
    let Some(disk) = SmallDisk::mount(8 << 20).unwrap() else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let path = disk.path().join("spindle.db");
    let store = Store::open_embedded(&path).await.unwrap();
    let mut n_stored = 0;
    let error = loop {
        match store.write(rows("disk", n_stored, 5_000), NOON).await {
            Ok(_) => n_stored += 5_000,
            Err(error) => break error,
        }
        assert!(n_stored < 5_000_000, "never full");
    };
    check_error(&error, StoreErrorKind::Transient, &path, "disk is full at");
    assert!(error.to_string().ends_with("free space; no restart is needed"), "{error}");
    // Nothing is half stored, and the stored rows can be read.
    assert_eq!(n_rows(&path, "samples"), n_stored);
    assert!(store.write(rows("disk", n_stored, 5_000), NOON).await.unwrap_err().is_transient());

    std::fs::remove_file(&ballast).unwrap();
    let written = store.write(rows("other", 0, 5_000), NOON).await.unwrap();
    assert_eq!(written.n_metrics, 5_000);
    let names = [DeviceName::new("other").unwrap()];
    assert_eq!(store.latest_many(&names, ALWAYS).await.unwrap()[0].len(), 1);
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_in_one_line() {
    let check = async |path: PathBuf, message: &str| {
        let error = Store::open_embedded(&path).await.unwrap_err();
        let named = if message.contains("folder at") { path.parent().unwrap() } else { &path };
        check_error(&error, StoreErrorKind::Permanent, named, message);
    };
    let (folder, path) = folder();
    check(folder.path().to_path_buf(), "it is a folder").await;

    std::fs::write(&path, "temperature,time\n".repeat(1000)).unwrap();
    check(path.clone(), "it is not an SQLite database").await;
    check(path.join("below.db"), "cannot create the store's folder at").await;

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE photos (id)").unwrap();
    check(foreign, "it is another program's database").await;

    let newer = folder.path().join("newer.db");
    Store::open_embedded(&newer).await.unwrap().close().await.unwrap();
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    check(newer, "has format 99, this version supports formats up to 7: use a newer Spindle").await;
}

#[tokio::test]
async fn a_read_only_folder_is_named() {
    let Some(disk) = SmallDisk::mount_with("size=1m,ro").unwrap() else { return };
    let path = disk.path().join("spindle.db");
    let error = Store::open_embedded(&path).await.unwrap_err();
    check_error(&error, StoreErrorKind::Permanent, &path, "cannot open the store at");
    let path = disk.path().join("data/spindle.db");
    let error = Store::open_embedded(&path).await.unwrap_err();
    check_error(&error, StoreErrorKind::Permanent, path.parent().unwrap(), "Read-only file system");
}

#[tokio::test]
async fn a_damaged_file_is_called_damaged() {
    let (_folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    store.write(rows("disk", 0, 50_000), NOON).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(12) {
        page.fill(0xA5);
    }
    std::fs::write(&path, bytes).unwrap();

    let store = Store::open_embedded(&path).await.unwrap();
    let (device, metric_type) = (DeviceName::new("disk").unwrap(), MetricType::new("DiskTemp").unwrap());
    let error = store.range(&device, &metric_type, ALWAYS, usize::MAX).await.unwrap_err();
    check_error(&error, StoreErrorKind::Permanent, &path, "is damaged: move it away or restore a backup");
    let error = store.write(rows("disk", 25_000, 10), NOON).await.unwrap_err();
    check_error(&error, StoreErrorKind::Permanent, &path, "is damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_file_store_each_batch_once() {
    let (_folder, path) = folder();
    // Concurrently: both find no file and create one.
    let (one, two) = tokio::join!(Store::open_embedded(&path), Store::open_embedded(&path));
    let stores = [one.unwrap(), two.unwrap()];
    let mut n_new = 0;
    for round in 0..20 {
        let batch = rows(&format!("disk-{}", round % 4), round * 500, 1_000);
        let writes = stores.each_ref().map(|store| store.write(Arc::clone(&batch), NOON));
        let [one, two] = writes;
        let (one, two) = tokio::join!(one, two);
        n_new += one.unwrap().n_metrics + two.unwrap().n_metrics;
    }
    assert_eq!(n_new, 20_000);
    assert_eq!(["samples", "devices", "series"].map(|table| n_rows(&path, table)), [20_000, 4, 4]);
    for store in &stores {
        assert_eq!(store.devices(None, usize::MAX).await.unwrap().len(), 4);
    }
}

/// Each must see the other's changes to devices and labels, although it caches them.
#[tokio::test]
async fn two_stores_on_one_file_know_of_each_other() {
    let (_folder, path) = folder();
    let [one, two] = [Store::open_embedded(&path).await.unwrap(), Store::open_embedded(&path).await.unwrap()];
    let put = async |store: &Store, time_s, label: (&str, &str)| {
        let mut metric = metric("disk", time_s, 1.0);
        metric.labels = Some(Box::new(Labels::from([(label.0.to_owned(), label.1.to_owned())])));
        store.write(Arc::new(Batch { metrics: vec![metric], events: vec![] }), NOON).await.unwrap();
    };
    put(&one, 1, ("a", "1")).await;
    put(&two, 2, ("b", "2")).await;
    put(&one, 3, ("c", "3")).await;
    let device = DeviceName::new("disk").unwrap();
    let labels = two.device(&device).await.unwrap().unwrap().labels;
    assert_eq!(labels.into_iter().map(|(key, value)| key + &value).collect::<String>(), "a1b2c3");

    let removed = two.remove_before(NOON.plus(std::time::Duration::from_secs(9))).await.unwrap();
    assert_eq!((removed.n_metrics, removed.n_devices), (3, 1));
    assert_eq!(["samples", "series", "devices"].map(|table| n_rows(&path, table)), [0; 3]);
    put(&one, 4, ("d", "4")).await;
    let labels = two.device(&device).await.unwrap().unwrap().labels;
    assert_eq!(labels, Labels::from([("d".to_owned(), "4".to_owned())]));
    assert_eq!(two.latest(&device, ALWAYS).await.unwrap()[0].time, Timestamp::from_seconds(4));
}

#[tokio::test]
async fn a_long_read_does_not_hold_up_a_write() {
    let (_folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    store.write(rows("disk", 0, 1_000), NOON).await.unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = || reader.query_row("SELECT count(*) FROM samples", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 1_000);
    store.write(rows("disk", 1_000, 1_000), NOON).await.unwrap();
    assert_eq!((count(), n_rows(&path, "samples")), (1_000, 2_000));
}

#[tokio::test]
async fn a_removal_makes_the_file_shorter() {
    let (_folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    store.write(rows("old", 0, 100_000), NOON).await.unwrap();
    store.write(rows("new", 10 * DAY_S, 1_000), NOON).await.unwrap();
    let before_bytes = store.size_bytes().await.unwrap();
    store.remove_before(Timestamp::from_seconds(10 * DAY_S)).await.unwrap();
    store.close().await.unwrap();
    let after_bytes = store.size_bytes().await.unwrap();
    assert!(after_bytes * 5 < before_bytes, "{before_bytes} B became {after_bytes} B");
    Store::open_embedded(&path).await.unwrap();
    assert_eq!(["samples", "devices", "series"].map(|table| n_rows(&path, table)), [1_000, 1, 1]);
}

/// Writes proceed between the steps of a removal.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_lets_writes_through() {
    let (_folder, path) = folder();
    let store = Store::open_embedded(&path).await.unwrap();
    for part in 0..4 {
        store.write(rows("old", part * 50_000, 50_000), NOON).await.unwrap();
    }
    let later = Timestamp::from_seconds(10 * DAY_S);
    let removal = tokio::spawn({
        let store = store.clone();
        async move { store.remove_before(later).await.unwrap() }
    });
    let mut n_writes = 0;
    while !removal.is_finished() {
        store.write(rows("new", 10 * DAY_S + n_writes * 10, 10), NOON).await.unwrap();
        n_writes += 1;
    }
    assert_eq!(removal.await.unwrap().n_metrics, 200_000);
    assert!(n_writes > 3, "only {n_writes} writes in between");
    assert_eq!(n_rows(&path, "samples"), n_writes * 10);
}
