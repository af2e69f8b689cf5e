//! Merges the messages of the two streams in the order in which NATS took them. A message comes out once no earlier one
//! of the other stream can follow: one waits behind it, or the other stream was found at its end after the message had
//! been received. So a replay from the same positions gives the same order.
//!
//! The times are those of the servers that lead the streams. In a cluster these may be two, with two clocks: the order is
//! that of their clocks, and a message that comes after a later one of the other stream is judged where it comes. The
//! judge waits some seconds for such messages; clocks that differ by more make a replay near the end of a stream differ.

use std::collections::VecDeque;
use std::time::Duration;

use spindle_core::Timestamp;

/// Number of streams.
pub(crate) const STREAMS: usize = 2;

/// Messages received and not yet judged, of both streams.
#[derive(Debug)]
pub(super) struct Merge<T> {
    queues: [Queue<T>; STREAMS],
    /// Newest time of a message received.
    newest: Timestamp,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<(Timestamp, T)>,
    /// Newest time received of this stream.
    newest: Timestamp,
    /// Everything that NATS took until then has been received.
    complete_until: Timestamp,
}

impl<T> Default for Merge<T> {
    fn default() -> Self {
        let queues = std::array::from_fn(|_| Queue {
            waiting: VecDeque::new(),
            newest: Timestamp::default(),
            complete_until: Timestamp::default(),
        });
        Self { queues, newest: Timestamp::default() }
    }
}

impl<T> Merge<T> {
    /// Returns `true` for each stream of which no message waits.
    pub(super) fn needs(&self) -> [bool; STREAMS] {
        std::array::from_fn(|stream| self.queues[stream].waiting.is_empty())
    }

    /// Returns the newest time received so far, to be read before a pull.
    pub(super) fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Adds messages of a stream, in its order.
    pub(super) fn push(&mut self, stream: usize, messages: impl IntoIterator<Item = (Timestamp, T)>) {
        let queue = &mut self.queues[stream];
        for (published, message) in messages {
            // A new leader's clock may be behind: the order of the stream counts.
            queue.newest = queue.newest.max(published);
            queue.waiting.push_back((queue.newest, message));
        }
        // Another one of the same time may follow.
        queue.complete_until = queue.complete_until.max(queue.newest.minus(Duration::from_nanos(1)));
        self.newest = self.newest.max(queue.newest);
    }

    /// Takes note that a stream was found at its end after the newest message `until` had been received.
    pub(super) fn end(&mut self, stream: usize, until: Timestamp) {
        let queue = &mut self.queues[stream];
        queue.complete_until = queue.complete_until.max(until);
    }

    /// Returns the earliest message of each stream that waits, with its time.
    pub(super) fn heads(&mut self) -> impl Iterator<Item = (Timestamp, &mut T)> {
        self.queues.iter_mut().filter_map(|queue| queue.waiting.front_mut().map(|(at, message)| (*at, message)))
    }

    /// Takes the earliest message, with its stream and time, if it is known to be the earliest. At equal times the first
    /// stream goes first.
    pub(super) fn next(&mut self) -> Option<(usize, Timestamp, T)> {
        let heads = self.queues.iter().enumerate();
        let heads = heads.filter_map(|(stream, queue)| Some((queue.waiting.front()?.0, stream)));
        let (at, stream) = heads.min()?;
        let is_earliest = |queue: &Queue<T>| !queue.waiting.is_empty() || queue.complete_until >= at;
        if !self.queues.iter().all(is_earliest) {
            return None;
        }
        self.queues[stream].waiting.pop_front().map(|(at, message)| (stream, at, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn drain(merge: &mut Merge<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| merge.next()).map(|(_, _, message)| message).collect()
    }

    #[test]
    fn a_message_waits_until_the_other_stream_is_known_up_to_it() {
        let mut merge = Merge::default();
        merge.push(1, [(at(1), "m1"), (at(5), "m5")]);
        assert_eq!(drain(&mut merge), [""; 0]);
        assert_eq!(merge.needs(), [true, false]);
        merge.push(0, [(at(3), "e3")]);
        assert_eq!(drain(&mut merge), ["m1", "e3"]);
        // A pull that brought nothing new is no end.
        merge.push(0, []);
        assert_eq!(drain(&mut merge), [""; 0]);
        // The end of the events was found after m5 had come.
        merge.end(0, merge.newest());
        assert_eq!(drain(&mut merge), ["m5"]);
        // Metrics that come later are not covered by that.
        merge.push(1, [(at(6), "m6")]);
        assert_eq!(drain(&mut merge), [""; 0]);
        merge.push(0, [(at(6), "e6")]);
        // Another event of that time may follow.
        assert_eq!(drain(&mut merge), ["e6"]);
        merge.end(0, at(6));
        assert_eq!(drain(&mut merge), ["m6"]);
        assert_eq!(merge.needs(), [true, true]);
    }

    #[test]
    fn any_partition_into_pulls_gives_the_same_order() {
        let events: Vec<_> = (0..40).map(|number| (at(number * 7 % 40 / 3 + number), (0, number))).collect();
        let metrics: Vec<_> = (0..90).map(|number| (at(number / 2), (1, number))).collect();
        let order = |n_events: usize, n_metrics: usize| {
            let (mut merge, mut order) = (Merge::default(), Vec::new());
            let (mut events, mut metrics) = (events.chunks(n_events), metrics.chunks(n_metrics));
            loop {
                let (needs, newest) = (merge.needs(), merge.newest());
                for (stream, more) in [(0, needs[0].then(|| events.next())), (1, needs[1].then(|| metrics.next()))] {
                    match more {
                        None => {}
                        Some(None) => merge.end(stream, newest),
                        Some(Some(more)) => merge.push(stream, more.iter().copied()),
                    }
                }
                order.extend(std::iter::from_fn(|| merge.next()).map(|(_, _, message)| message));
                if order.len() == 130 {
                    return order;
                }
            }
        };
        let whole = order(40, 90);
        for (n_events, n_metrics) in [(1, 1), (3, 50), (40, 1), (7, 11)] {
            assert_eq!(order(n_events, n_metrics), whole);
        }
    }
}
