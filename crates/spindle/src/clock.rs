//! The only wall clock. Code below it takes the time as an argument.

use std::time::Duration;

use spindle_core::Timestamp;
use spindle_store::{CLOCK_TOLERANCE, do_agree};

/// Returns the wall-clock time, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else must use")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ns(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

/// Remedy for clocks that disagree.
pub(crate) const REMEDY: &str = "set the wrong clock right, for example with NTP";

/// Compares a reading of this machine's clock with those of others, each with the name of its owner. Returns both times
/// of every clock that differs by more than [`CLOCK_TOLERANCE`]; `None` if there is none.
pub(crate) fn disagreement(own: Timestamp, others: &[(&str, Timestamp)]) -> Option<String> {
    let wrong: Vec<String> = others
        .iter()
        .filter(|(_, other)| !do_agree(own, *other))
        .map(|(name, other)| {
            let seconds = own.as_ns().abs_diff(other.as_ns()) / 1_000_000_000;
            let difference = humantime::format_duration(Duration::from_secs(seconds));
            let direction = if *other < own { "behind" } else { "ahead" };
            format!("{name} says {other}, {difference} {direction}")
        })
        .collect();
    let tolerance = humantime::format_duration(CLOCK_TOLERANCE);
    (!wrong.is_empty())
        .then(|| format!("clocks disagree by more than {tolerance}: this machine says {own}; {}", wrong.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_named_with_their_times() {
        let at = |text| Timestamp::parse(text).unwrap();
        let own = at("2026-11-30T12:00:00Z");
        assert_eq!(disagreement(own, &[]), None);
        assert_eq!(disagreement(own, &[("NATS", at("2026-11-30T12:05:00Z")), ("x", at("2026-11-30T11:55:00Z"))]), None);
        let others = [("NATS", at("2026-11-29T12:00:00Z")), ("store", at("2026-11-30T12:06:40Z"))];
        let words = disagreement(own, &others).unwrap();
        assert_eq!(
            words,
            "clocks disagree by more than 5m: this machine says 2026-11-30T12:00:00Z; NATS says 2026-11-29T12:00:00Z, 1day behind; store says 2026-11-30T12:06:40Z, 6m 40s ahead"
        );
    }
}
