//! Ground truth of the simulated fleet, recorded beside its data. One JSON object per line; readers ignore unknown
//! fields.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use spindle_core::name::DeviceName;
use spindle_core::timestamp::Timestamp;

/// Simulated fault. Time ranges include their start and exclude their end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Truth {
    /// Device that wears out, fails and is replaced. From `onset` its latency, temperature and (a disk's)
    /// sector counts rise; from `fails_at` (`DriveFailure`) to `replaced_at` (`DriveReplaced`) it is silent.
    WearOut {
        /// Device.
        device: DeviceName,
        /// Serial number of the failing device.
        serial: String,
        /// Cause.
        cause: WearCause,
        /// First sign.
        onset: Timestamp,
        /// Time of failure.
        fails_at: Timestamp,
        /// Time from which a new device reports under the same name.
        replaced_at: Timestamp,
        /// Final latency, as a multiple of normal.
        latency_factor: f64,
        /// Final temperature above normal.
        heat_celsius: f64,
        /// Number of reallocated sectors; 0 if the class does not report them.
        reallocated_sectors: f64,
        /// Id of the `DriveFailure`.
        event_id: Uuid,
    },
    /// Fan that stops (`FanFailure`) and restarts (`FanRestored`); meanwhile its enclosure heats up.
    FanFailure {
        /// Enclosure.
        enclosure: String,
        /// All its devices.
        devices: Vec<DeviceName>,
        /// Time of the stop.
        from: Timestamp,
        /// Time of the restart. The devices cool down over the following minutes.
        until: Timestamp,
        /// Temperature rise of the devices if it never restarted.
        heat_celsius: f64,
        /// Id of the `FanFailure`.
        event_id: Uuid,
    },
    /// Enclosure that loses its paths (`ShelfOffline`) and regains them (`ShelfOnline`).
    ShelfOffline {
        /// Enclosure.
        enclosure: String,
        /// Its disks, which are unreachable meanwhile.
        silent_devices: Vec<DeviceName>,
        /// Its arrays and gateways, which respond slowly because they wait for their disks.
        slow_devices: Vec<DeviceName>,
        /// Start of the outage.
        from: Timestamp,
        /// End of the outage.
        until: Timestamp,
        /// Id of the `ShelfOffline`.
        event_id: Uuid,
    },
    /// Device that fills up until it is cleaned up.
    FillsUp {
        /// Device.
        device: DeviceName,
        /// First time at which its capacity is watched: the start of the fleet.
        from: Timestamp,
        /// Time by which it has been cleaned up; at most an hour late.
        until: Timestamp,
        /// Mean growth in percent of the capacity.
        percent_per_hour: f64,
    },
    /// Device that works and reports nothing, and says nothing about it.
    Silence {
        /// Device.
        device: DeviceName,
        /// Start of the silence.
        from: Timestamp,
        /// Time from which it reports again.
        until: Timestamp,
    },
    /// Data found corrupt (`DataCorruption`), without other symptoms.
    Corruption {
        /// Device.
        device: DeviceName,
        /// Time of detection.
        at: Timestamp,
        /// 6 to 9.
        criticality: u8,
        /// Id of the event.
        event_id: Uuid,
    },
    /// Unauthorized access (`UnauthorizedAccess`), without other symptoms.
    UnauthorizedAccess {
        /// Device.
        device: DeviceName,
        /// Time of the access.
        at: Timestamp,
        /// 1 to 10.
        criticality: u8,
        /// Id of the event.
        event_id: Uuid,
    },
}

impl Truth {
    /// Returns the start.
    pub fn begins_at(&self) -> Timestamp {
        match self {
            Self::WearOut { onset, .. } => *onset,
            Self::FanFailure { from, .. }
            | Self::ShelfOffline { from, .. }
            | Self::FillsUp { from, .. }
            | Self::Silence { from, .. } => *from,
            Self::Corruption { at, .. } | Self::UnauthorizedAccess { at, .. } => *at,
        }
    }

    /// Returns the end.
    pub fn ends_at(&self) -> Timestamp {
        match self {
            Self::WearOut { replaced_at, .. } => *replaced_at,
            Self::FanFailure { until, .. }
            | Self::ShelfOffline { until, .. }
            | Self::FillsUp { until, .. }
            | Self::Silence { until, .. } => *until,
            Self::Corruption { at, .. } | Self::UnauthorizedAccess { at, .. } => *at,
        }
    }
}

/// Cause of a wear-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WearCause {
    /// Heads of a disk: slow, with many retries.
    HeadWear,
    /// Surface of a disk: mainly reallocated and pending sectors.
    MediaDegradation,
    /// Bearing of a disk: mainly heat.
    BearingWear,
    /// Capacitors of a disk or an array: mainly latency.
    CapacitorAgeing,
    /// Flash cells of an array: latency and some heat.
    FlashWear,
}

impl WearCause {
    /// Returns the cause as text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::HeadWear => "head wear",
            Self::MediaDegradation => "media degradation",
            Self::BearingWear => "bearing wear",
            Self::CapacitorAgeing => "capacitor ageing",
            Self::FlashWear => "flash wear",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_truth_reads_back() {
        let at = Timestamp::parse("2025-06-06T12:08:40.5Z").unwrap();
        let device = DeviceName::new("DiskUnit").unwrap();
        let truth = Truth::Corruption { device, at, criticality: 8, event_id: Uuid::from_u128(1) };
        let line = serde_json::to_string(&truth).unwrap();
        assert_eq!(
            line,
            r#"{"kind":"corruption","device":"DiskUnit","at":"2025-06-06T12:08:40.5Z","criticality":8,"event_id":"00000000-0000-0000-0000-000000000001"}"#
        );
        assert_eq!(serde_json::from_str::<Truth>(&line).unwrap(), truth);
    }
}
