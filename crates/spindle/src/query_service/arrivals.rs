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

/// Returns the seconds by which a device's clock is ahead of ours, if the two disagree.
pub(super) fn clock_offset_seconds(arrival: Option<Arrival>) -> Option<f64> {
    arrival.filter(|arrival| health::clock_disagrees(*arrival)).map(|arrival| arrival.clock_offset_seconds().round())
}

/// Returns the time at which the newest values arrived. The store notes arrivals some seconds apart; what a sender whose
/// clock agrees with ours has measured since (`newest`) has arrived since. Events do not count: a device sends no
/// decisions about itself.
pub(super) fn last_received(arrival: Option<Arrival>, newest: Option<Timestamp>) -> Option<Timestamp> {
    let arrival = arrival?;
    let since = newest.filter(|_| !health::clock_disagrees(arrival)).map(|time| time.min(clock::now()));
    Some(since.map_or(arrival.received, |since| arrival.received.max(since)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_received_before_it_is_measured() {
        let at = |seconds_ago| clock::now().minus(Duration::from_secs(seconds_ago));
        let (received, measured, seen) = (at(20), at(21), at(12));
        assert_eq!(last_received(Some(Arrival { received, measured }), Some(seen)), Some(seen));
        assert_eq!(last_received(Some(Arrival { received, measured }), Some(at(30))), Some(received));
        let ahead = clock::now().plus(Duration::from_secs(86_400));
        assert_eq!(last_received(Some(Arrival { received, measured: ahead }), Some(ahead)), Some(received));
        assert_eq!(last_received(None, Some(seen)), None);
    }
}
