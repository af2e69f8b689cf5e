//! Findings that an operator has accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::Health;
use crate::decision::{DecisionInForce, FINDING_ACCEPTED, newest};
use crate::records::EventRecord;
use crate::timestamp::Timestamp;

/// Acceptances in force, by the metric type or event type of the finding.
pub(crate) struct Acceptances<'a> {
    in_force: BTreeMap<&'a str, DecisionInForce>,
    decided: BTreeMap<&'a str, &'a EventRecord>,
    /// Event types of which nothing has arrived since: a sender's clock that is behind must not hide what follows.
    not_again: BTreeSet<&'a str>,
}

impl<'a> Acceptances<'a> {
    /// Reads those in force at `now`. The newest decision about a finding counts: one that ends at once revokes.
    pub(crate) fn at(decisions: &'a [EventRecord], events: &[EventRecord], now: Timestamp) -> Self {
        let newest = newest(decisions, FINDING_ACCEPTED);
        let decided: BTreeMap<&str, &EventRecord> =
            newest.iter().map(|(name, decided)| (*name, decided.record())).collect();
        let last = |event_type: &str| {
            let of_type = events.iter().filter(|record| record.event.event_type.as_str() == event_type);
            of_type.max_by_key(|record| order(record))
        };
        let is_not_again =
            |(name, decided): &(&&'a str, &&EventRecord)| last(name).is_some_and(|last| order(last) <= order(decided));
        let not_again = decided.iter().filter(is_not_again).map(|(name, _)| *name).collect();
        let in_force =
            newest.into_iter().filter_map(|(metric, decided)| Some((metric, decided.in_force(now)?))).collect();
        Self { in_force, decided, not_again }
    }

    /// Returns `true` if a finding with this last event is accepted.
    pub(crate) fn covers(&self, finding: &str, last: &EventRecord) -> bool {
        let is_before = |decided: &&EventRecord| order(last) <= order(decided);
        self.in_force.contains_key(finding) && self.decided.get(finding).is_some_and(is_before)
    }

    /// Takes a finding out of the verdict if it is accepted and no worse than it was then; notes the rest of it.
    pub(super) fn apply(&self, (health, mut reason): Finding) -> Finding {
        let Some(accepted) = self.in_force.get(reason.metric.as_str()) else { return (health, reason) };
        let is_no_worse = match (accepted.value, reason.value.or(reason.raw)) {
            (Some(then), Some(now)) => now <= then,
            (Some(_), None) => false,
            (None, _) => self.not_again.contains(reason.metric.as_str()),
        };
        if is_no_worse {
            if accepted.value.is_some() && accepted.value == reason.value.or(reason.raw) {
                reason.trend = Some(format!("unchanged since accepted on {}", accepted.since.whole_second()));
            }
            reason.accepted = Some(accepted.clone());
            return (Health::Ok, reason);
        }
        let then = accepted.value.map_or_else(String::new, |value| format!(" at {value}"));
        reason.why = format!("{}; worse than accepted{then} on {}", reason.why, accepted.since.whole_second());
        (health, reason)
    }
}

/// Returns the key by which events follow each other: their arrival, and within a batch, which arrives at once, their
/// time.
fn order(record: &EventRecord) -> (Timestamp, Timestamp) {
    (record.received, record.event.timestamp)
}
