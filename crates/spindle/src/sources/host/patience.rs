//! Calls that may never return: to the file system of a server that is gone, to a suspended pool, to the sensor of a
//! dying disk. Each waits a bounded time; one that does not return keeps its thread, and its subject is not asked again
//! until it does.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for one call.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait for all calls of one sample; those left are made with the next.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(3);
/// A call needs little.
const STACK_BYTES: usize = 128 << 10;

/// Outcome of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<T> {
    Answer(T),
    /// It did not return in time, now or earlier.
    Hangs,
    /// Not called: other calls took all the time of this sample, or no thread could be started.
    NoTime,
}

/// Calls by subject.
#[derive(Debug)]
pub(super) struct Patience<T> {
    hanging: BTreeMap<String, Receiver<T>>,
    left: Duration,
}

impl<T> Default for Patience<T> {
    fn default() -> Self {
        Self { hanging: BTreeMap::new(), left: PATIENCE_IN_ALL }
    }
}

impl<T: Send + 'static> Patience<T> {
    /// Starts a sample: all of the time is left.
    pub(super) fn renew(&mut self) {
        self.left = PATIENCE_IN_ALL;
    }

    /// Makes a call in a thread of its own, and waits for it within bounds.
    pub(super) fn ask(&mut self, subject: &str, call: impl FnOnce() -> T + Send + 'static) -> Asked<T> {
        if let Some(hanging) = self.hanging.get(subject) {
            match hanging.try_recv() {
                Err(TryRecvError::Empty) => return Asked::Hangs,
                // Its answer is old; a dead thread has none.
                Ok(_) | Err(TryRecvError::Disconnected) => drop(self.hanging.remove(subject)),
            }
        }
        if self.left.is_zero() {
            return Asked::NoTime;
        }
        // Room for the answer, so that a late thread ends.
        let (answer, answered) = sync_channel(1);
        let thread = thread::Builder::new().name("patience".to_owned()).stack_size(STACK_BYTES);
        if thread.spawn(move || drop(answer.send(call()))).is_err() {
            return Asked::NoTime;
        }
        let started = Instant::now();
        let outcome = answered.recv_timeout(PATIENCE.min(self.left));
        self.left = self.left.saturating_sub(started.elapsed());
        match outcome {
            Ok(value) => Asked::Answer(value),
            Err(RecvTimeoutError::Timeout) => {
                self.hanging.insert(subject.to_owned(), answered);
                Asked::Hangs
            }
            Err(RecvTimeoutError::Disconnected) => Asked::NoTime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_left_alone_until_it_returns() {
        let mut patience = Patience::default();
        assert_eq!(patience.ask("a", || 1), Asked::Answer(1));
        let (release, released) = sync_channel::<()>(1);
        let (done, finished) = sync_channel::<()>(1);
        let hang = move || {
            let _ = released.recv();
            done.send(()).unwrap();
            2
        };
        assert_eq!(patience.ask("b", hang), Asked::Hangs);
        assert_eq!(patience.ask("b", || panic!("asked twice")), Asked::Hangs);
        assert_eq!(patience.ask("a", || 3), Asked::Answer(3), "the others are asked");
        patience.left = Duration::ZERO;
        assert_eq!(patience.ask("a", || 3), Asked::NoTime);
        patience.renew();
        release.send(()).unwrap();
        finished.recv().unwrap();
        while patience.ask("b", || 4) == Asked::Hangs {
            thread::yield_now();
        }
        assert_eq!(patience.ask("b", || 4), Asked::Answer(4), "asked again");
    }
}
