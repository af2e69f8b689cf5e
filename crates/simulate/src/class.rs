//! Classes of devices and their common properties.

/// Classes by device index, repeating: 70 % disks, 20 % arrays, 10 % gateways, one of each among the first three, and an
/// array in every enclosure of five.
const CLASS_PATTERN: [Class; 10] = {
    use Class::{CloudStorage as C, DiskUnit as D, StorageArray as A};
    [D, A, C, D, D, D, A, D, D, D]
};

/// Class of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    DiskUnit,
    StorageArray,
    /// Cloud storage behind a gateway appliance in the rack, whose temperature it reports.
    CloudStorage,
}

/// Common properties of a class. Pairs are ranges to draw from.
pub(super) struct ClassTraits {
    pub(super) name: &'static str,
    pub(super) serial_prefix: char,
    /// Model names with their capacity in bytes.
    pub(super) models: &'static [(&'static str, u64)],
    /// Time of one request on an idle device.
    pub(super) service_ms: (f64, f64),
    /// Spread of the logarithm of the latency.
    pub(super) latency_spread: f64,
    /// Requests per second at full utilization.
    pub(super) max_iops: (f64, f64),
    /// Mean size of a request.
    pub(super) request_bytes: (f64, f64),
    /// Temperature above that of the air when idle.
    pub(super) idle_rise_celsius: (f64, f64),
    /// Further temperature rise at full utilization.
    pub(super) busy_rise_celsius: (f64, f64),
    pub(super) load_scale: f64,
}

const TERABYTE: u64 = 1_000_000_000_000;

/// Single hard disk: milliseconds, a few hundred requests a second.
const DISK_UNIT: ClassTraits = ClassTraits {
    name: "DiskUnit",
    serial_prefix: 'D',
    models: &[
        ("Ferrum HD4", 4 * TERABYTE),
        ("Ferrum HD8", 8 * TERABYTE),
        ("Ferrum HD16", 16 * TERABYTE),
        ("Basalt X20", 20 * TERABYTE),
    ],
    service_ms: (4.0, 7.0),
    latency_spread: 0.09,
    max_iops: (180.0, 260.0),
    request_bytes: (48e3, 160e3),
    idle_rise_celsius: (6.0, 9.0),
    busy_rise_celsius: (11.0, 16.0),
    load_scale: 1.0,
};

/// Shelf of flash behind two controllers.
const STORAGE_ARRAY: ClassTraits = ClassTraits {
    name: "StorageArray",
    serial_prefix: 'A',
    models: &[("Massif A200", 200 * TERABYTE), ("Massif A500", 500 * TERABYTE)],
    service_ms: (0.5, 1.1),
    latency_spread: 0.12,
    max_iops: (40e3, 120e3),
    request_bytes: (12e3, 32e3),
    idle_rise_celsius: (5.0, 8.0),
    busy_rise_celsius: (10.0, 14.0),
    load_scale: 1.05,
};

/// Object storage over a wide-area link, through a gateway with less load than the rest.
const CLOUD_STORAGE: ClassTraits = ClassTraits {
    name: "CloudStorage",
    serial_prefix: 'C',
    models: &[("Cirrus Gateway 2", 1_000 * TERABYTE), ("Cirrus Gateway 4", 2_000 * TERABYTE)],
    service_ms: (10.0, 16.0),
    latency_spread: 0.18,
    max_iops: (3e3, 9e3),
    request_bytes: (64e3, 256e3),
    idle_rise_celsius: (4.0, 7.0),
    busy_rise_celsius: (8.0, 12.0),
    load_scale: 0.8,
};

impl Class {
    /// Returns the class of the device with an index, independent of the size of the fleet.
    pub(super) fn of(index: usize) -> Self {
        CLASS_PATTERN[index % CLASS_PATTERN.len()]
    }

    /// Returns the name, as in device names and labels.
    pub(super) fn name(self) -> &'static str {
        self.traits().name
    }

    /// Returns the common properties.
    pub(super) fn traits(self) -> &'static ClassTraits {
        match self {
            Self::DiskUnit => &DISK_UNIT,
            Self::StorageArray => &STORAGE_ARRAY,
            Self::CloudStorage => &CLOUD_STORAGE,
        }
    }
}
