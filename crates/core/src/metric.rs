//! Metric table: unit, range and limits of each known metric type. Defined nowhere else; dashboards, health and the wire
//! format read them from here.

use crate::name::MetricType;

/// Unit of a metric. Closed: a metric without a unit cannot be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Degrees Celsius.
    Celsius,
    /// Operations per second.
    PerSecond,
    /// Milliseconds.
    Milliseconds,
    /// Percent of a whole, 0 to 100.
    Percent,
    /// Bytes per second.
    BytesPerSecond,
    /// Hours.
    Hours,
    /// A plain count.
    Count,
}

impl Unit {
    /// Returns the symbol for people, such as `°C`; empty for a count.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Celsius => "°C",
            Self::PerSecond => "1/s",
            Self::Milliseconds => "ms",
            Self::Percent => "%",
            Self::BytesPerSecond => "B/s",
            Self::Hours => "h",
            Self::Count => "",
        }
    }
}

/// Values from which on (inclusive) a metric counts against its device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Needs attention.
    pub warning: f64,
    /// Needs immediate action.
    pub critical: f64,
    /// Meaning, as part of the reason shown to people.
    pub meaning: &'static str,
}

/// Row of the table: one metric type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricKind {
    /// Name on the wire.
    pub name: &'static str,
    /// Unit of the value.
    pub unit: Unit,
    /// Smallest valid value, inclusive.
    pub min: f64,
    /// Largest valid value, inclusive.
    pub max: f64,
    /// Limits, if a single value can count against its device.
    pub limits: Option<Limits>,
    /// Description in one line.
    pub help: &'static str,
}

const fn kind(name: &'static str, unit: Unit, min: f64, max: f64, help: &'static str) -> MetricKind {
    MetricKind { name, unit, min, max, limits: None, help }
}

const fn limited(kind: MetricKind, warning: f64, critical: f64, meaning: &'static str) -> MetricKind {
    MetricKind { limits: Some(Limits { warning, critical, meaning }), ..kind }
}

/// Largest count that a 64-bit float holds exactly.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

/// All known metric types, sorted by name. Ranges are the possible values of a sensor, not the healthy ones.
/// Temperature limits follow drive data sheets (operating range up to 60 °C for disks, 70 °C for flash); the limits for
/// reallocated and pending sectors exclude the 9 % of a running fleet that has a few (Backblaze, 2013-04-10).
pub const METRICS: &[MetricKind] = &[
    limited(
        kind("CapacityUsed", Unit::Percent, 0.0, 100.0, "share of the capacity in use"),
        85.0,
        95.0,
        "capacity is running out",
    ),
    limited(
        kind("DiskTemp", Unit::Celsius, -60.0, 200.0, "temperature of the device"),
        55.0,
        65.0,
        "hotter than the drive is specified for",
    ),
    kind("IOPs", Unit::PerSecond, 0.0, 1e12, "reads and writes completed per second"),
    limited(
        kind(
            "Latency",
            Unit::Milliseconds,
            0.0,
            86_400_000.0,
            "mean time of a completed read or write, queueing included",
        ),
        100.0,
        500.0,
        "requests wait too long",
    ),
    limited(
        kind("PendingSectors", Unit::Count, 0.0, MAX_COUNT, "sectors that could not be read and wait to be remapped"),
        1.0,
        100.0,
        "unreadable sectors",
    ),
    kind("PowerOnHours", Unit::Hours, 0.0, 1e7, "time in operation"),
    kind("QueueDepth", Unit::Count, 0.0, 1e9, "mean number of requests in flight"),
    kind("ReadThroughput", Unit::BytesPerSecond, 0.0, 1e15, "bytes read per second"),
    limited(
        kind("ReallocatedSectors", Unit::Count, 0.0, MAX_COUNT, "sectors replaced by spares since the drive was new"),
        50.0,
        1000.0,
        "the drive is using up its spare sectors",
    ),
    kind("Utilization", Unit::Percent, 0.0, 100.0, "share of the time the device was busy"),
    kind("WriteThroughput", Unit::BytesPerSecond, 0.0, 1e15, "bytes written per second"),
    // Names of Backblaze for raw SMART attributes. Only those with the same meaning for all vendors have limits, which
    // apply to the decoded value (see `reading`). Ranges are those of the raw value.
    limited(
        kind("smart_190_raw", Unit::Celsius, -60.0, MAX_COUNT, "SMART 190, airflow temperature"),
        55.0,
        65.0,
        "hotter than the drive is specified for",
    ),
    limited(
        kind("smart_194_raw", Unit::Celsius, -60.0, MAX_COUNT, "SMART 194, temperature"),
        55.0,
        65.0,
        "hotter than the drive is specified for",
    ),
    limited(
        kind("smart_197_raw", Unit::Count, 0.0, MAX_COUNT, "SMART 197, current pending sectors"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    limited(
        kind("smart_198_raw", Unit::Count, 0.0, MAX_COUNT, "SMART 198, offline uncorrectable sectors"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    limited(
        kind("smart_5_raw", Unit::Count, 0.0, MAX_COUNT, "SMART 5, reallocated sectors"),
        50.0,
        2000.0,
        "the drive is using up its spare sectors",
    ),
];

/// Returns the row of a metric type; `None` if it is unknown.
pub fn lookup(name: &str) -> Option<&'static MetricKind> {
    METRICS.binary_search_by(|kind| kind.name.cmp(name)).ok().map(|index| &METRICS[index])
}

/// Returns the unit symbol of a metric type; `None` if it is unknown.
pub fn unit_symbol(name: &MetricType) -> Option<&'static str> {
    lookup(name).map(|kind| kind.unit.symbol())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_consistent() {
        assert!(METRICS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for kind in METRICS {
            assert!(kind.min < kind.max, "{}", kind.name);
            if let Some(limits) = kind.limits {
                assert!(limits.warning < limits.critical && limits.critical <= kind.max, "{}", kind.name);
            }
        }
        assert_eq!(lookup("DiskTemp").unwrap().unit.symbol(), "°C");
        assert!(lookup("NoSuchMetric").is_none());
    }
}
