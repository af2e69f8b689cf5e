//! Events by their arrival: none is missing, none is double, whatever shares an instant with it.

use spindle_core::records::{EventFilter, TimeBasis};
use spindle_core::{Criticality, Event};

use crate::fixture::*;

fn arrived(from: i64, until: i64) -> EventFilter {
    EventFilter { basis: TimeBasis::Received, ..events_in(window(from, until)) }
}

/// They share device, type and arrival, also with those of other batches.
pub(crate) async fn at_one_instant_are_all_found(store: &Store) {
    const N_EVENTS: u128 = 3_000;
    let all: Vec<Event> =
        (0..N_EVENTS).map(|id| event(id, "disk", "Note", NOON - id as i64 * 3_600 * SECOND, 5)).collect();
    for events in all.chunks(700) {
        put_events(store, events.to_vec()).await;
    }
    let expect: Vec<u128> = (0..N_EVENTS).collect();
    assert!(ids(store, arrived(NOON, NOON + 1)).await == expect);
    assert_eq!(
        store.count_events_by_device(arrived(NOON, NOON + 1)).await.unwrap(),
        [(device("disk"), N_EVENTS as u64)]
    );
    assert_eq!(ids(store, arrived(NOON + 1, NOON + DAY)).await, [0; 0]);
    assert_eq!(ids(store, arrived(NOON - DAY, NOON)).await, [0; 0]);
    // A delivery later than the first changes nothing.
    store.write(batch(vec![], all[..50].to_vec()), at(NOON + SECOND)).await.unwrap();
    assert!(ids(store, arrived(NOON, NOON + 2 * SECOND)).await == expect);
    assert_eq!(ids(store, arrived(NOON + 1, NOON + 2 * SECOND)).await, [0; 0]);
}

/// Ten thousand years are the other end of what can be late.
pub(crate) async fn of_late_events_are_found_with_every_filter(store: &Store) {
    let events = (1..=40).map(|id| {
        let device = if id % 2 == 0 { "even" } else { "odd" };
        event(id, device, if id % 4 < 2 { "Note" } else { "Fault" }, (id as i64 - 20) * 100 * DAY, (id % 10 + 1) as u64)
    });
    store.write(batch(vec![], events.clone().collect()), at(NOON)).await.unwrap();
    put_events(store, vec![event(50, "even", "Note", NOON - 5, 10)]).await;
    for basis in [TimeBasis::Received, TimeBasis::Either] {
        for (name, level) in [(None, 1), (None, 8), (Some("even"), 1), (Some("odd"), 9), (Some("nobody"), 1)] {
            let filter = EventFilter {
                basis,
                source_device: name.map(device),
                min_criticality: Criticality::new(level).unwrap(),
                ..events_in(window(NOON - 10, NOON + 10))
            };
            let fits = |event: &Event| {
                event.criticality >= filter.min_criticality && name.is_none_or(|name| *name == *event.source_device)
            };
            let late = events.clone().filter(fits).map(|event| event.id.as_uuid().unwrap().as_u128());
            let mut expect: Vec<u128> = late.collect();
            expect.extend((name != Some("odd") && name != Some("nobody")).then_some(50));
            expect.reverse();
            assert_eq!(ids(store, filter.clone()).await, expect, "{filter:?}");
            let count: u64 = store.count_events_by_device(filter).await.unwrap().iter().map(|(_, count)| count).sum();
            assert_eq!(count, expect.len() as u64);
        }
    }
}

/// Late events come in between two polls: each page, and each poll, has what the window holds by then.
pub(crate) async fn are_paged_while_late_events_come_in(store: &Store) {
    put_events(store, (0..30).map(|id| event(id, "disk", "Note", NOON - 1_000 + id as i64, 9)).collect()).await;
    let poll = |until| EventFilter { basis: TimeBasis::Either, ..events_in(window(NOON - 900 * SECOND, until)) };
    let pages = async |until| {
        let mut found = Vec::new();
        loop {
            let page = ids(store, EventFilter { limit: 7, offset: found.len(), ..poll(until) }).await;
            if page.is_empty() {
                return found;
            }
            found.extend(page);
        }
    };
    let first = pages(NOON + 1).await;
    assert_eq!(first, (0..30).rev().collect::<Vec<_>>());
    let late = (100..120).map(|id| event(id, "disk", "Note", (id as i64 - 110) * 365 * DAY, 9)).collect();
    store.write(batch(vec![], late), at(NOON + 10 * SECOND)).await.unwrap();
    // The window of the first poll is pinned: its pages do not shift.
    assert_eq!(pages(NOON + 1).await, first);
    let second = pages(NOON + 11 * SECOND).await;
    let mut sorted = second.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..30).chain(100..120).collect::<Vec<_>>(), "{second:?}");
}
