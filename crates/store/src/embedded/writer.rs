//! The writer: one thread that owns the only connection that writes.
//!
//! Requests that wait while it works are answered together from one transaction and one fsync. If such a
//! group fails, each of its batches is tried alone: a bad batch harms no other. Nobody gets an answer
//! before the commit is on disk.

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

/// Requests that wait for the writer. When full, callers of `write` wait: that is the back-pressure.
const MAX_WAITING: usize = 32;

/// A group takes in no further batch once it has this many rows; about a quarter of a second of work.
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
        let mut next = None;
        while let Some(request) = next.take().or_else(|| waiting.blocking_recv()) {
            match request {
                Request::Write(first) => {
                    let group;
                    (group, next) = gather(first, &mut waiting);
                    self.write(group);
                }
                Request::Remove { removal, reply } => {
                    // Whoever has stopped waiting does not want the answer.
                    let _gone = reply.send(self.remove(removal));
                }
                Request::Close => break,
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

/// The requests that wait behind `first`, up to the first that is no write (handed back) or the group is full.
fn gather(first: WriteRequest, waiting: &mut mpsc::Receiver<Request>) -> (Vec<WriteRequest>, Option<Request>) {
    let mut n_rows = first.batch.len();
    let mut group = vec![first];
    while n_rows < MAX_GROUP_ROWS {
        match waiting.try_recv() {
            Ok(Request::Write(request)) => {
                n_rows += request.batch.len();
                group.push(request);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
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
