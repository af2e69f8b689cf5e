//! The pool of read-only connections. They see the newest committed state and hold it for one query.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::schema;
use crate::StoreError;

/// Reads at once. More wait for a turn; each connection has its own cache (8 MiB) and thread while it works.
const MAX_READS: usize = 4;

/// Read-only connections to one file.
#[derive(Debug)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// An empty pool; connections are opened when needed.
    pub(super) fn new(path: Arc<PathBuf>) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(MAX_READS)), idle: Arc::default() }
    }

    /// Runs a query off the async threads, all of it on one state of the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Closed { path: self.path.to_path_buf() };
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| closed())?;
        let (path, idle) = (Arc::clone(&self.path), Arc::clone(&self.idle));
        let work = tokio::task::spawn_blocking(move || {
            // The turn is given back here, not by the caller, who may have stopped waiting.
            let _turn = turn;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = kept.map_or_else(|| schema::open_reader(&path), Ok)?;
            let answer = in_snapshot(&connection, query)?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(answer)
        });
        let outcome = work.await.unwrap_or_else(|panic| Err(Fault::Panicked(panic.to_string())));
        outcome.map_err(|fault| fault.into_error(action, &self.path))
    }

    /// Waits for running reads, then closes all connections; later reads fail.
    pub(super) async fn close(&self) {
        // An error means that it is closed already.
        let _all_turns = self.turns.acquire_many(MAX_READS as u32).await;
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection whose query failed is not used again: the transaction's end and the error may have a common cause.
fn in_snapshot<T>(connection: &Connection, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Fault> {
    let snapshot = connection.unchecked_transaction()?;
    let answer = query(&snapshot)?;
    snapshot.commit()?;
    Ok(answer)
}
