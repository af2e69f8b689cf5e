//! Own history of a value that has reached a limit: its change in about a day, or in an hour if it is not known for
//! longer.

use std::time::Duration;

use super::{Evidence, HealthReason, onset, values};
use crate::metric;
use crate::reading::{self, Reading};
use crate::records::{LatestSample, Window};
use crate::timestamp::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Returns the windows in which the newest values are earlier ones: for values of a day ago, then of an hour ago. A
/// metric that has none in the first is looked for in the second.
pub fn earlier_windows(current: Window) -> [Window; 2] {
    [DAY, HOUR].map(|age| Window::ending_at(current.until.minus(age), age))
}

/// Returns `true` if a value has reached a limit, so that a trend says whether it is news.
pub fn needs_earlier(latest: &[LatestSample]) -> bool {
    values::judge_all(latest).iter().any(|(_, reason)| reason.limit.is_some())
}

/// Adds the change since an earlier value.
pub(super) fn compare(reason: &mut HealthReason, evidence: &Evidence<'_>) {
    let (Some(value), Some(time), Some(_)) = (reason.value, reason.time, reason.limit) else { return };
    let earlier = evidence.earlier.iter().find(|sample| sample.metric_type.as_str() == reason.metric);
    let Some(earlier) = earlier.filter(|earlier| earlier.time < time && !is_of_another_drive(earlier, evidence)) else {
        return;
    };
    if let Reading::Value(before) = reading::read(&reason.metric, earlier.value) {
        reason.trend = Some(change(&reason.metric, (before, value), &span(earlier.time, time)));
    }
}

/// Describes a change.
fn change(metric_type: &str, (before, now): (f64, f64), span: &str) -> String {
    let unit = metric::lookup(metric_type).map_or("", |kind| kind.unit.symbol());
    let by = |difference: f64| format!("{} {unit}", rounded(difference)).trim_end().to_owned();
    if now > before {
        format!("rose by {} in {span}", by(now - before))
    } else if now < before {
        format!("fell by {} in {span}", by(before - now))
    } else {
        format!("unchanged for {span}")
    }
}

fn is_of_another_drive(earlier: &LatestSample, evidence: &Evidence<'_>) -> bool {
    onset::history_begins(evidence.events).is_some_and(|begin| begin >= earlier.time)
}

/// Describes a length of time, in whole hours from 90 minutes on.
fn span(from: Timestamp, to: Timestamp) -> String {
    let minutes = to.seconds_since(from) / 60.0;
    if minutes < 90.0 { format!("{minutes:.0} min") } else { format!("{:.0} h", minutes / 60.0) }
}

/// Rounds to three significant figures, and counts to whole numbers.
pub(super) fn rounded(value: f64) -> f64 {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        return value.round();
    }
    let digits = (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0);
    let factor = 10_f64.powf(digits);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::change;

    #[test]
    fn changes_are_in_words() {
        for (before, now, expected) in [
            (184.0, 187.0, "rose by 3 in 24 h"),
            (187.0, 187.0, "unchanged for 24 h"),
            (187.25, 186.0, "fell by 1.25 in 24 h"),
            (0.0, 0.001_234_5, "rose by 0.00123 in 24 h"),
            (0.0, 1e300, &format!("rose by {} in 24 h", 1e300)),
        ] {
            assert_eq!(change("smart_187_raw", (before, now), "24 h"), expected);
        }
        assert_eq!(change("DiskTemp", (50.0, 58.25), "5 min"), "rose by 8.25 °C in 5 min");
    }
}
