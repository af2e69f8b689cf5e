//! Metric table: unit, range and limits of each known metric type. Defined nowhere else; dashboards, health and the wire
//! format read them from here.

mod table;

use crate::name::MetricType;

pub use table::METRICS;

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
