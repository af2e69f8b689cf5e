//! The messages that JetStream has not acknowledged yet: two queues, bounded together in bytes.

use std::collections::VecDeque;

use super::Outgoing;

/// A message that is held, and its place in the order in which all were handed over.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) place: u64,
    pub(super) message: Outgoing,
}

/// Each keeps its own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Others,
    Urgent,
}

impl Outgoing {
    pub(super) fn queue(&self) -> Queue {
        if self.urgent { Queue::Urgent } else { Queue::Others }
    }
}

#[derive(Debug)]
pub(super) struct OutboundBuffer {
    urgent: VecDeque<Held>,
    others: VecDeque<Held>,
    next_place: u64,
    /// Bytes of everything held, in flight included.
    n_bytes: usize,
    /// Items of everything held, in flight included.
    n_items: u64,
    max_bytes: usize,
    closed: bool,
}

impl OutboundBuffer {
    pub(super) fn new(max_bytes: usize) -> Self {
        let (urgent, others) = (VecDeque::new(), VecDeque::new());
        Self { urgent, others, next_place: 0, n_bytes: 0, n_items: 0, max_bytes, closed: false }
    }

    fn push(&mut self, message: Outgoing) {
        self.n_bytes += message.payload.len();
        self.n_items += message.n_items;
        let held = Held { place: self.next_place, message };
        self.next_place += 1;
        self.queue(held.message.queue()).push_back(held);
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<Held> {
        match queue {
            Queue::Urgent => &mut self.urgent,
            Queue::Others => &mut self.others,
        }
    }

    /// Takes the message, giving up older ones for it if there is no room; returns how many items were
    /// given up. A message that is not urgent never pushes out an urgent one.
    pub(super) fn push_giving_up(&mut self, message: Outgoing) -> u64 {
        if self.closed {
            return message.n_items;
        }
        // It would push out everything, and in vain.
        if !message.urgent && message.payload.len() > self.max_bytes {
            return message.n_items;
        }
        let mut n_given_up = 0;
        while self.n_bytes + message.payload.len() > self.max_bytes {
            let oldest = match self.others.pop_front() {
                Some(oldest) => oldest,
                None if message.urgent => match self.urgent.pop_front() {
                    Some(oldest) => oldest,
                    None => break,
                },
                None => return n_given_up + message.n_items,
            };
            n_given_up += oldest.message.n_items;
            self.settled(&oldest.message);
        }
        self.push(message);
        n_given_up
    }

    /// Takes the message if there is room for it (or nothing else is held), else hands it back. Returns
    /// how many items were given up: those of a message that comes after the end.
    pub(super) fn push_if_room(&mut self, message: Outgoing) -> Result<u64, Outgoing> {
        if self.closed {
            return Ok(message.n_items);
        }
        if self.n_bytes > 0 && self.n_bytes + message.payload.len() > self.max_bytes {
            return Err(message);
        }
        self.push(message);
        Ok(0)
    }

    /// The next message to send, of a queue that may send; it stays counted until it is settled.
    pub(super) fn take(&mut self, may_send: impl Fn(Queue) -> bool) -> Option<Held> {
        [Queue::Urgent, Queue::Others]
            .into_iter()
            .filter(|queue| may_send(*queue))
            .find_map(|queue| self.queue(queue).pop_front())
    }

    /// A message that was taken, but not acknowledged: it is where it was.
    pub(super) fn put_back(&mut self, held: Held) {
        let queue = self.queue(held.message.queue());
        let index = queue.partition_point(|other| other.place < held.place);
        queue.insert(index, held);
    }

    /// A message that needs holding no more.
    pub(super) fn settled(&mut self, message: &Outgoing) {
        self.n_bytes -= message.payload.len();
        self.n_items -= message.n_items;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.closed && self.urgent.is_empty() && self.others.is_empty()
    }

    pub(super) fn n_items(&self) -> u64 {
        self.n_items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, bytes: usize, urgent: bool) -> Outgoing {
        Outgoing { subject: "s", message_id: id.to_owned(), payload: vec![0; bytes].into(), n_items: 1, urgent }
    }

    fn ids(hold: &mut OutboundBuffer) -> Vec<String> {
        std::iter::from_fn(|| hold.take(|_| true)).map(|held| held.message.message_id).collect()
    }

    #[test]
    fn a_full_hold_gives_up_the_oldest_metrics_and_never_an_event_for_one() {
        let mut hold = OutboundBuffer::new(100);
        assert_eq!(hold.push_giving_up(message("m1", 40, false)), 0);
        assert_eq!(hold.push_giving_up(message("e1", 40, true)), 0);
        assert_eq!(hold.push_giving_up(message("m2", 40, false)), 1);
        assert_eq!(hold.push_giving_up(message("e2", 60, true)), 1);
        assert_eq!(hold.push_giving_up(message("m3", 40, false)), 1);
        assert_eq!(hold.n_items(), 2);
        assert_eq!(ids(&mut hold), ["e1", "e2"]);
    }

    #[test]
    fn what_can_never_fit_pushes_nothing_out() {
        let mut hold = OutboundBuffer::new(100);
        hold.push_giving_up(message("m1", 40, false));
        assert_eq!(hold.push_giving_up(message("large", 101, false)), 1);
        assert_eq!(ids(&mut hold), ["m1"]);
    }

    #[test]
    fn what_was_not_acknowledged_goes_first_again() {
        let mut hold = OutboundBuffer::new(100);
        for id in ["a", "b", "c", "d"] {
            hold.push_giving_up(message(id, 10, false));
        }
        let [a, b, c] = std::array::from_fn(|_| hold.take(|_| true).unwrap());
        // However late each of them is known to have failed.
        for held in [b, a, c] {
            hold.put_back(held);
        }
        assert_eq!(hold.n_items(), 4);
        assert_eq!(ids(&mut hold), ["a", "b", "c", "d"]);
    }

    #[test]
    fn who_can_wait_is_refused_until_there_is_room() {
        let mut hold = OutboundBuffer::new(50);
        hold.push_if_room(message("large", 80, false)).unwrap();
        let waiting = hold.push_if_room(message("next", 10, false)).unwrap_err();
        let sent = hold.take(|_| true).unwrap();
        hold.settled(&sent.message);
        hold.push_if_room(waiting).unwrap();
        hold.close();
        assert!(!hold.is_finished());
        assert_eq!(hold.push_giving_up(message("late", 1, true)), 1);
    }
}
