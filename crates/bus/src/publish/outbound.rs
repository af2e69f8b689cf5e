//! The outbound buffer: messages that JetStream has not acknowledged yet, in two queues with a common bound in bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use spindle_core::Timestamp;

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Subject to publish to.
    pub subject: &'static str,
    /// Message id, the same over all retries.
    pub message_id: String,
    /// The message's bytes, in an allocation of exactly their size: what it has beyond that is not counted.
    pub payload: Bytes,
    /// Number of metrics or events in it, for the counters.
    pub n_items: u64,
    /// Urgent messages go first and are dropped last: events before metrics.
    pub urgent: bool,
    /// Time as of which a simulated past is told; as if NATS had taken the message then.
    pub as_of: Option<Timestamp>,
}

fn allocated(n_bytes: usize) -> usize {
    (n_bytes + ALLOCATION_BYTES).next_multiple_of(ALLOCATION_ALIGN)
}

/// A buffered message with its position in the order of all messages.
#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) position: u64,
    pub(super) message: Outgoing,
}

/// Queue of a message. Each queue keeps its own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Normal,
    Urgent,
}

/// Capacity below which a queue is not shrunk.
const MIN_CAPACITY: usize = 1_024;
/// Size of the pieces that an allocator hands out, and its bookkeeping for each.
const ALLOCATION_ALIGN: usize = 16;
const ALLOCATION_BYTES: usize = 8;
/// A message in a queue that has doubled its capacity, and the reference count of its payload.
const SLOT_BYTES: usize = 2 * size_of::<Buffered>() + 48;

impl Outgoing {
    /// Estimates the memory that a buffered message takes, in bytes. A quarter is for fragmentation: messages of
    /// different sizes, allocated by several threads from heaps of their own, replace each other.
    pub fn held_bytes(&self) -> usize {
        let n_bytes = allocated(self.payload.len()) + allocated(self.message_id.len()) + SLOT_BYTES;
        n_bytes + n_bytes / 4
    }

    pub(super) fn queue(&self) -> Queue {
        if self.urgent { Queue::Urgent } else { Queue::Normal }
    }
}

#[derive(Debug)]
pub(super) struct OutboundBuffer {
    urgent: VecDeque<Buffered>,
    normal: VecDeque<Buffered>,
    next_position: u64,
    /// Memory of all messages, in flight included.
    n_bytes: usize,
    /// Items of all messages, in flight included.
    n_items: u64,
    max_bytes: usize,
    closed: bool,
}

impl OutboundBuffer {
    pub(super) fn new(max_bytes: usize) -> Self {
        let (urgent, normal) = (VecDeque::new(), VecDeque::new());
        Self { urgent, normal, next_position: 0, n_bytes: 0, n_items: 0, max_bytes, closed: false }
    }

    fn push(&mut self, message: Outgoing) {
        self.n_bytes += message.held_bytes();
        self.n_items += message.n_items;
        let buffered = Buffered { position: self.next_position, message };
        self.next_position += 1;
        self.queue(buffered.message.queue()).push_back(buffered);
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<Buffered> {
        match queue {
            Queue::Normal => &mut self.normal,
            Queue::Urgent => &mut self.urgent,
        }
    }

    /// Pushes a message, dropping older ones if there is no room; returns the number of items dropped. A message that
    /// is not urgent never displaces an urgent one.
    pub(super) fn push_dropping(&mut self, message: Outgoing) -> u64 {
        if self.closed {
            return message.n_items;
        }
        // It would displace everything in vain.
        if !message.urgent && message.held_bytes() > self.max_bytes {
            return message.n_items;
        }
        let mut n_dropped = 0;
        while self.n_bytes + message.held_bytes() > self.max_bytes {
            let oldest = match self.normal.pop_front() {
                Some(oldest) => oldest,
                None if message.urgent => match self.urgent.pop_front() {
                    Some(oldest) => oldest,
                    None => break,
                },
                None => return n_dropped + message.n_items,
            };
            n_dropped += oldest.message.n_items;
            self.release(&oldest.message);
        }
        self.push(message);
        n_dropped
    }

    /// Pushes a message if there is room for it or the buffer is empty, else hands it back. Returns the number of items
    /// dropped: those of a message that comes after the buffer was closed.
    pub(super) fn push_if_room(&mut self, message: Outgoing) -> Result<u64, Outgoing> {
        if self.closed {
            return Ok(message.n_items);
        }
        if self.n_bytes > 0 && self.n_bytes + message.held_bytes() > self.max_bytes {
            return Err(message);
        }
        self.push(message);
        Ok(0)
    }

    /// Takes the next message of a queue that may send; it counts as buffered until it is released.
    pub(super) fn take(&mut self, may_send: impl Fn(Queue) -> bool) -> Option<Buffered> {
        [Queue::Urgent, Queue::Normal]
            .into_iter()
            .filter(|queue| may_send(*queue))
            .find_map(|queue| self.queue(queue).pop_front())
    }

    /// Puts a message that was taken and not acknowledged back into its position.
    pub(super) fn put_back(&mut self, buffered: Buffered) {
        let queue = self.queue(buffered.message.queue());
        let index = queue.partition_point(|other| other.position < buffered.position);
        queue.insert(index, buffered);
    }

    /// Stops counting a message that was taken.
    pub(super) fn release(&mut self, message: &Outgoing) {
        self.n_bytes -= message.held_bytes();
        self.n_items -= message.n_items;
        // A queue that was long once keeps its capacity otherwise.
        for queue in [&mut self.urgent, &mut self.normal] {
            if queue.capacity() > MIN_CAPACITY && queue.len() < queue.capacity() / 4 {
                queue.shrink_to(queue.capacity() / 2);
            }
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.closed && self.urgent.is_empty() && self.normal.is_empty()
    }

    pub(super) fn n_items(&self) -> u64 {
        self.n_items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, bytes: usize, urgent: bool) -> Outgoing {
        Outgoing {
            subject: "s",
            message_id: id.to_owned(),
            payload: vec![0; bytes].into(),
            n_items: 1,
            urgent,
            as_of: None,
        }
    }

    /// A buffer with room for messages whose payloads have these sizes.
    fn buffer(sizes: &[usize]) -> OutboundBuffer {
        OutboundBuffer::new(sizes.iter().map(|bytes| message("m1", *bytes, false).held_bytes()).sum())
    }

    fn ids(buffer: &mut OutboundBuffer) -> Vec<String> {
        std::iter::from_fn(|| buffer.take(|_| true)).map(|buffered| buffered.message.message_id).collect()
    }

    #[test]
    fn a_full_buffer_drops_the_oldest_metrics_and_never_an_event_for_one() {
        let mut buffer = buffer(&[400, 600]);
        assert_eq!(buffer.push_dropping(message("m1", 400, false)), 0);
        assert_eq!(buffer.push_dropping(message("e1", 400, true)), 0);
        assert_eq!(buffer.push_dropping(message("m2", 400, false)), 1);
        assert_eq!(buffer.push_dropping(message("e2", 600, true)), 1);
        assert_eq!(buffer.push_dropping(message("m3", 400, false)), 1);
        assert_eq!(buffer.n_items(), 2);
        assert_eq!(ids(&mut buffer), ["e1", "e2"]);
    }

    #[test]
    fn what_can_never_fit_pushes_nothing_out() {
        let mut buffer = buffer(&[100]);
        buffer.push_dropping(message("m1", 40, false));
        assert_eq!(buffer.push_dropping(message("large", 300, false)), 1);
        assert_eq!(ids(&mut buffer), ["m1"]);
    }

    #[test]
    fn what_was_not_acknowledged_goes_first_again() {
        let mut buffer = buffer(&[10; 4]);
        for id in ["a", "b", "c", "d"] {
            buffer.push_dropping(message(id, 10, false));
        }
        let [a, b, c] = std::array::from_fn(|_| buffer.take(|_| true).unwrap());
        // In whichever order their failures are noticed.
        for buffered in [b, a, c] {
            buffer.put_back(buffered);
        }
        assert_eq!(buffer.n_items(), 4);
        assert_eq!(ids(&mut buffer), ["a", "b", "c", "d"]);
    }

    #[test]
    fn who_can_wait_is_refused_until_there_is_room() {
        let mut buffer = buffer(&[50]);
        buffer.push_if_room(message("large", 80, false)).unwrap();
        let waiting = buffer.push_if_room(message("next", 10, false)).unwrap_err();
        let sent = buffer.take(|_| true).unwrap();
        buffer.release(&sent.message);
        buffer.push_if_room(waiting).unwrap();
        buffer.close();
        assert!(!buffer.is_finished());
        assert_eq!(buffer.push_dropping(message("late", 1, true)), 1);
    }
}
