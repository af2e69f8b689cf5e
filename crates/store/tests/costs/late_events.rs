//! A message of late events: the writer asks for their exact places and reads nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use spindle_core::records::{EventFilter, TimeBasis};
use spindle_core::{Batch, Criticality, Event, Timestamp};
use spindle_testkit::{FacadeOptions, Generation, InfluxFacade};

use crate::requests::rows_read;
use crate::*;

/// Events stored: one every 10 s for 33 hours, of 20 devices.
const N_STORED: i64 = 12_000;
const GAP: i64 = 10 * SECOND;
const N_LATE: i64 = 480;

fn facade() -> (InfluxFacade, Store) {
    let facade = InfluxFacade::start(Generation::V2, FacadeOptions::default()).unwrap();
    let store = open_influx(facade.url(), "fleet");
    (facade, store)
}

async fn write(store: &Store, events: Vec<Event>, received: i64) -> usize {
    let batch = Arc::new(Batch { metrics: Vec::new(), events });
    store.write(batch, Timestamp::from_ns(received)).await.unwrap().n_events
}

/// Late events among dense ones: minutes apart, of a burst within a second, and in steps of a second.
#[tokio::test(flavor = "multi_thread")]
async fn reads_its_own_places_only() {
    let (facade, store) = facade();
    let stored = (0..N_STORED).map(|number| {
        event(&format!("s{number}"), &format!("disk-{}", number % 20), NOON - number * GAP + 5_000_000, 5)
    });
    for some in stored.collect::<Vec<_>>().chunks(5_000) {
        assert_eq!(write(&store, some.to_vec(), NOON).await, some.len());
    }
    for (case, gap, arrival) in [("minutes", 220 * SECOND, 1), ("second", 2_000_000, 2), ("seconds", SECOND, 3)] {
        let arrival = NOON + arrival * HOUR;
        let late: Vec<Event> = (0..N_LATE)
            .map(|number| event(&format!("{case}-{number}"), "disk-3", NOON - 32 * HOUR + number * gap + 1, 9))
            .collect();
        // New, then delivered again: it is read, found, and stays as it is.
        for (received, n_new) in [(arrival, N_LATE), (arrival + SECOND, 0)] {
            let start = facade.record_of("/query").len();
            assert_eq!(write(&store, late.clone(), received).await, n_new as usize, "{case}");
            let (n_rows, largest) = rows_read(&facade, start);
            // At most four look-ups, of events and of arrivals, before and after the write, and the version.
            assert!(
                n_rows <= 4 * N_LATE as usize + 10 && largest <= N_LATE as usize + 5,
                "{case}: {n_rows} rows, {largest} at once"
            );
        }
        let arrived = EventFilter {
            window: window(arrival, arrival + 1),
            basis: TimeBasis::Received,
            source_device: None,
            event_type: None,
            min_criticality: Criticality::MAX,
            limit: 10_000,
            offset: 0,
        };
        let found =
            store.events(EventFilter { min_criticality: Criticality::new(9).unwrap(), ..arrived }).await.unwrap();
        let ids: BTreeSet<String> = found.iter().map(|record| record.event.id.to_string()).collect();
        let expect = (0..N_LATE).map(|number| format!("{case}-{number}"));
        assert!(expect.into_iter().all(|id| ids.contains(&id)), "{case}: {} found", ids.len());
    }
}

/// So many events of others share the range of a burst that it is given up: the places are read one by one.
#[tokio::test(flavor = "multi_thread")]
async fn gives_up_a_range_full_of_others() {
    let (facade, store) = facade();
    let crowd: Vec<Event> =
        (0..20_000).map(|number| event(&format!("c{number}"), "disk-3", NOON + 1 + number * 10_000, 5)).collect();
    write(&store, crowd, NOON).await;
    let ours: Vec<Event> =
        (0..20).map(|number| event(&format!("o{number}"), "disk-3", NOON + 7 + number * 10_000_000, 5)).collect();
    let start = facade.record_of("/query").len();
    assert_eq!(write(&store, ours, NOON + 1).await, 20);
    let (_, largest) = rows_read(&facade, start);
    assert!(largest <= 20 * 100 + 1, "{largest} rows at once");
}
