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
#[derive(Debug)]
pub(super) struct WrittenLabels {
    written: HashMap<(String, String), (String, i64)>,
    fresh_ns: i64,
}

impl WrittenLabels {
    pub(super) fn new(retention: Option<Duration>) -> Self {
        let fresh = retention.map_or(MAX_FRESH, |all| (all / PER_RETENTION).min(MAX_FRESH));
        Self { written: HashMap::new(), fresh_ns: i64::try_from(fresh.as_nanos()).unwrap_or(i64::MAX) }
    }

    pub(super) fn forget(&mut self) {
        self.written.clear();
    }

    /// Keeps the labels that must be written.
    pub(super) fn retain_unwritten(&mut self, labels: &mut NewLabels<'_>, now: Timestamp) {
        if self.written.len() > MAX_REMEMBERED {
            self.written.clear();
        }
        labels.retain(|(device, key), value| {
            let known = self.written.get(&(device.to_string(), key.to_string()));
            known.is_none_or(|(stored, at)| stored != value || now.as_ns().saturating_sub(*at) >= self.fresh_ns)
        });
    }

    /// Records labels as written.
    pub(super) fn record(&mut self, labels: NewLabels<'_>, now: Timestamp) {
        for ((device, key), value) in labels {
            self.written.insert((device.to_owned(), key.to_owned()), (value.to_owned(), now.as_ns()));
        }
    }
}
