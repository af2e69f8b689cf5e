//! The order of writes within one lane.
//!
//! Of two values of one device, type and time the later one in the stream must stay. Several batches are in flight at once
//! and may be stored in any order, so a batch that shares such an identity with an older one waits until that one is
//! stored. All others are written without waiting.
//!
//! Not ordered: a redelivered message (its ack was lost, another writer died with it) is stored once more, after its
//! successors; and the writes of another writer at the same time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

use spindle_core::Batch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The batches in flight, oldest first.
#[derive(Default)]
pub(super) struct WriteOrder(Vec<Ticketed>);

struct Ticketed {
    batch: Weak<Batch>,
    times: TimeRange,
    /// Computed on first use: most batches share no time with the one before.
    identities: Option<Vec<u64>>,
    ended: CancellationToken,
}

/// First and last time in a batch, in nanoseconds, both inclusive.
#[derive(Clone, Copy)]
struct TimeRange(i64, i64);

/// A batch's position in the write order, held until it is dropped.
pub(super) struct Ticket {
    earlier: Vec<CancellationToken>,
    _end: DropGuard,
}

impl WriteOrder {
    /// Returns the ticket of a batch, behind all batches that joined before it.
    pub(super) fn join(&mut self, batch: &Arc<Batch>) -> Ticket {
        self.0.retain(|other| !other.ended.is_cancelled());
        let times = time_range(batch);
        let mut own = None;
        let mut earlier = Vec::new();
        for other in self.0.iter_mut().filter(|other| other.times.overlaps(times)) {
            let Some(other_batch) = other.batch.upgrade() else { continue };
            let identities = other.identities.get_or_insert_with(|| identities(&other_batch));
            if have_common(identities, own.get_or_insert_with(|| self::identities(batch))) {
                earlier.push(other.ended.clone());
            }
        }
        let ended = CancellationToken::new();
        self.0.push(Ticketed { batch: Arc::downgrade(batch), times, identities: own, ended: ended.clone() });
        Ticket { earlier, _end: ended.drop_guard() }
    }
}

impl Ticket {
    /// Waits until the earlier batches with which it shares an identity are done.
    pub(super) async fn wait_turn(&self) {
        for ended in &self.earlier {
            ended.cancelled().await;
        }
    }
}

impl TimeRange {
    fn overlaps(self, other: Self) -> bool {
        self.0 <= other.1 && other.0 <= self.1
    }
}

fn time_range(batch: &Batch) -> TimeRange {
    let metrics = batch.metrics.iter().map(|metric| metric.timestamp);
    let times = metrics.chain(batch.events.iter().map(|event| event.timestamp)).map(|time| time.as_ns());
    times.fold(TimeRange(i64::MAX, i64::MIN), |range, time| TimeRange(range.0.min(time), range.1.max(time)))
}

/// Returns hashes, sorted: of two identities with one hash the later needlessly waits, nothing more. An event's id is left out: in InfluxDB several events of one device, type and time need a timestamp each, and
/// the later ones must see the earlier ones for that.
fn identities(batch: &Batch) -> Vec<u64> {
    let identity = |of: (&str, &str, i64)| {
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        hasher.finish()
    };
    let metrics =
        batch.metrics.iter().map(|metric| (&*metric.source_device, &*metric.metric_type, metric.timestamp.as_ns()));
    let events = batch.events.iter().map(|event| (&*event.source_device, &*event.event_type, event.timestamp.as_ns()));
    let mut identities: Vec<u64> = metrics.map(identity).chain(events.map(identity)).collect();
    identities.sort_unstable();
    identities
}

/// Both are sorted.
fn have_common(one: &[u64], other: &[u64]) -> bool {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(left), Some(right)) = (one.peek(), other.peek()) {
        match left.cmp(right) {
            std::cmp::Ordering::Less => one.next(),
            std::cmp::Ordering::Greater => other.next(),
            std::cmp::Ordering::Equal => return true,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType, Timestamp};

    use super::*;

    fn metric(device: &str, time: i64) -> DeviceMetric {
        DeviceMetric {
            timestamp: Timestamp::from_ns(time),
            source_device: DeviceName::new(device).unwrap(),
            metric_type: MetricType::new("IOPs").unwrap(),
            value: 1.0,
            seq: None,
            labels: None,
        }
    }

    fn event(id: u128) -> Event {
        Event {
            id: uuid::Uuid::from_u128(id).into(),
            criticality: Criticality::MAX,
            timestamp: Timestamp::from_ns(7),
            source_device: DeviceName::new("d").unwrap(),
            event_type: EventType::new("Note").unwrap(),
            event_message: None,
            seq: None,
            labels: None,
        }
    }

    fn batch(metrics: Vec<DeviceMetric>, events: Vec<Event>) -> Arc<Batch> {
        Arc::new(Batch { metrics, events })
    }

    fn may_go(place: &Ticket) -> bool {
        place.wait_turn().now_or_never().is_some()
    }

    #[test]
    fn a_batch_waits_for_those_it_shares_values_with_and_for_no_other() {
        let mut order = WriteOrder::default();
        let [first, apart, same_times, again] = [
            batch(vec![metric("d", 1), metric("d", 5)], vec![]),
            batch(vec![metric("d", 6), metric("d", 7)], vec![]),
            batch(vec![metric("e", 5), metric("d", 3)], vec![]),
            batch(vec![metric("d", 5), metric("d", 6)], vec![]),
        ];
        let [first_place, apart_place, same_place, again_place] =
            [&first, &apart, &same_times, &again].map(|batch| order.join(batch));
        assert!(may_go(&first_place) && may_go(&apart_place) && may_go(&same_place));
        assert!(!may_go(&again_place));
        drop(apart_place);
        assert!(!may_go(&again_place));
        drop(first_place);
        assert!(may_go(&again_place));
        // Finished batches are forgotten.
        drop((same_place, again_place));
        let last = order.join(&again);
        assert_eq!(order.0.len(), 1);
        assert!(may_go(&last));
    }

    #[test]
    fn events_that_could_lie_at_one_place_wait_for_each_other() {
        let mut order = WriteOrder::default();
        let (one, other) = (batch(vec![], vec![event(1)]), batch(vec![], vec![event(2)]));
        let first = order.join(&one);
        let second = order.join(&other);
        assert!(!may_go(&second));
        drop(first);
        assert!(may_go(&second));
    }
}
