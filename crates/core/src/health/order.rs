//! Order of the reasons of a verdict: by their effect on it, then by what is worth reading first.

use std::cmp::Ordering;

use super::Finding;

/// Compares two findings, the more important first.
pub(super) fn by_importance(one: &Finding, other: &Finding) -> Ordering {
    let key = |(health, reason): &Finding| (*health, importance((*health, reason)));
    key(other).cmp(&key(one)).then_with(|| one.1.metric.cmp(&other.1.metric))
}

/// Returns the rank among findings of one health. An event was found worth telling by its sender; a value that rises is
/// news, and one that has not changed for a day is none.
fn importance((_, reason): (super::Health, &super::HealthReason)) -> u8 {
    let trend = reason.trend.as_deref().unwrap_or_default();
    match (reason.accepted.is_some(), reason.limit.is_some()) {
        (true, _) => 5,
        (false, false) => 4,
        (false, true) if trend.starts_with("rose") => 3,
        (false, true) if trend.is_empty() => 2,
        (false, true) => 1,
    }
}
