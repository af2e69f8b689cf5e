//! Cache of the labels already written, so that unchanged labels are not sent with every batch.

use std::collections::HashMap;

use spindle_core::Timestamp;

/// Age after which a label is written again: retention must not remove it from a live device.
const FRESH_NS: i64 = 6 * 3_600 * 1_000_000_000;
const MAX_REMEMBERED: usize = 500_000;

/// Labels of a batch, by device and key.
pub(super) type NewLabels<'a> = HashMap<(&'a str, &'a str), &'a str>;

/// Labels written, by device and key, with the time of the write in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct WrittenLabels(HashMap<(String, String), (String, i64)>);

impl WrittenLabels {
    /// Keeps the labels that must be written.
    pub(super) fn retain_unwritten(&mut self, labels: &mut NewLabels<'_>, now: Timestamp) {
        if self.0.len() > MAX_REMEMBERED {
            self.0.clear();
        }
        labels.retain(|(device, key), value| {
            let known = self.0.get(&(device.to_string(), key.to_string()));
            known.is_none_or(|(stored, at)| stored != value || now.as_ns().saturating_sub(*at) >= FRESH_NS)
        });
    }

    /// Records labels as written.
    pub(super) fn record(&mut self, labels: NewLabels<'_>, now: Timestamp) {
        for ((device, key), value) in labels {
            self.0.insert((device.to_owned(), key.to_owned()), (value.to_owned(), now.as_ns()));
        }
    }
}
