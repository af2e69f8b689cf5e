//! Faults of the simulator, by device and time.

use std::collections::HashMap;
use std::time::Duration;

use spindle_core::judge::events::DEVICE_SLOW;
use spindle_core::{DeviceName, Timestamp};
use spindle_simulate::Truth;

/// Time after a stopped fan runs again until its devices are as cool as before: four thermal time constants.
const COOL_DOWN: Duration = Duration::from_secs(2_400);
/// Time after the end of another fault in which a page may still be about it.
const AFTERMATH: Duration = Duration::from_secs(300);

pub(super) const FAN_FAILURE: &str = "fan failure";
pub(super) const SHELF_OUTAGE: &str = "shelf outage";

/// Symptoms of warm air.
const OF_HEAT: [&str; 3] = ["DiskTemp", "temperature", "FanFailure"];
/// Symptoms of devices that wait for a shelf, or are silent with it.
const OF_WAITING: [&str; 11] = [
    "Latency",
    "latency",
    "load",
    "IOPs",
    "Utilization",
    "QueueDepth",
    "ReadThroughput",
    "WriteThroughput",
    "silence",
    "ShelfOffline",
    DEVICE_SLOW,
];
/// Metrics that no wear changes.
const OF_USE: [&str; 2] = ["CapacityUsed", "PowerOnHours"];

/// Fault with the devices that it affects.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Cause of a wear-out, otherwise the type of the fault.
    pub(super) kind: &'static str,
    pub(super) devices: Vec<DeviceName>,
    pub(super) from: Timestamp,
    /// Failure of a drive that wears out; end of any other fault.
    pub(super) until: Timestamp,
    /// Time up to which it explains a page.
    pub(super) settled: Timestamp,
}

impl Fault {
    /// Returns the fault; `None` for an event without other symptoms, which the device reports and nobody can foresee.
    pub(super) fn of(truth: Truth) -> Option<Self> {
        Some(match truth {
            Truth::WearOut { device, cause, onset, fails_at, replaced_at, .. } => Self {
                kind: cause.text(),
                devices: vec![device],
                from: onset,
                until: fails_at,
                settled: replaced_at.plus(AFTERMATH),
            },
            Truth::FanFailure { devices, from, until, .. } => {
                Self { kind: FAN_FAILURE, devices, from, until, settled: until.plus(COOL_DOWN) }
            }
            Truth::ShelfOffline { mut silent_devices, slow_devices, from, until, .. } => {
                silent_devices.extend(slow_devices);
                Self { kind: SHELF_OUTAGE, devices: silent_devices, from, until, settled: until.plus(AFTERMATH) }
            }
            // Only a fleet with a past fills up or falls silent.
            Truth::FillsUp { .. }
            | Truth::Silence { .. }
            | Truth::Corruption { .. }
            | Truth::UnauthorizedAccess { .. } => return None,
        })
    }

    /// Returns `true` if the fault shows itself in a metric, a family of metrics, or an event type.
    fn is_symptom(&self, name: &str) -> bool {
        match self.kind {
            FAN_FAILURE => OF_HEAT.contains(&name),
            SHELF_OUTAGE => OF_WAITING.contains(&name),
            _ => !OF_USE.contains(&name),
        }
    }

    /// Returns `true` if a single drive wears out.
    pub(super) fn is_wear_out(&self) -> bool {
        self.kind != FAN_FAILURE && self.kind != SHELF_OUTAGE
    }
}

/// Faults in order of their planning; their places are stable.
#[derive(Debug, Default)]
pub(super) struct Faults {
    all: Vec<Fault>,
    /// Places of the faults of a device that are not settled yet.
    by_device: HashMap<DeviceName, Vec<usize>>,
}

impl Faults {
    /// Adds a fault and returns its place.
    pub(super) fn push(&mut self, fault: Fault) -> usize {
        let place = self.all.len();
        for device in &fault.devices {
            self.by_device.entry(device.clone()).or_default().push(place);
        }
        self.all.push(fault);
        place
    }

    pub(super) fn all(&self) -> &[Fault] {
        &self.all
    }

    /// Returns the place of the fault that explains a page or finding about a device, the newest of several. A fault of a
    /// place explains its own symptoms and no others. Of these, heat while a fan stands still and a latency at its limit
    /// while the shelf is away are no finding of a drive that wears out beside; everything else is. With nothing to
    /// explain, `about` is empty.
    pub(super) fn explaining(&mut self, device: &DeviceName, now: Timestamp, about: &str) -> Option<usize> {
        let Self { all, by_device } = self;
        let places = by_device.get_mut(device)?;
        places.retain(|place| now <= all[*place].settled);
        let rank = |fault: &Fault| match (fault.kind, about) {
            (FAN_FAILURE, "DiskTemp") | (SHELF_OUTAGE, "Latency") => Some(2),
            _ if !about.is_empty() && !about.split(',').any(|symptom| fault.is_symptom(symptom)) => None,
            (FAN_FAILURE | SHELF_OUTAGE, _) => Some(0),
            _ => Some(1),
        };
        let begun = places.iter().filter(|place| all[**place].from <= now);
        let explaining = begun.filter_map(|place| Some((rank(&all[*place])?, all[*place].from, *place)));
        explaining.max().map(|(.., place)| place)
    }
}

#[cfg(test)]
mod tests {
    use spindle_core::judge::events::FAILURE_PREDICTED;

    use super::*;

    fn fault(kind: &'static str, from: i64, until: i64, settled: i64) -> Fault {
        let [from, until, settled] = [from, until, settled].map(Timestamp::from_seconds);
        Fault { kind, devices: vec![DeviceName::new("d").unwrap()], from, until, settled }
    }

    #[test]
    fn heat_is_of_the_fan_and_a_prediction_of_the_drive() {
        let mut faults = Faults::default();
        for fault in [fault("bearing wear", 100, 900, 1000), fault(FAN_FAILURE, 200, 300, 400)] {
            faults.push(fault);
        }
        let device = DeviceName::new("d").unwrap();
        let mut explaining = |second, finding| faults.explaining(&device, Timestamp::from_seconds(second), finding);
        assert_eq!(explaining(99, "HealthChanged"), None);
        assert_eq!(explaining(150, "HealthChanged"), Some(0));
        assert_eq!(explaining(400, "DiskTemp"), Some(1));
        assert_eq!(explaining(400, FAILURE_PREDICTED), Some(0));
        assert_eq!(explaining(400, "DeviceSlow"), Some(0));
        assert_eq!(explaining(401, "DiskTemp"), Some(0));
        assert_eq!(explaining(1001, FAILURE_PREDICTED), None);
    }

    #[test]
    fn a_fault_of_a_place_explains_its_own_symptoms_alone() {
        let device = DeviceName::new("d").unwrap();
        for (kind, explained, others) in [
            (FAN_FAILURE, ["DiskTemp", "latency,temperature", ""], ["DeviceSlow", "latency", "smart_5_raw"]),
            (SHELF_OUTAGE, ["Latency", "DeviceSlow", ""], ["DiskTemp", FAILURE_PREDICTED, "temperature"]),
            (
                "head wear",
                ["smart_5_raw", "DeviceSlow", "temperature"],
                ["CapacityUsed", "PowerOnHours", "CapacityUsed"],
            ),
        ] {
            let mut faults = Faults::default();
            faults.push(fault(kind, 100, 900, 1000));
            let mut explaining = |about| faults.explaining(&device, Timestamp::from_seconds(500), about);
            assert_eq!(explained.map(&mut explaining), [Some(0); 3], "{kind}");
            assert_eq!(others.map(&mut explaining), [None; 3], "{kind}");
        }
    }
}
