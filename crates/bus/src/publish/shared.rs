//! State that the handles of a publisher share with its send loop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::outbound::{OutboundBuffer, Queue};

/// Counts of the items handed to a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishStats {
    /// Items acknowledged by JetStream.
    pub n_acked: u64,
    /// Of these, items recognized as already stored.
    pub n_duplicate: u64,
    /// Items dropped because the buffer was full or closed.
    pub n_dropped_full: u64,
    /// Items dropped because the server will never take them (too large).
    pub n_dropped_refused: u64,
    /// Items buffered and not acknowledged yet.
    pub n_buffered: u64,
    /// Messages sent again.
    pub n_retries: u64,
    /// Set while a stream's last reply was that it is full.
    pub stream_full: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    buffer: Mutex<OutboundBuffer>,
    pub(super) counters: Counters,
    /// The last answer of each queue's stream, if it refused a message.
    refusals: Mutex<[Option<String>; 2]>,
    /// Signals that a message was buffered or the buffer closed.
    pub(super) work: Notify,
    /// Signals that a message left the buffer or the buffer closed.
    pub(super) room: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) acked: AtomicU64,
    pub(super) duplicate: AtomicU64,
    pub(super) dropped_full: AtomicU64,
    pub(super) dropped_refused: AtomicU64,
    pub(super) retries: AtomicU64,
    /// One for each queue.
    pub(super) stream_full: [AtomicBool; 2],
}

impl Shared {
    pub(super) fn new(max_bytes: usize) -> Self {
        let buffer = Mutex::new(OutboundBuffer::new(max_bytes));
        let (counters, refusals) = (Counters::default(), Mutex::default());
        Self { buffer, counters, refusals, work: Notify::new(), room: Notify::new() }
    }

    /// Keeps the outcome of a queue's last publish: the message of its error, or `None`.
    pub(super) fn set_refusal(&self, queue: Queue, refusal: Option<String>) {
        self.refusals()[queue as usize] = refusal;
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, [Option<String>; 2]> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn buffer(&self) -> MutexGuard<'_, OutboundBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> PublishStats {
        let counters = &self.counters;
        PublishStats {
            n_acked: counters.acked.load(Ordering::Relaxed),
            n_duplicate: counters.duplicate.load(Ordering::Relaxed),
            n_dropped_full: counters.dropped_full.load(Ordering::Relaxed),
            n_dropped_refused: counters.dropped_refused.load(Ordering::Relaxed),
            n_buffered: self.buffer().n_items(),
            n_retries: counters.retries.load(Ordering::Relaxed),
            stream_full: counters.stream_full.iter().any(|is_full| is_full.load(Ordering::Relaxed)),
        }
    }
}
