//! A retention that the server has of its own: an operator set it, and Spindle has none or a longer one.

use spindle_testkit::{Fault, Generation};

use crate::*;

const HOUR: i64 = 3_600_000_000_000;

/// The clock by which the server judges age.
#[allow(clippy::disallowed_methods, reason = "the server under test reads the same clock")]
fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_nanos()).unwrap()
}

fn keep_an_hour(facade: &InfluxFacade) {
    let alter = format!("ALTER RETENTION POLICY \"autogen\" ON \"{DATABASE}\" DURATION 1h SHARD DURATION 1h");
    facade.server().query("", &alter).unwrap();
}

async fn write_at(store: &Store, metrics: Vec<DeviceMetric>, events: Vec<Event>, received: i64) -> Written {
    store.write(Arc::new(Batch { metrics, events }), Timestamp::from_ns(received)).await.unwrap()
}

fn old_event(id: u128, time: i64) -> Event {
    Event { timestamp: Timestamp::from_ns(time), ..event(id) }
}

/// Version 3 drops in silence what is older: it must be known before it is sent.
#[tokio::test]
async fn what_the_server_will_not_keep_is_not_stored() {
    for generation in BOTH {
        let facade = start(generation);
        facade.create_database(DATABASE).unwrap();
        keep_an_hour(&facade);
        let (store, now) = (open(&facade), now());
        let values = vec![metric("a", now - 3 * HOUR), metric("b", now), metric("c", now - 2 * HOUR)];
        let events = vec![old_event(1, now - 2 * HOUR), old_event(2, now)];
        let written = write_at(&store, values, events, now).await;
        let expected = [RefusedItem::Metric(0), RefusedItem::Metric(2), RefusedItem::Event(0)];
        assert_eq!((refused(&written).as_slice(), reasons(&written)), (&expected[..], vec![Refusal::BeyondRetention]));
        assert_eq!((written.n_metrics, written.n_events), (1, 1), "{generation:?}");
        assert_eq!(counts(&facade, &store).await, (1, 1), "{generation:?}");
    }
}

/// The server's words count, also before it is asked again; they name a number, and the points are found by their times.
#[tokio::test]
async fn a_retention_that_was_shortened_is_noticed() {
    let facade = start(Generation::V2);
    let (store, now) = (open(&facade), now());
    write_at(&store, vec![metric("first", now)], vec![], now).await;
    keep_an_hour(&facade);
    // In no order, and 40 of them old: beyond the shard of a week that the server keeps until all of it is old.
    let values = (0..100).map(|number| {
        let age = if number % 5 < 2 { (200 + number) * HOUR } else { number * 1_000_000 };
        metric(&format!("disk-{number}"), now - age)
    });
    let values: Vec<_> = values.collect();
    let old: Vec<_> = (0..100).filter(|number| number % 5 < 2).map(RefusedItem::Metric).collect();
    let n_writes = || {
        let of = |measurement| writes_of(&facade, write_path(Generation::V2), measurement).len();
        of("device_metrics") + of("events")
    };
    let n_before = n_writes();
    let written = write_at(&store, values, vec![old_event(1, now - 200 * HOUR), old_event(2, now)], now + 1).await;
    let (mut metrics, mut events) = (refused(&written), Vec::new());
    metrics.retain(|item| {
        matches!(item, RefusedItem::Metric(_)) || {
            events.push(*item);
            false
        }
    });
    assert_eq!((metrics, events), (old, vec![RefusedItem::Event(0)]));
    assert_eq!(reasons(&written), [Refusal::BeyondRetention]);
    assert_eq!((written.n_metrics, written.n_events), (60, 1));
    assert_eq!(counts(&facade, &store).await, (61, 1));
    let n_requests = n_writes() - n_before;
    assert!(n_requests <= 5, "{n_requests} requests");
}

#[tokio::test]
async fn a_retention_that_was_shortened_in_silence_is_noticed_within_a_minute() {
    let facade = start(Generation::V3);
    let (store, now) = (open(&facade), now());
    write_at(&store, vec![metric("first", now)], vec![], now).await;
    keep_an_hour(&facade);
    let written = write_at(&store, vec![metric("a", now - 2 * HOUR)], vec![], now + HOUR / 60 + 1).await;
    assert_eq!(reasons(&written), [Refusal::BeyondRetention]);
    assert_eq!(written.n_metrics, 0);
}

/// All forms in which servers say it; with and without a number, and with a point that is bad besides.
#[tokio::test]
async fn a_batch_that_is_all_too_old_is_not_stored() {
    use spindle_testkit::Fault;
    let facade = start(Generation::V2);
    let (store, now) = (open(&facade), now());
    store.check().await.unwrap();
    let path = write_path(Generation::V2);
    for words in [
        "failure writing points to database: partial write: points beyond retention policy dropped=2",
        "failure writing points to database: partial write: dropped 2 points outside retention policy of duration 1h0m0s - oldest point x",
        "partial write: point time is expired, compared with rp duration dropped=2",
        "partial write: points beyond retention policy",
    ] {
        let body = format!(r#"{{"code":"unprocessable entity","message":"{words}"}}"#);
        // As the server would: only requests with the old points get this answer.
        facade.fault(Fault::answer(path, 422, &body).if_body_holds("old-").times(usize::MAX));
        let written = write_at(&store, vec![metric("old-a", now), metric("old-b", now)], vec![], now).await;
        assert_eq!(refused(&written), [RefusedItem::Metric(0), RefusedItem::Metric(1)], "{words}");
        assert_eq!((reasons(&written), written.n_metrics), (vec![Refusal::BeyondRetention], 0), "{words}");
        facade.clear_faults();
    }
}

/// Answer of a server whose clock is a day ahead.
fn a_day_ahead(path: &str, status: u16, body: &str) -> Fault {
    Fault::answer(path, status, body).header("Date", "Sat, 07 Jun 2025 12:00:00 GMT")
}

/// The clock of the server is wrong, or ours: what it drops, or would drop in silence, is kept until they agree. What is
/// too old by both is not.
#[tokio::test]
async fn what_only_one_clock_calls_old_is_not_given_up() {
    for generation in BOTH {
        let (facade, path) = (start(generation), write_path(generation));
        let retention = Some(std::time::Duration::from_secs(3 * 3_600));
        let store = Store::open_influx(InfluxSettings { retention, ..settings(&facade) }).unwrap();
        store.check().await.unwrap();
        assert_eq!(store.server_clock(), None);
        // The clock is known by the response that refuses the point.
        let dropped =
            r#"{"code":"unprocessable entity","message":"partial write: points beyond retention policy dropped=1"}"#;
        facade.fault(a_day_ahead(path, 422, dropped).if_body_holds("device_metrics,").times(1));
        let written = write(&store, vec![metric("a", NOON)], vec![]).await.unwrap();
        assert_eq!(reasons(&written), [Refusal::ClocksDisagree], "{generation:?}");
        assert!(store.server_clock().unwrap() >= Timestamp::parse("2025-06-07T12:00:00Z").unwrap());
        // From now on nothing is sent that it would drop.
        let n_before = facade.record_of(path).len();
        let values = vec![metric("a", NOON), metric("b", NOON - 4 * HOUR), metric("c", NOON - HOUR)];
        let written = write(&store, values, vec![event(1)]).await.unwrap();
        let of = |reason| written.refused_for(reason).map(|refused| refused.item).collect::<Vec<_>>();
        assert_eq!(of(Refusal::BeyondRetention), [RefusedItem::Metric(1)]);
        assert_eq!(of(Refusal::ClocksDisagree).len(), 3, "{written:?}");
        assert_eq!(facade.record_of(path).len(), n_before);
        // Points that all clocks call new go in.
        let new = NOON + 23 * HOUR;
        facade.fault(a_day_ahead(path, 204, "").after().times(usize::MAX));
        let written = write(&store, vec![metric("a", new)], vec![]).await.unwrap();
        assert_eq!((written.n_metrics, written.refused.len()), (1, 0));
    }
}

/// Another clock of the caller's: the earliest judges.
#[tokio::test]
async fn a_caller_whose_clocks_disagree_gives_up_only_what_all_call_old() {
    let (folder, now) = (tempfile::tempdir().unwrap(), now());
    let retention = Some(std::time::Duration::from_secs(3_600));
    let embedded = Store::open_embedded(&folder.path().join("s.db")).await.unwrap().with_retention(retention);
    let facade = start(Generation::V2);
    let influx = Store::open_influx(InfluxSettings { retention, ..settings(&facade) }).unwrap();
    for store in [embedded, influx] {
        let day_ahead = spindle_store::WriteTime::of(Timestamp::from_ns(now + 24 * HOUR), [Timestamp::from_ns(now)]);
        let metrics = vec![metric("a", now), metric("b", now - 2 * HOUR)];
        let written = store.write(Arc::new(Batch { metrics, events: vec![] }), day_ahead).await.unwrap();
        assert_eq!((refused(&written), written.n_metrics), (vec![RefusedItem::Metric(1)], 1));
        assert_eq!(reasons(&written), [Refusal::BeyondRetention]);
    }
}
