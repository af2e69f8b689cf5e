//! Payloads to a batch, and to the elements that must be dead-lettered. A panic while a payload is decoded makes that
//! message a dead letter at its first delivery, so that a poison message never takes the writer down.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use spindle_bus::Delivery;
use spindle_core::dead_letter::Reason;
use spindle_core::wire::{self, Batch, Decoded, Rejected};

/// Decodes the payloads of one stream.
#[derive(Clone, Copy)]
pub(super) struct Decoder(fn(&[u8], &mut Batch) -> Vec<Rejected>);

/// One element of a message that must be dead-lettered.
#[derive(Clone, Debug)]
pub(super) struct Reject {
    pub(super) index: usize,
    /// The element as it was sent; `None` if only its index is known.
    pub(super) bytes: Option<Bytes>,
    pub(super) reason: Reason,
    pub(super) detail: String,
    /// The reject stands for the whole message.
    pub(super) is_whole: bool,
}

/// Where the elements of one message went.
#[derive(Debug)]
pub(super) struct DecodedMessage {
    pub(super) rejects: Vec<Reject>,
    /// Valid elements, whether they are in this batch or were stored at an earlier delivery.
    pub(super) n_valid: usize,
    /// Indices of the elements in the batch, in order; the first is item `first_item` of the batch.
    pub(super) elements: Vec<usize>,
    pub(super) first_item: usize,
}

impl Decoder {
    /// For the stream of metrics.
    pub(super) const METRICS: Self = Self(|payload, batch| extend(&mut batch.metrics, wire::decode_metrics(payload)));
    /// For the stream of events.
    pub(super) const EVENTS: Self = Self(|payload, batch| extend(&mut batch.events, wire::decode_events(payload)));

    /// Appends the valid elements to `batch` and returns the others.
    pub(super) fn decode(self, payload: &[u8], batch: &mut Batch) -> Vec<Reject> {
        let (n_metrics, n_events) = (batch.metrics.len(), batch.events.len());
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(debug_assertions)]
            super::failpoints::panic_at(payload);
            (self.0)(payload, batch)
        }));
        match decoded {
            Ok(rejected) => rejected.into_iter().map(Reject::from).collect(),
            Err(panic) => {
                batch.metrics.truncate(n_metrics);
                batch.events.truncate(n_events);
                vec![Reject::poison(payload, panic.as_ref())]
            }
        }
    }
}

fn extend<T>(items: &mut Vec<T>, decoded: Decoded<T>) -> Vec<Rejected> {
    items.extend(decoded.items);
    decoded.rejected
}

impl Reject {
    /// The whole message, whose handling panicked.
    pub(super) fn poison(payload: &[u8], panic: &(dyn Any + Send)) -> Self {
        let message = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        let detail = format!("the writer panicked on this message: {}", message.unwrap_or("(no message)"));
        let bytes = Some(Bytes::copy_from_slice(payload));
        Self { index: 0, bytes, reason: Reason::Panic, detail, is_whole: true }
    }
}

impl From<Rejected> for Reject {
    fn from(rejected: Rejected) -> Self {
        let Rejected { index, bytes, error } = rejected;
        let (reason, detail) = (error.reason(), error.to_string());
        Self { index, bytes: Some(bytes.into()), reason, detail, is_whole: false }
    }
}

impl DecodedMessage {
    /// The items of the batch that came from this message.
    pub(super) fn items(&self) -> std::ops::Range<usize> {
        self.first_item..self.first_item + self.elements.len()
    }
}

/// Decodes every message into one batch. Of a message that was written at an earlier delivery only the `remaining`
/// elements are in it: storing the others at each redelivery could put an old value back in the place of a newer one.
pub(super) async fn decode_all(
    decoder: Decoder,
    deliveries: &[Delivery],
    remaining: impl Fn(&Delivery) -> Option<Vec<usize>>,
) -> (Batch, Vec<DecodedMessage>) {
    let mut batch = Batch::default();
    let mut messages = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let first_item = batch.len();
        let (n_metrics, n_events) = (batch.metrics.len(), batch.events.len());
        let rejects = decoder.decode(delivery.payload(), &mut batch);
        let n_valid = batch.len() - first_item;
        let mut elements = valid_indices(&rejects, n_valid);
        if let Some(remaining) = remaining(delivery) {
            let is_wanted: Vec<bool> = elements.iter().map(|index| remaining.contains(index)).collect();
            keep(&mut batch.metrics, n_metrics, &is_wanted);
            keep(&mut batch.events, n_events, &is_wanted);
            keep(&mut elements, 0, &is_wanted);
        }
        messages.push(DecodedMessage { rejects, n_valid, elements, first_item });
        // A megabyte takes milliseconds to decode; the other lane must not wait for a whole batch.
        tokio::task::yield_now().await;
    }
    (batch, messages)
}

/// Returns the indices of the first `n_valid` elements that are not rejected; the rejects are in order.
fn valid_indices(rejects: &[Reject], n_valid: usize) -> Vec<usize> {
    let mut rejected = rejects.iter().map(|reject| reject.index).peekable();
    (0..).filter(|index| rejected.next_if_eq(index).is_none()).take(n_valid).collect()
}

/// Keeps, of the items from `first` on, those that are wanted.
fn keep<T>(items: &mut Vec<T>, first: usize, is_wanted: &[bool]) {
    let wanted: Vec<T> =
        items.drain(first..).zip(is_wanted).filter(|(_, is_wanted)| **is_wanted).map(|(item, _)| item).collect();
    items.extend(wanted);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn only_the_remaining_items_are_kept() {
        let mut items = vec![7, 8, 1, 2, 3];
        keep(&mut items, 2, &[false, true, true]);
        assert_eq!(items, [7, 8, 2, 3]);
        keep(&mut items, 2, &[false, false]);
        assert_eq!(items, [7, 8]);
        keep(&mut items, 2, &[true]);
        assert_eq!(items, [7, 8]);
    }

    const GOOD: &str = r#"{"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"d","metricType":"DiskTemp","value":40}"#;

    #[test]
    fn a_panic_rejects_the_message_and_leaves_the_batch_as_it_was() {
        let mut batch = Batch::default();
        assert!(Decoder::METRICS.decode(GOOD.as_bytes(), &mut batch).is_empty());
        let half_way = Decoder(|payload, batch| {
            batch.metrics.extend(wire::decode_metrics(payload).items);
            panic!("planted at {}", payload.len())
        });
        let rejects = half_way.decode(GOOD.as_bytes(), &mut batch);
        assert_eq!((batch.metrics.len(), rejects.len()), (1, 1));
        assert_eq!((rejects[0].reason, rejects[0].bytes.as_deref()), (Reason::Panic, Some(GOOD.as_bytes())));
        assert!(rejects[0].detail.contains(&format!("planted at {}", GOOD.len())), "{}", rejects[0].detail);
    }

    #[test]
    fn the_elements_beside_rejects_keep_their_indices() {
        let mut batch = Batch::default();
        let rejects = Decoder::METRICS.decode(format!("[1,{GOOD},NaN,2,{GOOD},{GOOD},3]").as_bytes(), &mut batch);
        assert_eq!(rejects.iter().map(|reject| reject.index).collect::<Vec<_>>(), [0, 2, 3, 6]);
        assert_eq!(valid_indices(&rejects, batch.len()), [1, 4, 5]);
        assert_eq!(valid_indices(&rejects, 0), [0; 0]);
    }

    /// Ten times the bytes take about ten times the work, and not a hundred times. Both sizes are timed in one run, and
    /// the best of several tries counts.
    #[test]
    fn rejects_cost_in_proportion_to_their_bytes() {
        let cost = |element: &str, n_elements: usize| {
            let payload = format!("[{}{GOOD}]", format!("{element},").repeat(n_elements));
            let once = || {
                let started = Instant::now();
                let mut batch = Batch::default();
                let rejects = Decoder::METRICS.decode(payload.as_bytes(), &mut batch);
                assert_eq!(valid_indices(&rejects, batch.len()), [n_elements]);
                started.elapsed()
            };
            (0..5).map(|_| once()).min().unwrap_or(Duration::MAX)
        };
        for element in ["1", "NaN", "{\"value\":NaN}", "\"x\""] {
            let (small, large) = (cost(element, 1_900), cost(element, 19_000));
            assert!(large < small * 40, "{element}: {small:?} for 1,900, {large:?} for 19,000");
        }
    }
}
