//! Meaning of a stored value: decoded, absent, or not understood. The only place that decodes raw SMART values;
//! judgement and display both read values through it. It never guesses: a value that fits no known layout is
//! [`Reading::Unclear`], which is not evidence of health.

mod smart;
#[cfg(test)]
mod tests;

use crate::metric::{self, MetricKind, Unit};

/// Meaning of a stored value.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Value in the unit of its metric.
    Value(f64),
    /// Sentinel by which the device reports that it has no reading.
    Absent,
    /// Not understood.
    Unclear(Unclear),
}

/// Value that is not understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Unclear {
    /// Reason, as a clause that follows the name of the metric: "is 65535: …".
    pub reason: String,
    /// Smallest of the possible meanings, if all possible layouts are known.
    pub at_least: Option<f64>,
}

/// Temperatures that a working sensor in a drive can report, in °C: storage at -40, flash controllers up to 125.
const PLAUSIBLE_CELSIUS: std::ops::RangeInclusive<f64> = -40.0..=125.0;

/// Decodes a stored value. Values of unknown metric types are returned as they are.
pub fn read(metric_type: &str, stored: f64) -> Reading {
    if !stored.is_finite() {
        return unclear(format!("is {stored}, not a finite number"));
    }
    match (smart::raw_id(metric_type), metric::lookup(metric_type)) {
        (Some(id), _) => smart::read(id, stored),
        (None, Some(kind)) => in_range(kind, stored),
        (None, None) => Reading::Value(stored),
    }
}

/// Returns `true` if stored values of a metric may differ from their meaning.
pub fn is_encoded(metric_type: &str) -> bool {
    smart::raw_id(metric_type).is_some()
}

/// Checks a value that its source has decoded already.
fn in_range(kind: &MetricKind, value: f64) -> Reading {
    if !(kind.min..=kind.max).contains(&value) {
        return unclear(format!("is {value}, outside {} to {}", kind.min, kind.max));
    }
    match kind.unit {
        Unit::Celsius => celsius(value),
        Unit::Count if kind.limits.is_some() && smart::is_all_ones(value) => unclear(all_ones(value)),
        _ => Reading::Value(value),
    }
}

fn celsius(value: f64) -> Reading {
    if PLAUSIBLE_CELSIUS.contains(&value) {
        return Reading::Value(value);
    }
    let (min, max) = (PLAUSIBLE_CELSIUS.start(), PLAUSIBLE_CELSIUS.end());
    unclear(format!("is {value} °C, outside {min} to {max} °C, so the sensor is wrong"))
}

fn all_ones(value: f64) -> String {
    format!("is {value}, all bits set: a counter at its end, or no reading")
}

fn unclear(reason: String) -> Reading {
    Reading::Unclear(Unclear { reason, at_least: None })
}
