//! A query for some events: it reads about as many as it asks for, however many its window holds.

use std::sync::Arc;

use spindle_core::records::{EventFilter, TimeBasis};
use spindle_core::{Batch, Criticality, Timestamp};
use spindle_testkit::{FacadeOptions, Generation, InfluxFacade};

use crate::requests::rows_read;
use crate::*;

/// Events in the window; a third of them is late.
const N_EVENTS: i64 = 9_000;
const DAYS: i64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn of_events_bound_what_is_read() {
    for generation in [Generation::V2, Generation::V3] {
        let options = FacadeOptions { max_files: 100_000, ..FacadeOptions::default() };
        let facade = InfluxFacade::start(generation, options).unwrap();
        let store = open_influx(facade.url(), "fleet");
        fill(&store).await;
        for basis in [TimeBasis::Happened, TimeBasis::Received, TimeBasis::Either] {
            let filter = |level, limit| EventFilter {
                window: window(NOON - DAYS * 24 * HOUR, NOON),
                basis,
                source_device: None,
                event_type: None,
                min_criticality: Criticality::new(level).unwrap(),
                limit,
                offset: 0,
            };
            for level in [1, 2] {
                let whole = store.events(filter(level, usize::MAX)).await.unwrap();
                for limit in [1, 100] {
                    let start = facade.record_of("/query").len();
                    let found = store.events(filter(level, limit)).await.unwrap();
                    assert_eq!(found, whole[..limit], "{generation:?} {basis:?}");
                    let (n_rows, _) = rows_read(&facade, start);
                    // The page, its margin, and the look whether late events are few.
                    assert!(n_rows <= 3 * limit + 2_500, "{generation:?} {basis:?} {level} {limit}: {n_rows} rows");
                }
            }
        }
    }
}

/// Late events arrive in a window by the ten thousand, each from before it or ahead of it.
#[tokio::test(flavor = "multi_thread")]
async fn of_late_events_bound_what_is_read() {
    let facade = InfluxFacade::start(Generation::V2, FacadeOptions::default()).unwrap();
    let store = open_influx(facade.url(), "fleet");
    fill(&store).await;
    let filter = |basis, limit| EventFilter {
        // Nothing happened in it.
        window: window(NOON - 1, NOON),
        basis,
        source_device: None,
        event_type: None,
        min_criticality: Criticality::new(1).unwrap(),
        limit,
        offset: 0,
    };
    for basis in [TimeBasis::Received, TimeBasis::Either] {
        let whole = store.events(filter(basis, usize::MAX)).await.unwrap();
        assert_eq!(whole.len(), N_EVENTS as usize);
        for limit in [1, 100] {
            let start = facade.record_of("/query").len();
            assert_eq!(store.events(filter(basis, limit)).await.unwrap(), whole[..limit]);
            let (n_rows, _) = rows_read(&facade, start);
            assert!(n_rows <= 5 * limit + 2_500, "{basis:?} {limit}: {n_rows} rows");
        }
    }
}

/// Everything arrives in the last nanosecond of the window.
async fn fill(store: &Store) {
    let events = (0..N_EVENTS).map(|number| {
        let time = NOON - DAYS * 24 * HOUR + number * (DAYS * 24 * HOUR / N_EVENTS);
        let late = if number % 3 == 0 { 40 * 24 * HOUR } else { 0 };
        event(&number.to_string(), &format!("disk-{}", number % 20), time - late, 1 + number as u64 % 4)
    });
    for some in events.collect::<Vec<_>>().chunks(10_000) {
        let batch = Arc::new(Batch { metrics: Vec::new(), events: some.to_vec() });
        store.write(batch, Timestamp::from_ns(NOON - 1)).await.unwrap();
    }
}
