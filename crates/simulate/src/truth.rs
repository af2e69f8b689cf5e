//! What is really going on in the simulated fleet, to be written down beside what it reports. One JSON
//! object per line; readers ignore fields they do not know.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use spindle_core::name::DeviceName;
use spindle_core::timestamp::Timestamp;

/// One thing that is simulated. Stretches of time include their beginning and exclude their end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Truth {
    /// A device wears out, fails and is replaced. From `onset` its latency, temperature and (a disk's)
    /// sector counts rise; from `fails_at` (`DriveFailure`) to `replaced_at` (`DriveReplaced`) it is silent.
    WearOut {
        /// Which device.
        device: DeviceName,
        /// Serial number of the one that fails.
        serial: String,
        /// Why.
        cause: WearCause,
        /// The first sign.
        onset: Timestamp,
        /// When it fails.
        fails_at: Timestamp,
        /// When a new one reports, under the same name.
        replaced_at: Timestamp,
        /// Latency at the end, as a multiple of normal.
        latency_factor: f64,
        /// How much hotter than normal it is at the end.
        heat_celsius: f64,
        /// How many sectors it gives up; 0 where the class does not report them.
        reallocated_sectors: f64,
        /// Id of the `DriveFailure`.
        event_id: Uuid,
    },
    /// A fan stops (`FanFailure`) and runs again (`FanRestored`); meanwhile its enclosure heats up.
    FanFailure {
        /// Which enclosure.
        enclosure: String,
        /// All that it holds.
        devices: Vec<DeviceName>,
        /// When it stops.
        from: Timestamp,
        /// When it runs again. The devices cool down over the minutes after.
        until: Timestamp,
        /// How much hotter the devices would become if it never ran again.
        heat_celsius: f64,
        /// Id of the `FanFailure`.
        event_id: Uuid,
    },
    /// An enclosure loses its paths (`ShelfOffline`) and gets them back (`ShelfOnline`).
    ShelfOffline {
        /// Which enclosure.
        enclosure: String,
        /// Its disks, which cannot be asked meanwhile.
        silent_devices: Vec<DeviceName>,
        /// Its arrays and gateways, which answer, but wait for their disks.
        slow_devices: Vec<DeviceName>,
        /// When it goes.
        from: Timestamp,
        /// When it is back.
        until: Timestamp,
        /// Id of the `ShelfOffline`.
        event_id: Uuid,
    },
    /// Data found corrupt (`DataCorruption`). Nothing else shows.
    Corruption {
        /// Which device.
        device: DeviceName,
        /// When it is found.
        at: Timestamp,
        /// 6 to 9.
        criticality: u8,
        /// Id of the event.
        event_id: Uuid,
    },
    /// Access without authority (`UnauthorizedAccess`). Nothing else shows.
    UnauthorizedAccess {
        /// Which device.
        device: DeviceName,
        /// When it happens.
        at: Timestamp,
        /// 1 to 10.
        criticality: u8,
        /// Id of the event.
        event_id: Uuid,
    },
}

impl Truth {
    /// When it begins.
    pub fn begins_at(&self) -> Timestamp {
        match self {
            Self::WearOut { onset, .. } => *onset,
            Self::FanFailure { from, .. } | Self::ShelfOffline { from, .. } => *from,
            Self::Corruption { at, .. } | Self::UnauthorizedAccess { at, .. } => *at,
        }
    }

    /// When it is over.
    pub fn ends_at(&self) -> Timestamp {
        match self {
            Self::WearOut { replaced_at, .. } => *replaced_at,
            Self::FanFailure { until, .. } | Self::ShelfOffline { until, .. } => *until,
            Self::Corruption { at, .. } | Self::UnauthorizedAccess { at, .. } => *at,
        }
    }
}

/// Why a device wears out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WearCause {
    /// A disk's heads: slow, with many retries.
    HeadWear,
    /// A disk's surface: above all reallocated and pending sectors.
    MediaDegradation,
    /// A disk's bearing: above all heat.
    BearingWear,
    /// Capacitors of a disk or an array: above all latency.
    CapacitorAgeing,
    /// An array's flash cells: latency and some heat.
    FlashWear,
}

impl WearCause {
    /// In words.
    pub const fn words(self) -> &'static str {
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
