//! Publishing: a message counts as sent when JetStream's ack arrives, not before.
//!
//! Messages without ack stay in a bounded outbound buffer. While NATS is away or a stream is full the buffer grows; when
//! it is full the oldest metrics are dropped and counted, and live sources never block. A message keeps its id over
//! retries, so the stream recognizes a repeated one as a duplicate.
//!
//! Urgent messages and the others each keep their order. After a failure, all messages of that queue in flight are sent
//! again in order; after a lost connection all messages in flight are, without waiting for timeouts. The first of them
//! goes alone until it is acknowledged, because a server that has just come back may refuse it and take the next. So a
//! kill of this process loses the newest messages and leaves no gap, with one exception: async-nats first sends the one
//! message that was still in its channel when the connection was lost; a kill at that moment leaves out those before it.

mod jetstream;
mod outbound;
mod send_loop;
mod shared;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::connect::Bus;
use send_loop::SendLoop;
use shared::Shared;

pub(crate) use jetstream::{publish, publish_message};
pub use outbound::Outgoing;
pub use shared::PublishStats;

/// Limits of the outbound buffer.
#[derive(Clone, Copy, Debug)]
pub struct BufferLimits {
    /// Memory of the messages in the buffer, in flight or not, in bytes; see [`Outgoing::held_bytes`].
    pub max_bytes: usize,
    /// Messages in flight. Far below the 5,000 at which async-nats stops taking more.
    pub window: usize,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, window: 256 }
    }
}

/// A handle for publishing; clones share the buffer.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    /// Creates a publisher and its send loop, which runs until the publisher is closed and the buffer empty.
    pub fn new(bus: Bus, limits: BufferLimits) -> (Self, impl Future<Output = ()> + Send) {
        let shared = Arc::new(Shared::new(limits.max_bytes));
        let publisher = Self { shared: shared.clone() };
        (publisher, SendLoop::new(bus, shared, limits.window).run())
    }

    /// Buffers a message without waiting. If the buffer is full, drops and counts the oldest messages, urgent ones last.
    pub fn enqueue(&self, message: Outgoing) {
        let n_dropped = self.shared.buffer().push_dropping(message);
        self.shared.counters.dropped_full.fetch_add(n_dropped, Ordering::Relaxed);
        self.shared.work.notify_one();
    }

    /// Buffers a message once there is room: for sources that can wait, such as a recording. Drops nothing, unless the
    /// publisher is closed.
    pub async fn enqueue_when_room(&self, mut message: Outgoing) {
        loop {
            let room = self.shared.room.notified();
            let pushed = self.shared.buffer().push_if_room(message);
            message = match pushed {
                Ok(n_dropped) => {
                    self.shared.counters.dropped_full.fetch_add(n_dropped, Ordering::Relaxed);
                    self.shared.work.notify_one();
                    return;
                }
                Err(message) => message,
            };
            room.await;
        }
    }

    /// Closes the buffer to new messages, including those that wait for room; buffered messages are still sent.
    pub fn close(&self) {
        self.shared.buffer().close();
        self.shared.work.notify_one();
        self.shared.room.notify_waiters();
    }

    /// Returns when the buffer is empty. Never returns while NATS is away: use a timeout.
    pub async fn drained(&self) {
        loop {
            let room = self.shared.room.notified();
            if self.shared.buffer().n_items() == 0 {
                return;
            }
            room.await;
        }
    }

    /// Returns why NATS does not take messages at present, one line for each kind of message; empty if it takes them, or
    /// is away.
    pub fn refusals(&self) -> Vec<String> {
        self.shared.refusals().iter().flatten().cloned().collect()
    }

    /// Returns the counts of all items so far.
    pub fn stats(&self) -> PublishStats {
        self.shared.stats()
    }
}
