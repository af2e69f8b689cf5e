//! Contents of the store, read with `spindle-store`, which its conformance suite covers.

use anyhow::Result;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::{Criticality, DeviceName, MetricType, Timestamp};
use spindle_store::Store;

const EVERYTHING: usize = 1_000_000;

/// All times that every store can hold.
fn always() -> Window {
    Window {
        from: Timestamp::from_ns(-9_000_000_000_000_000_000),
        until: Timestamp::from_ns(9_000_000_000_000_000_000),
    }
}

/// Counts the stored values of one metric over these devices.
pub(super) async fn count_values(store: &Store, devices: &[String], metric: &str) -> Result<usize> {
    let (metric, mut n_values) = (MetricType::new(metric)?, 0);
    for device in devices {
        n_values += store.range(&DeviceName::new(device)?, &metric, always(), EVERYTHING).await?.len();
    }
    Ok(n_values)
}

/// Returns all stored events.
pub(super) async fn events(store: &Store) -> Result<Vec<EventRecord>> {
    let lowest = Criticality::new(1).expect("1 is a criticality");
    let filter = EventFilter {
        window: always(),
        basis: TimeBasis::Happened,
        source_device: None,
        event_type: None,
        min_criticality: lowest,
        limit: EVERYTHING,
        offset: 0,
    };
    Ok(store.events(filter).await?)
}
