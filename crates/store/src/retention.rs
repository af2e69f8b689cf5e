//! Retention at the time of a write, the same for every store: by the time of the point. A point older than the
//! retention is not written. Points of the future stay. While clocks disagree, a point is older only by the earliest of
//! them; where a server would drop it by its own clock, it is kept out and not given up.

use std::sync::Arc;

use spindle_core::{Batch, Timestamp};

use crate::{Refusal, Refused, RefusedItem, Written};

/// Times of the oldest points that a write stores; `None` without a retention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldestPoints {
    /// What lies before is beyond the retention.
    pub(crate) kept: Option<Timestamp>,
    /// What lies before is beyond the retention by the clock of the server, which disagrees with another one.
    pub(crate) taken: Option<Timestamp>,
}

/// A batch without the elements beyond the retention.
pub(crate) struct WithinRetention {
    pub(crate) batch: Arc<Batch>,
    /// Indexes in the original batch, in order; `None` if the batch is the original one.
    indexes: Option<Indexes>,
    beyond: Vec<Refused>,
}

struct Indexes {
    metrics: Vec<usize>,
    events: Vec<usize>,
}

impl WithinRetention {
    /// Takes out the elements that are too old.
    pub(crate) fn of(batch: Arc<Batch>, oldest: OldestPoints) -> Self {
        let OldestPoints { kept, taken } = oldest;
        let Some(first) = kept.max(taken) else { return Self { batch, indexes: None, beyond: Vec::new() } };
        let refused = |item, time: Timestamp| match kept.filter(|kept| time < *kept) {
            Some(kept) => Refused {
                item,
                reason: Refusal::BeyondRetention,
                message: format!(
                    "its time, {time}, is older than the retention, which begins at {kept}: if it is new, check the sender's clock"
                ),
            },
            None => Refused {
                item,
                reason: Refusal::ClocksDisagree,
                message: format!(
                    "its time, {time}, is older than the retention by the store's clock only, by which it begins at {first}"
                ),
            },
        };
        let metrics = batch.metrics.iter().map(|metric| metric.timestamp).enumerate();
        let events = batch.events.iter().map(|event| event.timestamp).enumerate();
        let (old_metrics, metrics): (Vec<_>, Vec<_>) = metrics.partition(|(_, time)| *time < first);
        let (old_events, events): (Vec<_>, Vec<_>) = events.partition(|(_, time)| *time < first);
        let old_metrics = old_metrics.into_iter().map(|(index, time)| refused(RefusedItem::Metric(index), time));
        let old_events = old_events.into_iter().map(|(index, time)| refused(RefusedItem::Event(index), time));
        let beyond: Vec<Refused> = old_metrics.chain(old_events).collect();
        if beyond.is_empty() {
            return Self { batch, indexes: None, beyond };
        }
        let indexes = Indexes {
            metrics: metrics.into_iter().map(|(index, _)| index).collect(),
            events: events.into_iter().map(|(index, _)| index).collect(),
        };
        let within = Batch {
            metrics: indexes.metrics.iter().map(|index| batch.metrics[*index].clone()).collect(),
            events: indexes.events.iter().map(|index| batch.events[*index].clone()).collect(),
        };
        Self { batch: Arc::new(within), indexes: Some(indexes), beyond }
    }

    /// Completes the result of writing the rest: it then speaks of the original batch. While clocks disagree, no refusal of
    /// the server for age is final.
    pub(crate) fn complete(self, mut written: Written, is_disputed: bool) -> Written {
        if let Some(Indexes { metrics, events }) = &self.indexes {
            for refused in &mut written.refused {
                refused.item = match refused.item {
                    RefusedItem::Metric(index) => RefusedItem::Metric(metrics[index]),
                    RefusedItem::Event(index) => RefusedItem::Event(events[index]),
                };
            }
        }
        for refused in written.refused.iter_mut().filter(|_| is_disputed) {
            if refused.reason == Refusal::BeyondRetention {
                refused.reason = Refusal::ClocksDisagree;
            }
        }
        written.refused.extend(self.beyond);
        written
    }
}
