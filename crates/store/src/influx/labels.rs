//! Cache of the labels already written, so that unchanged labels are not sent with every batch.

use std::collections::HashMap;
use std::time::Duration;

use spindle_core::Timestamp;

use crate::remembered::{Key, Remembered};

/// Age after which a label is written again: retention must not remove it from a live device. Each writing is one more
/// point that a query for the newest passes over, so there are no more than that takes.
const MAX_FRESH: Duration = Duration::from_secs(30 * 86_400);
/// Writings in the time of a retention.
const PER_RETENTION: u32 = 4;
/// Enough for 20,000 devices with 22 labels each.
const N_SLOTS: usize = 1 << 19;

/// Labels of a batch, by device and key.
pub(super) type NewLabels<'a> = HashMap<(&'a str, &'a str), &'a str>;

/// Value of a label, with the time of the write in nanoseconds.
type WrittenLabel = (Key, i64);

/// Labels written, by device and key.
#[derive(Debug)]
pub(super) struct WrittenLabels(Remembered<WrittenLabel>);

impl Default for WrittenLabels {
    fn default() -> Self {
        Self(Remembered::new(N_SLOTS))
    }
}

impl WrittenLabels {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Keeps the labels that must be written. The retention is the store's at this moment: an operator may shorten it.
    pub(super) fn retain_unwritten(&self, labels: &mut NewLabels<'_>, retention: Option<Duration>, now: Timestamp) {
        let fresh = retention.map_or(MAX_FRESH, |all| (all / PER_RETENTION).min(MAX_FRESH));
        let oldest = now.minus(fresh).as_ns();
        labels.retain(|label, value| {
            let known = self.0.get(self.0.key(label));
            known.is_none_or(|(stored, at)| *stored != self.0.key(value) || *at <= oldest)
        });
    }

    /// Records labels as written.
    pub(super) fn record(&mut self, labels: NewLabels<'_>, now: Timestamp) {
        for (label, value) in labels {
            let (label, value) = (self.0.key(&label), self.0.key(&value));
            self.0.insert(label, (value, now.as_ns()));
        }
    }
}

#[cfg(test)]
pub(super) fn max_bytes() -> usize {
    Remembered::<WrittenLabel>::max_bytes(N_SLOTS)
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

    #[test]
    fn a_label_is_written_when_it_is_new_has_another_value_or_has_aged() {
        let mut written = WrittenLabels::default();
        let mut write = |value: &'static str, seconds: i64| {
            let mut labels = NewLabels::from([(("disk", "rack"), value), (("disk", "row"), "7")]);
            let now = Timestamp::from_seconds(seconds);
            written.retain_unwritten(&mut labels, Some(Duration::from_secs(400)), now);
            let mut keys: Vec<_> = labels.keys().map(|(_, key)| *key).collect();
            keys.sort_unstable();
            written.record(labels, now);
            keys
        };
        assert_eq!(write("a", 0), ["rack", "row"]);
        assert_eq!(write("a", 99), [""; 0]);
        assert_eq!(write("b", 99), ["rack"]);
        assert_eq!(write("a", 99), ["rack"], "back to the first value");
        assert_eq!(write("a", 100), ["row"]);
    }
}
