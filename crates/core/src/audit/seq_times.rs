//! When the points of certain numbers were: an operator wants to know at what time numbers went missing.

use std::collections::BTreeMap;

use super::SeqVisitor;
use crate::timestamp::Timestamp;

/// Times kept of one `seq`: two show that it is doubled.
const MAX_TIMES: usize = 2;

/// Certain `seq`s, and the times of points that have them.
#[derive(Clone, Debug, Default)]
pub struct SeqTimes(BTreeMap<u64, Vec<Timestamp>>);

impl SeqTimes {
    /// The `seq`s to look for.
    pub(super) fn new(seqs: impl Iterator<Item = u64>) -> Self {
        Self(seqs.map(|seq| (seq, Vec::new())).collect())
    }

    /// Both together.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// From the smallest `seq` to the largest; `None` if there is nothing to look for.
    pub fn range(&self) -> Option<std::ops::RangeInclusive<u64>> {
        Some(*self.0.first_key_value()?.0..=*self.0.last_key_value()?.0)
    }

    /// What was found, oldest first.
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
