//! Events: windows, filters, pages, and that no event overwrites another.

use std::sync::Arc;

use spindle_core::event_id::MAX_EVENT_ID_BYTES;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis};
use spindle_core::{Batch, Criticality, Event, EventId, EventType};

use crate::fixture::*;

pub(crate) async fn windows_go_by_the_time_asked_for(store: &Store) {
    // Happened and received: long ago and now, both now, now and later.
    for (id, happened, received) in [(1, 100, 1000), (2, 1000, 1000), (3, 1000, 2000)] {
        let event = event(id, "disk", "SmartWarning", happened, 5);
        store.write(batch(vec![], vec![event]), at(received)).await.unwrap();
    }
    let found = async |basis, from, until| ids(store, EventFilter { basis, ..events_in(window(from, until)) }).await;
    assert_eq!(found(TimeBasis::Happened, 100, 1000).await, [1]);
    assert_eq!(found(TimeBasis::Happened, 100, 1001).await, [3, 2, 1]);
    assert_eq!(found(TimeBasis::Happened, 101, 1000).await, [0; 0]);
    assert_eq!(found(TimeBasis::Received, 1000, 2000).await, [2, 1]);
    assert_eq!(found(TimeBasis::Received, 1001, 2001).await, [3]);
    assert_eq!(found(TimeBasis::Either, 1000, 1001).await, [3, 2, 1]);
    assert_eq!(found(TimeBasis::Either, 100, 101).await, [1]);
    assert_eq!(found(TimeBasis::Either, 2000, 2001).await, [3]);
    assert_eq!(found(TimeBasis::Either, 1001, 2000).await, [0; 0]);
}

pub(crate) async fn filters_narrow_by_device_type_and_criticality(store: &Store) {
    let events = (1..=40).map(|id| {
        let device = if id % 2 == 0 { "even" } else { "odd" };
        let event_type = if id % 4 < 2 { "SmartWarning" } else { "DriveFailure" };
        event(id, device, event_type, id as i64, (id % 10 + 1) as u64)
    });
    put_events(store, events.clone().collect()).await;
    for (name, event_type, level) in [
        (None, None, 1),
        (Some("odd"), None, 1),
        (None, Some("DriveFailure"), 5),
        (Some("even"), Some("DriveFailure"), 8),
        (None, None, 10),
        (Some("nobody"), None, 1),
    ] {
        let filter = EventFilter {
            source_device: name.map(device),
            event_type: event_type.map(|name| EventType::new(name).unwrap()),
            min_criticality: Criticality::new(level).unwrap(),
            ..events_in(window(3, 38))
        };
        let fits = |event: &Event| {
            filter.window.contains(event.timestamp)
                && filter.source_device.as_ref().is_none_or(|name| *name == event.source_device)
                && filter.event_type.as_ref().is_none_or(|name| *name == event.event_type)
                && event.criticality >= filter.min_criticality
        };
        let expect: Vec<u128> =
            events.clone().rev().filter(fits).map(|event| event.id.as_uuid().unwrap().as_u128()).collect();
        assert_eq!(ids(store, filter.clone()).await, expect, "{filter:?}");
        for basis in [TimeBasis::Received, TimeBasis::Either] {
            let filter = EventFilter { basis, window: window(NOON, NOON + 1), ..filter.clone() };
            let in_window = |event: &Event| Event { timestamp: at(3), ..event.clone() };
            let n_expected = events.clone().filter(|event| fits(&in_window(event))).count();
            assert_eq!(ids(store, filter.clone()).await.len(), n_expected, "{filter:?}");
        }
    }
}

pub(crate) async fn every_field_survives(store: &Store) {
    let mut full = event(u128::MAX, "Gehäuse 3/Ω", "Überhitzung", NOON + 1, 10);
    full.event_message = Some("line one\nline two, \"quoted\", 🔥, \\, nul \0 inside".to_owned());
    full.seq = Some(u64::MAX);
    full.labels = Some(Box::new(labels(&[("model", "ST 4000"), ("größe", "4 TB"), ("empty", "")])));
    let mut empty = event(0, "disk", "Note", NOON, 1);
    empty.event_message = Some(String::new());
    let bare = event(7, "disk", "Note", NOON - 1, 1);
    let expect = [full, empty, bare];
    put_events(store, expect.to_vec()).await;
    let stored = store.events(events_in(always())).await.unwrap();
    assert_eq!(stored, expect.map(|event| EventRecord { event, received: at(NOON) }));
}

pub(crate) async fn tens_of_thousands_in_one_second_are_all_there(store: &Store) {
    const N_EVENTS: u128 = 40_000;
    // Two of them at each instant, and the instants 20 µs apart.
    let all: Vec<_> =
        (0..N_EVENTS).map(|id| event(id, "disk", "SmartWarning", NOON + (id / 2) as i64 * 20_000, 9)).collect();
    for events in all.chunks(10_000) {
        put_events(store, events.to_vec()).await;
    }
    let mut found = Vec::new();
    loop {
        let page = EventFilter { limit: 17_000, offset: found.len(), ..events_in(window(NOON, NOON + SECOND)) };
        let ids = ids(store, page).await;
        if ids.is_empty() {
            break;
        }
        found.extend(ids);
    }
    assert!(found.into_iter().eq((0..N_EVENTS).rev()), "missing, double or out of order");
    let counted = store.count_events_by_device(events_in(window(NOON, NOON + SECOND))).await.unwrap();
    assert_eq!(counted, [(device("disk"), N_EVENTS as u64)]);
}

/// A burst stamped with one clock reading, down to the nanosecond; a part of it is redelivered in other batches and in
/// reverse order.
pub(crate) async fn tens_of_thousands_at_one_instant_are_all_there(store: &Store) {
    const N_EVENTS: usize = 40_000;
    const INSTANT: i64 = NOON + 987_654_321;
    // Ids as senders generate them: not consecutive.
    let id = |number: usize| (number as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let all: Vec<_> = (0..N_EVENTS).map(|number| event(id(number), "disk", "SmartWarning", INSTANT, 9)).collect();
    for events in all.chunks(10_000) {
        put_events(store, events.to_vec()).await;
    }
    for events in all[28_000..].chunks(7_000).rev() {
        put_events(store, events.iter().rev().cloned().collect()).await;
    }
    let found = ids(store, events_in(window(INSTANT, INSTANT + 1))).await;
    let mut expect: Vec<u128> = (0..N_EVENTS).map(id).collect();
    expect.sort_unstable_by(|one, other| other.cmp(one));
    assert!(found == expect, "{} of {N_EVENTS} found; missing, double or out of order", found.len());
}

pub(crate) async fn counts_per_device_ignore_limit_and_offset(store: &Store) {
    let events = (1..=30).map(|id| event(id, ["c", "a", "b"][id as usize % 3], "Note", id as i64, 1 + id as u64 % 10));
    put_events(store, events.collect()).await;
    let count = async |filter| {
        let counted = store.count_events_by_device(filter).await.unwrap();
        counted.into_iter().map(|(name, count)| (name.to_string(), count)).collect::<Vec<_>>()
    };
    let expect =
        |counts: &[(&str, u64)]| counts.iter().map(|(name, count)| (name.to_string(), *count)).collect::<Vec<_>>();
    let narrow = EventFilter { limit: 1, offset: 5, ..events_in(window(1, 30)) };
    assert_eq!(count(narrow.clone()).await, expect(&[("a", 10), ("b", 10), ("c", 9)]));
    let critical = EventFilter { min_criticality: Criticality::MAX, ..narrow.clone() };
    assert_eq!(count(critical).await, expect(&[("a", 1), ("b", 1), ("c", 1)]));
    assert_eq!(count(EventFilter { source_device: Some(device("b")), ..narrow }).await, expect(&[("b", 10)]));
}

/// A careless sender uses an id twice; two devices fail in the same instant.
pub(crate) async fn different_events_never_overwrite_each_other(store: &Store) {
    let events = vec![
        event(1, "disk", "SmartWarning", NOON, 5),
        event(2, "disk", "SmartWarning", NOON, 5),
        event(1, "other", "SmartWarning", NOON, 5),
        event(1, "disk", "DriveFailure", NOON, 5),
        event(1, "disk", "SmartWarning", NOON + 1, 5),
    ];
    let once = Arc::new(Batch { metrics: vec![], events });
    for n_expected in [5, 0] {
        assert_eq!(store.write(Arc::clone(&once), at(NOON)).await.unwrap().n_events, n_expected);
    }
    let stored = store.events(events_in(always())).await.unwrap();
    let expect = [4, 1, 2, 0, 3].map(|index| &once.events[index]);
    assert!(stored.iter().map(|record| &record.event).eq(expect), "{stored:#?}");
}

pub(crate) async fn ids_of_any_text_come_back_as_they_came(store: &Store) {
    const UUID: &str = "e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90";
    let ids = [
        UUID.to_owned(),
        UUID.to_uppercase(),
        UUID.replace('-', ""),
        "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        "42".to_owned(),
        "-42".to_owned(),
        " line one\nline two\r\t\u{7f}\0, \"quoted\", 🔥, \\, \u{29F5}\u{2400} ".to_owned(),
        "'; DROP SERIES".to_owned(),
        "x".repeat(MAX_EVENT_ID_BYTES),
        // The bytes of a UUID, as text.
        "sixteen bytes 16".to_owned(),
    ];
    let mut events: Vec<Event> = ids
        .iter()
        .map(|id| Event { id: EventId::new(id).unwrap(), ..event(0, "disk", "SmartWarning", NOON, 5) })
        .collect();
    for n_expected in [ids.len(), 0] {
        assert_eq!(put_events(store, events.clone()).await.n_events, n_expected);
    }
    events.sort_by(|one, other| other.id.cmp(&one.id));
    let stored = store.events(events_in(always())).await.unwrap();
    assert!(stored.iter().map(|record| &record.event).eq(&events), "{stored:#?}");
    let tally = store.tally(&[device("disk")], always()).await.unwrap().pop().unwrap();
    assert_eq!(tally.n_points(), ids.len() as u64);
}

/// Ids made of the clock, as many generators make them: no arithmetic on both may let two events meet.
pub(crate) async fn ids_that_follow_their_clock_are_all_there(store: &Store) {
    const N_EVENTS: i64 = 6_000;
    for (round, id_of) in [|time: i64| time << 1, |time: i64| time, |time: i64| -time].into_iter().enumerate() {
        let name = format!("disk {round}");
        let events = (0..N_EVENTS).map(|number| {
            let happened = NOON + number;
            let mut event = event(id_of(happened) as u128, &name, "SmartWarning", happened, 5);
            event.seq = Some(number.unsigned_abs());
            event
        });
        let written = put_events(store, events.collect()).await;
        assert_eq!(written.n_events, N_EVENTS as usize, "{name}");
        let tally = store.tally(&[device(&name)], always()).await.unwrap().pop().unwrap();
        assert_eq!((tally.n_points(), tally.totals()), (N_EVENTS as u64, (N_EVENTS as u64, 0, 0)), "{name}");
    }
}
