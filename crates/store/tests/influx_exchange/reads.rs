//! Reads from version 3, which limits the files that one query opens.

use std::time::Duration;

use spindle_core::records::{EventFilter, TimeBasis};
use spindle_testkit::{Generation, InfluxFacade};

use crate::*;

const MINUTE: i64 = 60_000_000_000;
const N_VALUES: i64 = 300;

/// Five hours, a value a minute: 30 files.
async fn five_hours(facade: &InfluxFacade) -> Store {
    let store = open(facade);
    let values =
        (0..N_VALUES).map(|number| DeviceMetric { value: number as f64, ..metric("disk", NOON + number * MINUTE) });
    let events = (0..50).map(|number| Event {
        timestamp: Timestamp::from_ns(NOON + i64::from(number) * 6 * MINUTE),
        ..event(number as u128)
    });
    write(&store, values.collect(), events.collect()).await.unwrap();
    store
}

/// More files than one query may read: the store queries parts, which add up to the same result.
#[tokio::test]
async fn too_many_files_are_read_in_parts() {
    for release in ["3.10.1", "3.5.0"] {
        let options = FacadeOptions { max_files: 5, release: release.to_owned(), ..FacadeOptions::default() };
        let facade = start_with(Generation::V3, options);
        let store = five_hours(&facade).await;
        let (device, kind) = (DeviceName::new("disk").unwrap(), MetricType::new("IOPs").unwrap());
        let all = window(NOON, NOON + N_VALUES * MINUTE);

        let n_before = facade.record_of("/query").len();
        let found = store.range(&device, &kind, all, usize::MAX).await.unwrap();
        let values: Vec<i64> = found.iter().map(|sample| sample.value as i64).collect();
        assert_eq!(values, (0..N_VALUES).collect::<Vec<_>>(), "{release}");
        // 30 files in eighths of the window: 1 + 2 + 4 + 8 queries.
        assert_eq!(facade.record_of("/query").len() - n_before, 15, "{release}");

        let first = store.range(&device, &kind, all, 70).await.unwrap();
        assert_eq!(first, found[..70]);
        let (first, last, count) = store.first_and_last(&device, &kind, all).await.unwrap().unwrap();
        assert_eq!((first.value, last.value, count), (0.0, 299.0, 300));
        assert_eq!(store.latest(&device, all).await.unwrap()[0].value, 299.0);
        let buckets = store.buckets(&device, &kind, all, Duration::from_secs(3_600)).await.unwrap();
        let found: Vec<_> = buckets.iter().map(|hour| (hour.min, hour.mean, hour.max, hour.count)).collect();
        let expected: Vec<_> =
            (0..5).map(|hour| 60.0 * f64::from(hour)).map(|from| (from, from + 29.5, from + 59.0, 60)).collect();
        assert_eq!(found, expected, "{release}");
        assert_eq!(counts(&facade, &store).await, (300, 50));
        let record = store.device(&device).await.unwrap().unwrap();
        assert_eq!((record.first_seen.as_ns(), record.last_seen.as_ns()), (NOON, NOON + (N_VALUES - 1) * MINUTE));
    }
}

#[tokio::test]
async fn events_of_many_files_are_all_found() {
    let options = FacadeOptions { max_files: 4, ..FacadeOptions::default() };
    let facade = start_with(Generation::V3, options);
    let store = five_hours(&facade).await;
    for basis in [TimeBasis::Happened, TimeBasis::Received, TimeBasis::Either] {
        let filter = EventFilter {
            window: window(NOON, NOON + N_VALUES * MINUTE),
            basis,
            source_device: None,
            event_type: None,
            min_criticality: Criticality::new(1).unwrap(),
            limit: usize::MAX,
            offset: 0,
        };
        let found = store.events(filter).await.unwrap();
        let ids: Vec<u128> = found.iter().map(|record| record.event.id.as_uuid().unwrap().as_u128()).collect();
        assert_eq!(ids, (0..50).rev().collect::<Vec<_>>(), "{basis:?}");
    }
}
