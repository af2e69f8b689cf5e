//! Newest arrival of values per device, as last written to a store: written again only when it has become outdated.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use spindle_core::Timestamp;
use spindle_core::records::Arrival;

use crate::remembered::Remembered;

/// Age from which on a written arrival is outdated, and difference of clock offsets likewise: far below the shortest
/// silence that counts, and one small row per device in this time.
const FRESH: Duration = Duration::from_secs(10);
/// Enough for 229,376 devices.
const N_SLOTS: usize = 1 << 18;

/// Arrivals written, by device.
#[derive(Debug)]
pub(crate) struct KnownArrivals(Remembered<Arrival>);

impl Default for KnownArrivals {
    fn default() -> Self {
        Self(Remembered::new(N_SLOTS))
    }
}

impl KnownArrivals {
    /// Returns `true` if an arrival must be written.
    pub(crate) fn is_outdated(&self, device: &impl Hash, arrival: Arrival) -> bool {
        let seconds = FRESH.as_secs_f64();
        self.0.get(self.0.key(device)).is_none_or(|known| {
            let age = arrival.received.seconds_since(known.received);
            !(0.0..seconds).contains(&age)
                || (arrival.clock_offset_seconds() - known.clock_offset_seconds()).abs() >= seconds
        })
    }

    /// Records an arrival as written.
    pub(crate) fn record(&mut self, device: &impl Hash, arrival: Arrival) {
        let key = self.0.key(device);
        self.0.insert(key, arrival);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
pub(crate) fn max_bytes() -> usize {
    Remembered::<Arrival>::max_bytes(N_SLOTS)
}

/// Collects the newest time of measurement per device of one write.
pub(crate) fn newest_per_device<Device: Hash + Eq>(
    values: impl Iterator<Item = (Device, Timestamp)>,
    received: Timestamp,
) -> HashMap<Device, Arrival> {
    let mut newest: HashMap<Device, Arrival> = HashMap::new();
    for (device, measured) in values {
        let arrival = newest.entry(device).or_insert(Arrival { received, measured });
        arrival.measured = arrival.measured.max(measured);
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_written_when_it_or_the_clock_has_moved() {
        let arrival = |received, measured| Arrival {
            received: Timestamp::from_seconds(received),
            measured: Timestamp::from_seconds(measured),
        };
        let mut known = KnownArrivals::default();
        assert!(known.is_outdated(&"disk", arrival(100, 100)));
        known.record(&"disk", arrival(100, 100));
        assert!(!known.is_outdated(&"disk", arrival(109, 108)));
        assert!(known.is_outdated(&"disk", arrival(110, 110)));
        assert!(known.is_outdated(&"disk", arrival(101, 90)), "its clock jumped");
        assert!(known.is_outdated(&"disk", arrival(99, 99)), "our clock went back");
        assert!(known.is_outdated(&"other", arrival(101, 101)));
    }
}
