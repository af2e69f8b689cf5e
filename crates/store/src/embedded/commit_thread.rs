//! Commit thread: owns the only connection that writes.
//!
//! Requests that arrive during a commit are committed together, in one transaction with one fsync. If such a group
//! fails, each of its batches is tried alone: a bad batch does not affect others. No request is answered before its
//! commit is on disk. Batches that hold only events go before all other waiting ones: after an outage an event waits for
//! the group being committed, and not for a backlog of values.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use spindle_core::pipeline::PipelinePoint;
use spindle_core::{Batch, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::error::EmbeddedError;
use super::insert::Inserter;
use super::pipeline;
use super::removal::{Oldest, Removal};
use crate::{StoreError, Written};

/// Requests queued for the thread, and as many again that it has taken from the queue to find the urgent ones. When
/// both are full, callers of `write` wait: that is the back-pressure.
const MAX_QUEUED: usize = 32;

/// Most rows in a group of several batches: about a quarter of a second of work, which an event may have to wait
/// for.
const MAX_GROUP_ROWS: usize = 100_000;

/// Handle to the commit thread. After a drop the thread finishes the queued requests and ends.
#[derive(Debug)]
pub(super) struct CommitThread {
    path: Arc<PathBuf>,
    requests: mpsc::Sender<Request>,
    /// For [`CommitThread::close`], which waits for the thread. A drop does not: it must not block.
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Request {
    Write(WriteRequest),
    Report(Report),
    Remove { removal: Box<Removal>, reply: oneshot::Sender<Result<Box<Removal>, StoreError>> },
    Close,
}

struct WriteRequest {
    batch: Arc<Batch>,
    received: Timestamp,
    reply: oneshot::Sender<Result<Written, StoreError>>,
}

/// Points of a writer about itself, and the time before which older ones go.
struct Report {
    instance: String,
    points: Vec<PipelinePoint>,
    oldest: Timestamp,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

impl CommitThread {
    /// Starts the thread.
    pub(super) fn start(path: Arc<PathBuf>, connection: Connection) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel(MAX_QUEUED);
        let committer =
            Committer { path: Arc::clone(&path), connection, inserter: Inserter::default(), oldest: Oldest::default() };
        let thread = std::thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || committer.run(queue))
            .map_err(|error| StoreError::Failed {
                action: "start the commit thread",
                path: path.to_path_buf(),
                source: error.into(),
            })?;
        Ok(Self { path, requests, thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn write(&self, batch: Arc<Batch>, received: Timestamp) -> Result<Written, StoreError> {
        if batch.is_empty() && !self.requests.is_closed() {
            return Ok(Written::default());
        }
        self.request(|reply| Request::Write(WriteRequest { batch, received, reply })).await
    }

    pub(super) async fn write_self_metrics(
        &self,
        instance: String,
        points: Vec<PipelinePoint>,
        oldest: Timestamp,
    ) -> Result<(), StoreError> {
        self.request(|reply| Request::Report(Report { instance, points, oldest, reply })).await
    }

    /// Performs one step of a removal.
    pub(super) async fn remove(&self, removal: Removal) -> Result<Removal, StoreError> {
        let removal = Box::new(removal);
        self.request(|reply| Request::Remove { removal, reply }).await.map(|removal| *removal)
    }

    /// Lets the thread finish the queued requests, and waits for its end.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Err(self.closed()) };
        // An error means that the thread has ended already, as intended.
        let _ended = self.requests.send(Request::Close).await;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => {
                let error = EmbeddedError::Panicked("the commit thread panicked".to_owned());
                Err(error.into_error("close the store", &self.path))
            }
        }
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, response) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| self.closed())?;
        response.await.map_err(|_| self.closed())?
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { path: self.path.to_path_buf() }
    }
}

/// State owned by the thread.
struct Committer {
    path: Arc<PathBuf>,
    connection: Connection,
    inserter: Inserter,
    oldest: Oldest,
}

impl Committer {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut taken = VecDeque::new();
        loop {
            take(&mut taken, &mut queue);
            let group = next_group(&mut taken);
            if !group.is_empty() {
                self.write(group);
                continue;
            }
            match taken.pop_front() {
                Some(Request::Report(report)) => self.report(report),
                Some(Request::Remove { removal, reply }) => {
                    // An error means that the caller has stopped waiting.
                    let _gone = reply.send(self.remove(removal));
                }
                Some(Request::Close | Request::Write(_)) | None => break,
            }
        }
        // Best effort: whatever stays in the log is read from there, also by the next process that opens the file.
        let _busy = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn write(&mut self, group: Vec<WriteRequest>) {
        match self.write_together(&group) {
            Ok(all_written) => {
                for (request, written) in group.into_iter().zip(all_written) {
                    let _gone = request.reply.send(Ok(written));
                }
            }
            Err(error) if group.len() > 1 && !error.is_busy() => {
                for request in group {
                    self.write(vec![request]);
                }
            }
            Err(error) => {
                let mut error = Some(error);
                for request in group {
                    let error = match error.take() {
                        Some(error) => error.into_error("store a batch", &self.path),
                        None => StoreError::Busy { path: self.path.to_path_buf() },
                    };
                    let _gone = request.reply.send(Err(error));
                }
            }
        }
    }

    fn write_together(&mut self, group: &[WriteRequest]) -> Result<Vec<Written>, EmbeddedError> {
        for WriteRequest { batch, .. } in group {
            self.oldest.add(batch.metrics.iter().map(|metric| metric.timestamp));
            self.oldest.add(batch.events.iter().map(|event| event.timestamp));
        }
        // The transaction is rolled back when it is dropped, also by a panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            in_transaction(&mut self.connection, |connection| {
                self.inserter.refresh(connection)?;
                group.iter().map(|request| self.inserter.insert(connection, &request.batch, request.received)).collect()
            })
        }));
        let outcome = outcome.unwrap_or_else(|panic| Err(EmbeddedError::Panicked(panic_message(panic.as_ref()))));
        if outcome.is_err() {
            self.inserter.clear();
        }
        outcome
    }

    fn report(&mut self, Report { instance, points, oldest, reply }: Report) {
        let outcome = in_transaction(&mut self.connection, |connection| {
            Ok(pipeline::insert(connection, &instance, &points, oldest.as_ns())?)
        });
        let _gone = reply.send(outcome.map_err(|error| error.into_error("store the pipeline's metrics", &self.path)));
    }

    fn remove(&mut self, mut removal: Box<Removal>) -> Result<Box<Removal>, StoreError> {
        let n_names = |removal: &Removal| removal.removed().n_series + removal.removed().n_devices;
        let n_before = n_names(&removal);
        let Self { connection, oldest, .. } = self;
        let outcome = if removal.needs_transaction() {
            in_transaction(connection, |connection| removal.step(connection, oldest))
        } else {
            removal.step(connection, oldest)
        };
        // The caches must not hold what is removed, nor what a step removed that then failed.
        if outcome.is_err() || n_names(&removal) != n_before {
            self.inserter.clear();
        }
        if let Err(error) = outcome {
            self.oldest = Oldest::default();
            return Err(error.into_error("remove old data", &self.path));
        }
        Ok(removal)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Waits for a request, then takes the queued ones. Takes none if the queue is closed.
fn take(taken: &mut VecDeque<Request>, queue: &mut mpsc::Receiver<Request>) {
    if taken.is_empty() {
        taken.extend(queue.blocking_recv());
    }
    while taken.len() < MAX_QUEUED {
        let Ok(request) = queue.try_recv() else { return };
        taken.push_back(request);
    }
}

/// Takes the next group of writes: those that hold only events, if any, else those at the front, up to the first
/// request of another kind or until the group is full. Empty if the front is not a write.
fn next_group(taken: &mut VecDeque<Request>) -> Vec<WriteRequest> {
    // Requests behind the end are not written.
    let end = taken.iter().position(|request| matches!(request, Request::Close)).unwrap_or(taken.len());
    let has_urgent = taken.iter().take(end).any(is_urgent);
    let mut group = Vec::new();
    let mut n_rows = 0;
    let mut at = 0;
    while let Some(request) = taken.get(at) {
        let (is_wanted, n_more) = match request {
            Request::Write(write) => (!has_urgent || is_urgent(request), write.batch.len()),
            Request::Remove { .. } | Request::Report(_) => (false, 0),
            Request::Close => break,
        };
        if !is_wanted && has_urgent {
            at += 1;
            continue;
        }
        if !is_wanted || (!group.is_empty() && n_rows + n_more > MAX_GROUP_ROWS) {
            break;
        }
        if let Some(Request::Write(write)) = taken.remove(at) {
            n_rows += n_more;
            group.push(write);
        }
    }
    group
}

fn is_urgent(request: &Request) -> bool {
    matches!(request, Request::Write(WriteRequest { batch, .. }) if batch.metrics.is_empty())
}

/// Commits if the work succeeds, else rolls back. Takes the write lock at once, so that the state the work reads cannot
/// change before it writes.
fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, EmbeddedError>,
) -> Result<T, EmbeddedError> {
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
            id: uuid::Uuid::from_u128(number as u128).into(),
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

    fn group_sizes(taken: &mut VecDeque<Request>) -> Vec<usize> {
        next_group(taken).iter().map(|request| request.batch.len()).collect()
    }

    #[test]
    fn events_go_first_and_the_others_keep_their_order() {
        let mut taken = VecDeque::from([write(5, 0), write(0, 1), write(6, 2), write(0, 2), write(7, 0)]);
        assert_eq!(group_sizes(&mut taken), [1, 2]);
        assert_eq!(group_sizes(&mut taken), [5, 8, 7]);
        assert!(taken.is_empty());
    }

    #[test]
    fn a_group_is_bounded_and_nothing_passes_the_end() {
        let large = MAX_GROUP_ROWS / 2 + 1;
        let mut taken = VecDeque::from([write(large, 0), write(large, 0), write(1, 0), Request::Close, write(0, 1)]);
        assert_eq!(group_sizes(&mut taken), [large]);
        assert_eq!(group_sizes(&mut taken), [large, 1]);
        assert_eq!(group_sizes(&mut taken), [0; 0]);
        assert!(matches!(taken.front(), Some(Request::Close)));
    }
}
