//! Reads of openGemini lag its writes: 2 s for a new series, 0.13 s for a known one. No look-up within that time proves
//! that something is not there.

use std::time::Duration;

use spindle_core::records::{EventFilter, EventRecord, TimeBasis};
use spindle_testkit::{FacadeOptions, Fault, Generation, InfluxFacade};
use tokio::time::sleep;

use crate::*;

fn open_store(facade: &InfluxFacade) -> Store {
    Store::open_influx(InfluxSettings { token: None, org: None, ..settings(facade) }).unwrap()
}

/// The halves of an id cancel out in the position: these have the same.
fn colliding(half: u64) -> Event {
    event(Uuid::from_u64_pair(half, half).as_u128())
}

async fn write_at(store: &Store, events: Vec<Event>, received: i64) -> usize {
    let batch = Arc::new(Batch { metrics: Vec::new(), events });
    store.write(batch, Timestamp::from_ns(received)).await.unwrap().n_events
}

async fn stored(facade: &InfluxFacade, store: &Store) -> Vec<EventRecord> {
    facade.show_all().unwrap();
    // Points, not events: a copy in another slot would show here.
    let points = facade.server().query(DATABASE, "SELECT count(criticality) FROM events").unwrap();
    let n_points = points["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or(0);
    let filter = EventFilter {
        window: window(i64::MIN, i64::MAX),
        basis: TimeBasis::Happened,
        source_device: None,
        event_type: None,
        min_criticality: Criticality::new(1).unwrap(),
        limit: usize::MAX,
        offset: 0,
    };
    let found = store.events(filter).await.unwrap();
    assert_eq!(found.len() as u64, n_points);
    found
}

/// Two messages within the lag: the second neither doubles the event nor gives it another arrival.
#[tokio::test]
async fn an_event_delivered_twice_within_the_lag_is_one_with_its_first_arrival() {
    let facade = start(Generation::OpenGemini);
    let store = open_store(&facade);
    // Moved to the second slot by another event: a look-up that shows neither would put it into the first.
    let again = async {
        sleep(Duration::from_millis(3_000)).await;
        write_at(&store, vec![colliding(2)], NOON + 900).await
    };
    let (first, second) = tokio::join!(write_at(&store, vec![colliding(1), colliding(2)], NOON), again);
    assert_eq!((first, second), (2, 0));
    let found = stored(&facade, &store).await;
    assert_eq!(found.iter().map(|record| record.received.as_ns()).collect::<Vec<_>>(), [NOON, NOON]);
}

#[tokio::test]
async fn events_of_one_position_within_the_lag_do_not_overwrite_each_other() {
    let facade = start(Generation::OpenGemini);
    let store = open_store(&facade);
    let writes = (1..=6).map(|half| {
        let store = store.clone();
        async move {
            sleep(Duration::from_millis(250 * half)).await;
            write_at(&store, vec![colliding(half)], NOON + half as i64).await
        }
    });
    let counted = futures_join(writes.collect()).await;
    assert_eq!(counted, [1; 6]);
    let mut received: Vec<i64> = stored(&facade, &store).await.iter().map(|record| record.received.as_ns()).collect();
    received.sort_unstable();
    assert_eq!(received, (1..=6).map(|half| NOON + half).collect::<Vec<_>>());
}

async fn futures_join<T: Send + 'static>(all: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = all.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

/// Neither writer sees the other's event before it writes, nor soon after.
#[tokio::test]
async fn two_writers_within_the_lag_lose_no_event() {
    for pause_ms in [0, 400, 1_200, 1_900] {
        let facade = start(Generation::OpenGemini);
        let (one, other) = (open_store(&facade), open_store(&facade));
        let late = async {
            sleep(Duration::from_millis(pause_ms)).await;
            write_at(&other, vec![colliding(2)], NOON).await
        };
        let written = tokio::join!(write_at(&one, vec![colliding(1)], NOON), late);
        assert_eq!((written, stored(&facade, &one).await.len()), ((1, 1), 2), "{pause_ms} ms");
    }
}

/// The next process does not know what the killed one wrote, and is given the same events at once.
#[tokio::test]
async fn a_restart_within_the_lag_doubles_nothing() {
    let facade = start(Generation::OpenGemini);
    let killed = open_store(&facade);
    let events = || vec![colliding(1), colliding(2)];
    let lines = |facade: &InfluxFacade| writes_of(facade, "/write", "events").len();
    tokio::select! {
        _ = write_at(&killed, events(), NOON) => panic!("it was to be killed"),
        () = async { while lines(&facade) == 0 { sleep(Duration::from_millis(5)).await } } => {}
    }
    drop(killed);
    let next = open_store(&facade);
    write_at(&next, vec![colliding(2), colliding(1)], NOON + 5).await;
    let found = stored(&facade, &next).await;
    assert_eq!(found.iter().map(|record| record.received.as_ns()).collect::<Vec<_>>(), [NOON, NOON]);
}

/// A write in doubt keeps its position and its arrival for the next attempt.
#[tokio::test]
async fn an_event_in_doubt_is_written_again_as_it_was() {
    let facade = start(Generation::OpenGemini);
    let store = open_store(&facade);
    store.check().await.unwrap();
    facade.fault(Fault::answer("/write", 500, r#"{"error":"timeout"}"#).after().if_body_holds("events,"));
    let batch = Arc::new(Batch { metrics: Vec::new(), events: vec![colliding(1)] });
    store.write(batch, Timestamp::from_ns(NOON)).await.unwrap_err();
    write_at(&store, vec![colliding(2), colliding(1)], NOON + 7).await;
    let mut received: Vec<i64> = stored(&facade, &store).await.iter().map(|record| record.received.as_ns()).collect();
    received.sort_unstable();
    assert_eq!(received, [NOON, NOON + 7]);
}

/// Values are not looked up, so they do not wait: they are stored while an event still waits.
#[tokio::test]
async fn values_do_not_wait_for_the_lag() {
    const FOR_EVER: Duration = Duration::from_secs(3_600);
    let facade = start_with(
        Generation::OpenGemini,
        FacadeOptions { read_lag: (FOR_EVER, FOR_EVER), ..FacadeOptions::default() },
    );
    let store = open_store(&facade);
    tokio::select! {
        written = write(&store, metrics(&["a"]), vec![]) => drop(written.unwrap()),
        _ = write_at(&store, vec![colliding(1)], NOON) => panic!("the values waited longer than the event"),
    }
    assert_eq!(store.devices(None, 10).await.unwrap(), [], "the stand-in lags");
    facade.show_all().unwrap();
    assert_eq!(store.devices(None, 10).await.unwrap().len(), 1);
}
