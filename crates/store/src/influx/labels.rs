//! Cache of the labels already written, so that unchanged labels are not sent with every batch.

use std::collections::HashMap;
use std::time::Duration;

use spindle_core::Timestamp;

/// Age after which a label is written again: retention must not remove it from a live device. Each writing is one more
/// point that a query for the newest passes over, so there are no more than that takes.
const MAX_FRESH: Duration = Duration::from_secs(30 * 86_400);
/// Writings in the time of a retention.
const PER_RETENTION: u32 = 4;
const MAX_REMEMBERED: usize = 500_000;

/// Labels of a batch, by device and key.
pub(super) type NewLabels<'a> = HashMap<(&'a str, &'a str), &'a str>;

/// Labels written, by device and key, with the time of the write in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct WrittenLabels(HashMap<(String, String), (String, i64)>);

impl WrittenLabels {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Keeps the labels that must be written. The retention is the store's at this moment: an operator may shorten it.
    pub(super) fn retain_unwritten(&mut self, labels: &mut NewLabels<'_>, retention: Option<Duration>, now: Timestamp) {
        if self.0.len() > MAX_REMEMBERED {
            self.0.clear();
        }
        let fresh = retention.map_or(MAX_FRESH, |all| (all / PER_RETENTION).min(MAX_FRESH));
        let oldest = now.minus(fresh).as_ns();
        labels.retain(|(device, key), value| {
            let known = self.0.get(&(device.to_string(), key.to_string()));
            known.is_none_or(|(stored, at)| stored != value || *at <= oldest)
        });
    }

    /// Records labels as written.
    pub(super) fn record(&mut self, labels: NewLabels<'_>, now: Timestamp) {
        for ((device, key), value) in labels {
            self.0.insert((device.to_owned(), key.to_owned()), (value.to_owned(), now.as_ns()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_written_again_before_the_retention_takes_it() {
        let day = 86_400;
        for (retention_s, age_s, is_due) in [
            (None, 29 * day, false),
            (None, 30 * day, true),
            (Some(day), day / 4 - 1, false),
            (Some(day), day / 4, true),
            (Some(3_600), 900, true),
            (Some(3_600), 899, false),
            (Some(1_000 * day), 30 * day, true),
        ] {
            let mut written = WrittenLabels::default();
            let labels = || NewLabels::from([(("a", "rack"), "7")]);
            written.record(labels(), Timestamp::from_seconds(1_000));
            let mut unwritten = labels();
            let retention = retention_s.map(|seconds: i64| Duration::from_secs(seconds.cast_unsigned()));
            written.retain_unwritten(&mut unwritten, retention, Timestamp::from_seconds(1_000 + age_s));
            assert_eq!(!unwritten.is_empty(), is_due, "{retention_s:?} {age_s}");
        }
    }
}
