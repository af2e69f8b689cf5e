//! Enclosure: the air, fans and shelf paths that devices share.

use super::random::{Purpose, RandomStream};
use spindle_core::records::Window;
use spindle_core::timestamp::Timestamp;

/// Devices per enclosure. Small, so that a demonstration fleet of a few devices has healthy enclosures to compare a
/// faulty one with.
pub(super) const DEVICES_PER_ENCLOSURE: usize = 5;

/// Stopped fan.
#[derive(Clone, Copy, Debug)]
pub(super) struct FanFault {
    pub(super) window: Window,
    /// Final temperature rise of its devices.
    pub(super) heat_celsius: f64,
}

/// Enclosure and its planned faults.
#[derive(Clone, Debug)]
pub(super) struct Enclosure {
    pub(super) name: String,
    /// Temperature of its air above that of the room, by its position in the rack.
    air_rise_celsius: f64,
    fan_faults: Vec<FanFault>,
    outages: Vec<Window>,
}

impl Enclosure {
    pub(super) fn new(index: usize, seed: u64) -> Self {
        let mut random = RandomStream::new(seed, Purpose::Enclosure, index as u64);
        Self {
            name: format!("enclosure-{:02}", index + 1),
            air_rise_celsius: random.between(-1.0, 3.0),
            fan_faults: Vec::new(),
            outages: Vec::new(),
        }
    }

    /// Returns the temperature of its air in a room of `room_celsius`. A stopped fan counts as warmer air.
    pub(super) fn air_celsius(&self, room_celsius: f64, at: Timestamp) -> f64 {
        let faults = self.fan_faults.iter().filter(|fault| fault.window.contains(at));
        room_celsius + self.air_rise_celsius + faults.map(|fault| fault.heat_celsius).sum::<f64>()
    }

    /// Returns `true` if its paths are lost.
    pub(super) fn is_offline_at(&self, at: Timestamp) -> bool {
        self.outages.iter().any(|outage| outage.contains(at))
    }

    /// Plans a fan fault unless it would overlap another; returns `true` if planned.
    pub(super) fn plan_fan_fault(&mut self, fault: FanFault) -> bool {
        let is_free = self.fan_faults.iter().all(|other| !overlap(&other.window, &fault.window));
        if is_free {
            self.fan_faults.push(fault);
        }
        is_free
    }

    /// Plans an outage unless it would overlap another; returns `true` if planned.
    pub(super) fn plan_outage(&mut self, outage: Window) -> bool {
        let is_free = self.outages.iter().all(|other| !overlap(other, &outage));
        if is_free {
            self.outages.push(outage);
        }
        is_free
    }

    /// Drops faults that ended before `at`.
    pub(super) fn drop_before(&mut self, at: Timestamp) {
        self.fan_faults.retain(|fault| at < fault.window.until);
        self.outages.retain(|outage| at < outage.until);
    }
}

fn overlap(left: &Window, right: &Window) -> bool {
    left.from < right.until && right.from < left.until
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: i64, until: i64) -> Window {
        Window { from: Timestamp::from_seconds(from), until: Timestamp::from_seconds(until) }
    }

    #[test]
    fn faults_heat_the_air_and_do_not_overlap() {
        let mut enclosure = Enclosure::new(0, 1);
        let normal = enclosure.air_celsius(22.0, Timestamp::from_seconds(5));
        assert!(enclosure.plan_fan_fault(FanFault { window: window(10, 20), heat_celsius: 12.0 }));
        assert!(!enclosure.plan_fan_fault(FanFault { window: window(19, 25), heat_celsius: 12.0 }));
        assert_eq!(enclosure.air_celsius(22.0, Timestamp::from_seconds(10)), normal + 12.0);
        assert_eq!(enclosure.air_celsius(22.0, Timestamp::from_seconds(20)), normal);
        assert!(enclosure.plan_outage(window(10, 20)) && !enclosure.plan_outage(window(5, 11)));
        assert!(enclosure.is_offline_at(Timestamp::from_seconds(19)));
        enclosure.drop_before(Timestamp::from_seconds(20));
        assert!(enclosure.plan_outage(window(5, 11)));
    }
}
