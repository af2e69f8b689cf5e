//! The writer: one thread that owns the only connection that writes.
//!
//! Requests that wait while it works are answered together from one transaction and one fsync. If such a
//! group fails, each of its batches is tried alone: a bad batch harms no other. Nobody gets an answer
//! before the commit is on disk. Batches of events alone go before all others that wait: after an outage an event waits
//! for the group that is being written, and not for a backlog of values.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use spindle_core::{Batch, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::insert::Inserter;
use super::removal::Removal;
use crate::{StoreError, Written};

/// Requests that wait for the writer, and as many that it has taken in to see which are urgent. When full, callers
/// of `write` wait: that is the back-pressure.
const MAX_WAITING: usize = 32;

/// A group of several batches has at most so many rows; about a quarter of a second of work, which an event may have to
/// wait for.
const MAX_GROUP_ROWS: usize = 100_000;

/// The handle to the writer thread. Dropped, it lets the thread finish what waits and end.
#[derive(Debug)]
pub(super) struct Writer {
    path: Arc<PathBuf>,
    requests: mpsc::Sender<Request>,
    /// For [`Writer::close`], which waits for the thread. A drop does not: it must not block.
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Request {
    Write(WriteRequest),
    Remove { removal: Box<Removal>, reply: oneshot::Sender<Result<Box<Removal>, StoreError>> },
    Close,
}

struct WriteRequest {
    batch: Arc<Batch>,
    received: Timestamp,
    reply: oneshot::Sender<Result<Written, StoreError>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(path: Arc<PathBuf>, connection: Connection) -> Result<Self, StoreError> {
        let (requests, waiting) = mpsc::channel(MAX_WAITING);
        let worker = Worker { path: Arc::clone(&path), connection, inserter: Inserter::default() };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || worker.run(waiting))
            .map_err(|error| StoreError::Failed {
                action: "start the store's writer thread",
                path: path.to_path_buf(),
                source: error.into(),
            })?;
        Ok(Self { path, requests, thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn write(&self, batch: Arc<Batch>, received: Timestamp) -> Result<Written, StoreError> {
        if batch.is_empty() && !self.requests.is_closed() {
            return Ok(Written::default());
        }
        self.ask(|reply| Request::Write(WriteRequest { batch, received, reply })).await
    }

    /// Takes one step of a removal.
    pub(super) async fn remove(&self, removal: Removal) -> Result<Removal, StoreError> {
        let removal = Box::new(removal);
        self.ask(|reply| Request::Remove { removal, reply }).await.map(|removal| *removal)
    }

    /// Lets the thread finish all that waits, and waits for its end.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Err(self.closed()) };
        // An error means that the thread has ended already, which is what is wanted.
        let _ended = self.requests.send(Request::Close).await;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => {
                let fault = Fault::Panicked("the writer thread has panicked".to_owned());
                Err(fault.into_error("close the store", &self.path))
            }
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())?
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { path: self.path.to_path_buf() }
    }
}

/// What the thread owns.
struct Worker {
    path: Arc<PathBuf>,
    connection: Connection,
    inserter: Inserter,
}

impl Worker {
    fn run(mut self, mut waiting: mpsc::Receiver<Request>) {
        let mut taken_in = VecDeque::new();
        loop {
            take_in(&mut taken_in, &mut waiting);
            let group = next_group(&mut taken_in);
            if !group.is_empty() {
                self.write(group);
                continue;
            }
            match taken_in.pop_front() {
                Some(Request::Remove { removal, reply }) => {
                    // Whoever has stopped waiting does not want the answer.
                    let _gone = reply.send(self.remove(removal));
                }
                Some(Request::Close | Request::Write(_)) | None => break,
            }
        }
        // Best effort: what stays in the log is read from there, by the next process to open the file too.
        let _busy = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn write(&mut self, group: Vec<WriteRequest>) {
        match self.write_together(&group) {
            Ok(all_written) => {
                for (request, written) in group.into_iter().zip(all_written) {
                    let _gone = request.reply.send(Ok(written));
                }
            }
            Err(fault) if group.len() > 1 && !fault.is_busy() => {
                for request in group {
                    self.write(vec![request]);
                }
            }
            Err(fault) => {
                let mut fault = Some(fault);
                for request in group {
                    let error = match fault.take() {
                        Some(fault) => fault.into_error("store a batch", &self.path),
                        None => StoreError::Busy { path: self.path.to_path_buf() },
                    };
                    let _gone = request.reply.send(Err(error));
                }
            }
        }
    }

    fn write_together(&mut self, group: &[WriteRequest]) -> Result<Vec<Written>, Fault> {
        let outcome = in_transaction(&mut self.connection, |connection| {
            self.inserter.refresh(connection)?;
            group.iter().map(|request| self.inserter.insert(connection, &request.batch, request.received)).collect()
        });
        if outcome.is_err() {
            self.inserter.forget();
        }
        outcome
    }

    fn remove(&mut self, mut removal: Box<Removal>) -> Result<Box<Removal>, StoreError> {
        if removal.takes_what_is_cached() {
            self.inserter.forget();
        }
        if removal.wants_transaction() {
            in_transaction(&mut self.connection, |connection| removal.step(connection))
        } else {
            removal.step(&self.connection)
        }
        .map_err(|fault| fault.into_error("remove old data", &self.path))?;
        Ok(removal)
    }
}

/// Waits until there is a request, then takes in what waits. Nothing if there will never be one again.
fn take_in(taken_in: &mut VecDeque<Request>, waiting: &mut mpsc::Receiver<Request>) {
    if taken_in.is_empty() {
        taken_in.extend(waiting.blocking_recv());
    }
    while taken_in.len() < MAX_WAITING {
        let Ok(request) = waiting.try_recv() else { return };
        taken_in.push_back(request);
    }
}

/// The writes that come next: those of events alone, if there are any, else those at the front, up to the first
/// that is no write or until the group is full. Empty if the front is no write.
fn next_group(taken_in: &mut VecDeque<Request>) -> Vec<WriteRequest> {
    // What comes behind the end is not written.
    let end = taken_in.iter().position(|request| matches!(request, Request::Close)).unwrap_or(taken_in.len());
    let has_urgent = taken_in.iter().take(end).any(is_urgent);
    let mut group = Vec::new();
    let mut n_rows = 0;
    let mut at = 0;
    while let Some(request) = taken_in.get(at) {
        let (is_wanted, n_more) = match request {
            Request::Write(write) => (!has_urgent || is_urgent(request), write.batch.len()),
            Request::Remove { .. } => (false, 0),
            Request::Close => break,
        };
        if !is_wanted && has_urgent {
            at += 1;
            continue;
        }
        if !is_wanted || (!group.is_empty() && n_rows + n_more > MAX_GROUP_ROWS) {
            break;
        }
        if let Some(Request::Write(write)) = taken_in.remove(at) {
            n_rows += n_more;
            group.push(write);
        }
    }
    group
}

fn is_urgent(request: &Request) -> bool {
    matches!(request, Request::Write(WriteRequest { batch, .. }) if batch.metrics.is_empty())
}

/// Commits if the work succeeds, else rolls back. Takes the write lock at once, so that what the work has
/// read is still so when it writes.
fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = work(&transaction)?;
    transaction.commit()?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use spindle_core::{Criticality, DeviceMetric, DeviceName, Event, EventType, MetricType};

    use super::*;

    fn write(n_metrics: usize, n_events: usize) -> Request {
        let device = || DeviceName::new("d").unwrap();
        let metric = |time: usize| DeviceMetric {
            timestamp: Timestamp::from_ns(time as i64),
            source_device: device(),
            metric_type: MetricType::new("IOPs").unwrap(),
            value: 1.0,
            seq: None,
            labels: None,
        };
        let event = |number: usize| Event {
            id: uuid::Uuid::from_u128(number as u128),
            criticality: Criticality::MAX,
            timestamp: Timestamp::from_ns(1),
            source_device: device(),
            event_type: EventType::new("Note").unwrap(),
            event_message: None,
            seq: None,
            labels: None,
        };
        let metrics = (0..n_metrics).map(metric).collect();
        let batch = Arc::new(Batch { metrics, events: (0..n_events).map(event).collect() });
        Request::Write(WriteRequest { batch, received: Timestamp::from_ns(2), reply: oneshot::channel().0 })
    }

    fn group_sizes(taken_in: &mut VecDeque<Request>) -> Vec<usize> {
        next_group(taken_in).iter().map(|request| request.batch.len()).collect()
    }

    #[test]
    fn events_go_first_and_the_others_keep_their_order() {
        let mut taken_in = VecDeque::from([write(5, 0), write(0, 1), write(6, 2), write(0, 2), write(7, 0)]);
        assert_eq!(group_sizes(&mut taken_in), [1, 2]);
        assert_eq!(group_sizes(&mut taken_in), [5, 8, 7]);
        assert!(taken_in.is_empty());
    }

    #[test]
    fn a_group_is_bounded_and_nothing_passes_the_end() {
        let large = MAX_GROUP_ROWS / 2 + 1;
        let mut taken_in = VecDeque::from([write(large, 0), write(large, 0), write(1, 0), Request::Close, write(0, 1)]);
        assert_eq!(group_sizes(&mut taken_in), [large]);
        assert_eq!(group_sizes(&mut taken_in), [large, 1]);
        assert_eq!(group_sizes(&mut taken_in), [0; 0]);
        assert!(matches!(taken_in.front(), Some(Request::Close)));
    }
}
