//! Start of a finding from a value: a value alone does not tell how long ago it reached its limit, the values before it do.

use std::time::Duration;

use super::HealthReason;
use crate::records::{Bucket, EventRecord};
use crate::timestamp::Timestamp;

/// Time below its limit that ends a finding. A shorter dip belongs to it: a value near its limit crosses it often.
pub const FINDING_ENDS_AFTER: Duration = Duration::from_secs(600);

/// Returns `true` for a finding whose start its values may tell.
pub fn lacks_onset(reason: &HealthReason) -> bool {
    reason.limit.is_some() && reason.value.is_some() && reason.since.is_none()
}

/// Returns the time from which values are those of this drive: its replacement, if there was one.
pub fn history_begins(events: &[EventRecord]) -> Option<Timestamp> {
    let replaced = events.iter().filter(|record| record.event.event_type.as_str() == "DriveReplaced");
    replaced.map(|record| record.event.timestamp).max()
}

/// Returns the bucket in which a value reached `limit` for as long as it holds now, from all buckets up to the newest
/// value, oldest first. `None` if the newest is below the limit, or no bucket lies below it: then the start is before the
/// first bucket, and not known.
pub fn onset(buckets: &[Bucket], limit: f64) -> Option<Timestamp> {
    let mut started: Option<Timestamp> = None;
    for bucket in buckets.iter().rev() {
        match started {
            _ if bucket.max >= limit => started = Some(bucket.time),
            Some(start) if start.seconds_since(bucket.time) >= FINDING_ENDS_AFTER.as_secs_f64() => return started,
            Some(_) => {}
            None => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a bucket for each value, of five minutes; `NaN` is a bucket without values.
    fn buckets(values: &[f64]) -> Vec<Bucket> {
        let begin = Timestamp::parse("2026-11-30T00:00:00Z").unwrap();
        let time = |index: usize| begin.plus(Duration::from_secs(300 * index as u64));
        let bucket = |(index, &value): (usize, &f64)| Bucket {
            time: time(index),
            min: value - 1.0,
            mean: value - 0.5,
            max: value,
            count: 3,
        };
        values.iter().enumerate().filter(|(_, value)| !value.is_nan()).map(bucket).collect()
    }

    #[test]
    fn a_finding_begins_where_its_values_reached_the_limit() {
        for (values, expected) in [
            (&[1.0, 1.0, 1.0, 9.0, 9.0][..], Some("2026-11-30T00:15:00Z")),
            // A dip of five minutes ends nothing, one of fifteen does.
            (&[1.0, 1.0, 9.0, 1.0, 9.0], Some("2026-11-30T00:10:00Z")),
            (&[9.0, 1.0, 1.0, 1.0, 9.0], Some("2026-11-30T00:20:00Z")),
            // Nothing is known of the time without values, so it ends nothing.
            (&[1.0, 1.0, 9.0, f64::NAN, f64::NAN, f64::NAN, 9.0], Some("2026-11-30T00:10:00Z")),
            // One value an hour is enough to know the last one below.
            (&[1.0, f64::NAN, f64::NAN, 9.0], Some("2026-11-30T00:15:00Z")),
            (&[5.0, 5.0, 5.0], None),
            (&[9.0, 9.0, 9.0], None),
            (&[1.0, 9.0, 9.0], None),
            (&[1.0, 1.0, 1.0, 9.0, 1.0], None),
            (&[], None),
        ] {
            let expected = expected.map(|text| Timestamp::parse(text).unwrap());
            assert_eq!(onset(&buckets(values), 8.5), expected, "{values:?}");
        }
    }
}
