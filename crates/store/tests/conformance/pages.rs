//! Pages of events: whatever limit and offset are, a page is the slice of the whole result.

use spindle_core::Criticality;
use spindle_core::records::{EventFilter, TimeBasis};

use crate::fixture::*;

/// Events of whole seconds, whose places are up to a second later and in no order of their own; of one instant; late
/// ones, and ones of a clock that is ahead.
pub(crate) async fn of_every_size_add_up(store: &Store) {
    let happened = |id: i64| match id % 5 {
        0 => NOON - id / 100 * SECOND,
        1 => NOON - 7 * SECOND + 11,
        2 => NOON - id * 20_000_000 + 3,
        3 => NOON - DAY - id / 50 * SECOND,
        _ => NOON + DAY + id * 7,
    };
    let level = |id: i64| if id % 37 == 0 { 10 } else { 1 + id.unsigned_abs() % 7 };
    let event =
        |id: i64| event(id.unsigned_abs().into(), ["a", "b", "c"][id as usize % 3], "Note", happened(id), level(id));
    for (round, ids) in (0..3_000).collect::<Vec<i64>>().chunks(500).enumerate() {
        let events = ids.iter().map(|id| event(*id)).collect();
        store.write(batch(vec![], events), at(NOON - 30 * SECOND + round as i64 * 10 * SECOND)).await.unwrap();
    }
    for basis in [TimeBasis::Happened, TimeBasis::Received, TimeBasis::Either] {
        for (from, until) in
            [(NOON - 60 * SECOND, NOON + 1), (NOON - 12 * SECOND, NOON - SECOND), (NOON - 2 * DAY, NOON + 2 * DAY)]
        {
            for (level, name) in [(1, None), (8, None), (1, Some("b"))] {
                let all = EventFilter {
                    basis,
                    min_criticality: Criticality::new(level).unwrap(),
                    source_device: name.map(device),
                    ..events_in(window(from, until))
                };
                let whole = ids(store, all.clone()).await;
                for (offset, limit) in [
                    (0, 1),
                    (0, 10),
                    (3, 100),
                    (whole.len() / 2, 40),
                    (whole.len().saturating_sub(3), 10),
                    (0, whole.len()),
                    (whole.len(), 5),
                    (5, 0),
                ] {
                    let page = ids(store, EventFilter { limit, offset, ..all.clone() }).await;
                    let expect: Vec<u128> = whole.iter().skip(offset).take(limit).copied().collect();
                    assert_eq!(
                        page,
                        expect,
                        "{basis:?} {from} {until} {level} {name:?}, {limit} from {offset} of {}",
                        whole.len()
                    );
                }
            }
        }
    }
}
