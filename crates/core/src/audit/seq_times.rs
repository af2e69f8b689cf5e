//! Finds the timestamps around missing and duplicate sequence numbers: operators need to know when data went missing.

use std::collections::BTreeMap;

use crate::timestamp::Timestamp;

/// Times kept per `seq`: two prove a duplicate.
const MAX_TIMES: usize = 2;

/// Receives the `seq`s of stored points one by one, in no particular order.
pub trait SeqVisitor: Send + 'static {
    /// Takes the `seq` and the time of one stored point.
    fn visit(&mut self, seq: u64, time: Timestamp);
}

/// Selected `seq`s, and the times of the points that carry them.
#[derive(Clone, Debug, Default)]
pub struct SeqTimes(BTreeMap<u64, Vec<Timestamp>>);

impl SeqTimes {
    /// Selects the `seq`s to look for.
    pub(super) fn new(seqs: impl Iterator<Item = u64>) -> Self {
        Self(seqs.map(|seq| (seq, Vec::new())).collect())
    }

    /// Adds the `seq`s and times of another selection.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns the range from the smallest to the largest selected `seq`, or `None` if none is selected.
    pub fn range(&self) -> Option<std::ops::RangeInclusive<u64>> {
        Some(*self.0.first_key_value()?.0..=*self.0.last_key_value()?.0)
    }

    /// Returns the times found for a `seq`, oldest first.
    pub(super) fn times(&self, seq: u64) -> &[Timestamp] {
        self.0.get(&seq).map_or(&[], Vec::as_slice)
    }
}

/// Keeps the oldest times.
impl SeqVisitor for SeqTimes {
    fn visit(&mut self, seq: u64, time: Timestamp) {
        let Some(times) = self.0.get_mut(&seq) else { return };
        times.push(time);
        times.sort_unstable();
        times.truncate(MAX_TIMES);
    }
}
