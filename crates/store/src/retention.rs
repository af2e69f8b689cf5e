//! Retention at the time of a write, the same for every store: by the time of the point. A point older than the
//! retention is not written. Points of the future stay.

use std::sync::Arc;

use spindle_core::{Batch, Timestamp};

use crate::{Refusal, Refused, RefusedItem, Written};

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
    /// Takes out the elements whose time lies before `oldest`; `None` keeps all.
    pub(crate) fn of(batch: Arc<Batch>, oldest: Option<Timestamp>) -> Self {
        let Some(oldest) = oldest else { return Self { batch, indexes: None, beyond: Vec::new() } };
        let refused = |item, time: Timestamp| Refused {
            item,
            reason: Refusal::BeyondRetention,
            message: format!("its time, {time}, is older than the retention, which begins at {oldest}"),
        };
        let metrics = batch.metrics.iter().map(|metric| metric.timestamp).enumerate();
        let events = batch.events.iter().map(|event| event.timestamp).enumerate();
        let (old_metrics, metrics): (Vec<_>, Vec<_>) = metrics.partition(|(_, time)| *time < oldest);
        let (old_events, events): (Vec<_>, Vec<_>) = events.partition(|(_, time)| *time < oldest);
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
        let kept = Batch {
            metrics: indexes.metrics.iter().map(|index| batch.metrics[*index].clone()).collect(),
            events: indexes.events.iter().map(|index| batch.events[*index].clone()).collect(),
        };
        Self { batch: Arc::new(kept), indexes: Some(indexes), beyond }
    }

    /// Completes the result of writing the rest: it then speaks of the original batch.
    pub(crate) fn complete(self, mut written: Written) -> Written {
        if let Some(Indexes { metrics, events }) = &self.indexes {
            for refused in &mut written.refused {
                refused.item = match refused.item {
                    RefusedItem::Metric(index) => RefusedItem::Metric(metrics[index]),
                    RefusedItem::Event(index) => RefusedItem::Event(events[index]),
                };
            }
        }
        written.refused.extend(self.beyond);
        written
    }
}
