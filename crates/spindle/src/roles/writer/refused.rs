//! Elements that the store refused, by message: dead letters, or elements that may be stored later.

use std::collections::BTreeMap;

use bytes::Bytes;
use spindle_core::Timestamp;
use spindle_core::dead_letter::Reason;
use spindle_store::Refusal;

use super::decode::Reject;

/// Refused elements of several messages, by the position of the message.
pub(super) type RefusedByMessage = BTreeMap<usize, RefusedElements>;

/// Refused elements of one message.
#[derive(Debug, Default)]
pub(super) struct RefusedElements {
    /// Indexes of all of them.
    indexes: Vec<usize>,
    rejects: Vec<Reject>,
    beyond: Option<BeyondRetention>,
    /// The first that may be stored later: index, reason and the store's message.
    waiting: Option<(usize, Refusal, String)>,
}

/// Elements older than the retention: they get one dead letter together.
#[derive(Debug)]
struct BeyondRetention {
    first_index: usize,
    n_elements: usize,
    oldest: Timestamp,
    detail: String,
}

impl RefusedElements {
    /// Adds an element with its time.
    pub(super) fn add(&mut self, index: usize, time: Timestamp, reason: Refusal, detail: String) {
        // An element may be refused twice, for its value and for a label.
        if !self.indexes.contains(&index) {
            self.indexes.push(index);
            match reason {
                Refusal::Invalid => {
                    let reason = Reason::StoreRefused;
                    self.rejects.push(Reject { index, bytes: None, reason, detail, is_whole: false });
                }
                Refusal::BeyondRetention => {
                    let new = BeyondRetention { first_index: index, n_elements: 0, oldest: time, detail };
                    let beyond = self.beyond.get_or_insert(new);
                    beyond.n_elements += 1;
                    beyond.first_index = beyond.first_index.min(index);
                    beyond.oldest = beyond.oldest.min(time);
                }
                Refusal::Limit | Refusal::Unproven => {
                    self.waiting.get_or_insert((index, reason, detail));
                }
                // It outweighs the others: such a message always waits.
                Refusal::ClocksDisagree => self.waiting = Some((index, reason, detail)),
            }
        }
    }

    /// Adds the whole message, whose encoding panicked.
    pub(super) fn add_poison(&mut self, poison: Reject) {
        self.rejects.push(poison);
    }

    /// Returns the elements that must be written again at the next delivery; `None` for all, if the message panicked.
    pub(super) fn remaining(&self) -> Option<Vec<usize>> {
        let is_poison = self.rejects.iter().any(|reject| reject.is_whole);
        (!is_poison).then(|| self.indexes.clone())
    }

    /// Returns why elements of the message may be stored later; `None` if none may.
    pub(super) fn waiting(&self) -> Option<(Refusal, &str)> {
        self.waiting.as_ref().map(|(_, reason, detail)| (*reason, detail.as_str()))
    }

    /// Returns the dead letters of a message: one for each refused element, and one for all beyond the retention. One
    /// more, of the whole message, if it cannot wait for the store.
    pub(super) fn rejects(&self, payload: &Bytes) -> Vec<Reject> {
        let whole =
            |index, reason, detail| Reject { index, bytes: Some(payload.clone()), reason, detail, is_whole: true };
        let beyond = self.beyond.iter().map(|beyond| {
            let BeyondRetention { first_index, n_elements, oldest, detail } = beyond;
            let detail = format!(
                "the whole message: {n_elements} elements older than the retention, the oldest of {oldest}; index {first_index}: {detail}"
            );
            whole(*first_index, Reason::BeyondRetention, detail)
        });
        let waiting = self.waiting.iter().map(|(index, _, detail)| {
            let detail = format!("the whole message: too many messages wait for the store already; {detail}");
            whole(*index, Reason::StoreRefused, detail)
        });
        self.rejects.iter().cloned().chain(beyond).chain(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_elements_beyond_the_retention_are_one_dead_letter() {
        let mut refused = RefusedElements::default();
        for (index, seconds) in [(3, 30), (1, 10), (2, 20), (1, 5)] {
            refused.add(index, Timestamp::from_seconds(seconds), Refusal::BeyondRetention, "too old".to_owned());
        }
        refused.add(7, Timestamp::from_seconds(1), Refusal::Invalid, "bad".to_owned());
        let payload = Bytes::from_static(b"[1]");
        let rejects = refused.rejects(&payload);
        assert_eq!(rejects.iter().map(|reject| reject.index).collect::<Vec<_>>(), [7, 1]);
        let Reject { reason, bytes, detail, is_whole, .. } = &rejects[1];
        assert_eq!((*reason, bytes.as_ref(), *is_whole), (Reason::BeyondRetention, Some(&payload), true));
        let expected = "the whole message: 3 elements older than the retention, the oldest of 1970-01-01T00:00:10Z";
        assert!(detail.starts_with(expected), "{detail}");
        assert_eq!((refused.waiting(), refused.remaining()), (None, Some(vec![3, 1, 2, 7])));
        refused.add(9, Timestamp::from_seconds(1), Refusal::Limit, "full".to_owned());
        assert_eq!(refused.waiting(), Some((Refusal::Limit, "full")));
        assert_eq!(refused.rejects(&payload).last().map(|reject| (reject.index, reject.is_whole)), Some((9, true)));
    }

    #[test]
    fn a_message_about_whose_age_clocks_disagree_waits_whatever_else_is_refused() {
        let time = Timestamp::from_seconds(1);
        for reasons in [[Refusal::Limit, Refusal::ClocksDisagree], [Refusal::ClocksDisagree, Refusal::Limit]] {
            let mut refused = RefusedElements::default();
            for (index, reason) in reasons.into_iter().enumerate() {
                refused.add(index, time, reason, reason.as_str().to_owned());
            }
            assert_eq!(refused.waiting(), Some((Refusal::ClocksDisagree, "clocks_disagree")));
        }
    }
}
