//! Arrival of a device's values, as far as it bears on a question.

use anyhow::Result;
use spindle_core::health;
use spindle_core::records::{Arrival, Window};
use spindle_core::{DeviceName, Timestamp};
use spindle_store::Store;

use crate::clock;

/// Returns `true` if a question is about the past. The time of arrival then says nothing: a recording of 2013 that
/// arrived today can be judged as of 2013.
pub(super) fn is_past(until: Timestamp) -> bool {
    clock::now() > until.plus(health::CLOCK_TOLERANCE)
}

/// Returns the newest arrival of each device within [`health::FAULT_LOOKBACK`] before a question.
pub(super) async fn last_of(store: &Store, devices: &[DeviceName], until: Timestamp) -> Result<Vec<Option<Arrival>>> {
    let from = until.minus(health::FAULT_LOOKBACK);
    let window = Window { from, until: until.plus(health::CLOCK_TOLERANCE) };
    Ok(store.last_arrivals(devices, window).await?)
}

/// Returns [`last_of`] one device.
pub(super) async fn last(store: &Store, device: &DeviceName, until: Timestamp) -> Result<Option<Arrival>> {
    Ok(last_of(store, std::slice::from_ref(device), until).await?.pop().flatten())
}

/// Returns the seconds by which a device's clock is ahead of ours, if the two disagree.
pub(super) fn clock_offset_seconds(arrival: Option<Arrival>) -> Option<f64> {
    arrival.filter(|arrival| health::clock_disagrees(*arrival)).map(|arrival| arrival.clock_offset_seconds().round())
}
