//! Findings from values: decoded values against the limits of the metric table, and values that are not understood.

use super::temperature::TemperatureLimits;
use super::{Finding, Health, HealthReason, is_judged};
use crate::metric::{self, Limits, MetricKind};
use crate::reading::{self, Reading};
use crate::records::LatestSample;

/// Judges the values of one device.
pub(super) fn judge_all(latest: &[LatestSample]) -> Vec<Finding> {
    let temperature = TemperatureLimits::of(latest);
    latest.iter().filter_map(|sample| judge(sample, temperature)).collect()
}

/// Judges one value; `None` if there is nothing against it, or nothing in it.
fn judge(sample: &LatestSample, temperature: TemperatureLimits) -> Option<Finding> {
    let kind = metric::lookup(&sample.metric_type)?;
    let limits = temperature.limits(kind)?;
    match reading::read(kind.name, sample.value) {
        Reading::Absent => None,
        Reading::Value(value) => grade(limits, value).map(|(health, limit)| {
            let why = format!("{} is {}, limit {}", kind.name, with_unit(value, kind), with_unit(limit, kind));
            (health, against(kind, limits, sample, (value, limit), &why))
        }),
        Reading::Unclear(unclear) => match unclear.at_least.and_then(|least| Some((least, grade(limits, least)?))) {
            // Every possible meaning reaches the limit.
            Some((least, (health, limit))) => {
                let (limit_text, least_text) = (with_unit(limit, kind), with_unit(least, kind));
                let why = format!(
                    "{} {}, the count among them is {least_text}, limit {limit_text}",
                    kind.name, unclear.reason
                );
                Some((health, against(kind, limits, sample, (least, limit), &why)))
            }
            None => {
                let why = format!("not understood: {} {}", kind.name, unclear.reason);
                let reason = HealthReason::without_value(kind.name, Some(sample.time), why);
                Some((Health::Unknown, HealthReason { raw: Some(sample.value), ..reason }))
            }
        },
    }
}

/// Returns a finding if no value is one that can count against the device.
pub(super) fn nothing_judged(latest: &[LatestSample]) -> Option<Finding> {
    let counts = |sample: &LatestSample| {
        is_judged(&sample.metric_type) && reading::read(&sample.metric_type, sample.value) != Reading::Absent
    };
    if latest.iter().any(counts) {
        return None;
    }
    let newest = latest.iter().max_by(|a, b| (a.time, &b.metric_type).cmp(&(b.time, &a.metric_type)))?;
    let others = match latest.len() {
        0 | 1 => String::new(),
        n_types => format!(" and {} more", n_types - 1),
    };
    let why = match metric::lookup(&newest.metric_type) {
        None => format!("nothing it sends is judged: {}{others} not in the metric table", newest.metric_type),
        Some(_) => format!("nothing it sends is judged: no limit or no reading for {}{others}", newest.metric_type),
    };
    let reason = HealthReason::without_value(&newest.metric_type, Some(newest.time), why);
    Some((Health::Unknown, HealthReason { value: Some(newest.value), ..reason }))
}

fn grade(limits: Limits, value: f64) -> Option<(Health, f64)> {
    if value >= limits.critical {
        Some((Health::Critical, limits.critical))
    } else if value >= limits.warning {
        Some((Health::Warning, limits.warning))
    } else {
        None
    }
}

/// Returns the reason for a value, or the least that it can be, which has reached a limit.
fn against(
    kind: &MetricKind,
    limits: Limits,
    sample: &LatestSample,
    (value, limit): (f64, f64),
    why: &str,
) -> HealthReason {
    let raw = (value != sample.value).then_some(sample.value);
    let reason = HealthReason::without_value(kind.name, Some(sample.time), format!("{}: {why}", limits.meaning));
    let expected = Some(format!("below {}", with_unit(limits.warning, kind)));
    HealthReason { value: Some(value), raw, limit: Some(limit), expected, ..reason }
}

fn with_unit(value: f64, kind: &MetricKind) -> String {
    // Nobody reads fifteen digits; the value itself is in the reason.
    let value = if value.abs() < 1e9 { (value * 100.0).round() / 100.0 } else { value };
    format!("{value} {}", kind.unit.symbol()).trim_end().to_owned()
}
