//! Values of one device, type and nanosecond with different numbers: whoever writes them, the audit reports each number
//! that is lost between two others of its epoch.

use spindle_core::response::{AuditState, AuditedDevice};
use spindle_store::Store as Plain;

use crate::fixture::*;

/// Name, batches of (time, number), and the number that is lost.
type Case = (&'static str, &'static [&'static [(i64, u64)]], u64);

/// Batches of one device as (time, number), and the number that is lost. Numbers 1 and 5 surround it.
const CASES: [Case; 8] = [
    ("in one batch", &[&[(5, 1), (10, 2), (10, 3), (20, 4), (30, 5)]], 2),
    ("in one batch, with another value in between", &[&[(5, 1), (10, 2), (20, 4), (10, 3), (30, 5)]], 2),
    ("in the next batch", &[&[(5, 1), (20, 4), (10, 2)], &[(10, 3), (30, 5)]], 2),
    ("in the next batch, the smaller number last", &[&[(5, 1), (20, 4), (10, 3)], &[(10, 2), (30, 5)]], 3),
    ("with another value in the same batch", &[&[(5, 1), (10, 2), (20, 4)], &[(10, 3), (30, 5)]], 2),
    ("with another value in a batch in between", &[&[(5, 1), (10, 2)], &[(20, 4)], &[(10, 3), (30, 5)]], 2),
    ("with the largest number stored before", &[&[(5, 1), (30, 5), (10, 2)], &[(20, 4)], &[(10, 3)]], 2),
    ("with the first one delivered again", &[&[(5, 1), (10, 2)], &[(20, 4), (10, 3)], &[(10, 2), (30, 5)]], 3),
];

/// Processes that write the batches of a case.
#[derive(Clone, Copy, Debug)]
enum Writers {
    One,
    /// A new process for each batch.
    Restarted,
    /// Two processes in turn.
    TwoInTurn,
    /// A process for each batch, all at once.
    AllAtOnce,
}

fn values(name: &str, numbers: &[(i64, u64)]) -> Vec<spindle_core::DeviceMetric> {
    let value = |(time, seq): &(i64, u64)| {
        let mut metric = metric(name, "IOPs", *time, *seq as f64);
        metric.seq = Some(*seq);
        metric
    };
    numbers.iter().map(value).collect()
}

async fn put(place: &impl Place, writers: Writers, name: &str, batches: &[&[(i64, u64)]]) {
    match writers {
        Writers::One => {
            let store = place.open().await;
            for numbers in batches {
                put_metrics(&store, values(name, numbers)).await;
            }
            store.close().await.unwrap();
        }
        Writers::Restarted => {
            for numbers in batches {
                let store = place.open().await;
                put_metrics(&store, values(name, numbers)).await;
                store.close().await.unwrap();
            }
        }
        Writers::TwoInTurn => {
            let stores = [place.open().await, place.open().await];
            for (numbers, store) in batches.iter().zip(stores.iter().cycle()) {
                put_metrics(store, values(name, numbers)).await;
            }
        }
        Writers::AllAtOnce => {
            let write = async |numbers: &[(i64, u64)]| {
                put_metrics(&place.open().await, values(name, numbers)).await;
            };
            futures::future::join_all(batches.iter().map(|numbers| write(numbers))).await;
        }
    }
}

/// Returns the missing numbers as `audit_gaps` finds them: those outside the window are looked for, too.
async fn missing(store: &Plain, name: &str) -> Vec<u64> {
    let mut tally = store.tally(&[device(name)], window(0, 100)).await.unwrap().pop().unwrap();
    if let Some(gaps) = tally.gaps() {
        tally = store.sequences(&device(name), always(), gaps, tally).await.unwrap();
    }
    let missing: Vec<u64> = tally
        .findings()
        .into_iter()
        .flat_map(|finding| finding.missing)
        .flat_map(|missing| missing.from..=missing.to)
        .collect();
    let state = AuditedDevice::new(device(name), &tally).state;
    assert_eq!(state, if missing.is_empty() { AuditState::Complete } else { AuditState::Gaps }, "{name}");
    missing
}

async fn check(place: &impl Place, all_writers: &[Writers]) {
    for writers in all_writers {
        for (case, batches, lost) in CASES {
            let name = format!("{case}, {writers:?}");
            put(place, *writers, &name, batches).await;
            let store = place.open().await;
            let missing = missing(&store, &name).await;
            match writers {
                // The later of the two that meet is any of them.
                Writers::AllAtOnce => assert!(missing == [2] || missing == [3], "{name}: {missing:?}"),
                _ => assert_eq!(missing, [lost], "{name}"),
            }
            store.close().await.unwrap();
        }
    }
}

pub(crate) async fn cost_a_number_that_is_reported_over_restarts(place: &impl Place) {
    check(place, &[Writers::One, Writers::Restarted]).await;
}

pub(crate) async fn cost_a_number_that_is_reported_with_several_writers(place: &impl Place) {
    check(place, &[Writers::TwoInTurn, Writers::AllAtOnce]).await;
}
