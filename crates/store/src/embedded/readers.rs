//! Pool of read-only connections. Each sees the newest committed state and holds it for one query.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::error::EmbeddedError;
use super::schema;
use crate::StoreError;

/// Concurrent reads; more wait. Each connection has its own cache (8 MiB) and, during a query, a thread.
const MAX_READS: usize = 4;

/// Read-only connections to one file.
#[derive(Debug)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Steps of SQLite's virtual machine in all reads.
    #[cfg(test)]
    pub(super) n_steps: Arc<std::sync::atomic::AtomicU64>,
}

impl Readers {
    /// Creates an empty pool; connections are opened on demand.
    pub(super) fn new(path: Arc<PathBuf>) -> Self {
        Self {
            path,
            permits: Arc::new(Semaphore::new(MAX_READS)),
            idle: Arc::default(),
            #[cfg(test)]
            n_steps: Arc::default(),
        }
    }

    /// Runs a query on a blocking thread, all of it on one state of the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Closed { path: self.path.to_path_buf() };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let (path, idle) = (Arc::clone(&self.path), Arc::clone(&self.idle));
        #[cfg(test)]
        let n_steps = Arc::clone(&self.n_steps);
        let work = tokio::task::spawn_blocking(move || {
            // The permit is returned here, not by the caller, who may have stopped waiting.
            let _permit = permit;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = kept.map_or_else(|| schema::open_reader(&path), Ok)?;
            #[cfg(test)]
            let connection = super::steps::counted(connection, n_steps)?;
            let result = in_snapshot(&connection, query)?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(result)
        });
        let outcome = work.await.unwrap_or_else(|panic| Err(EmbeddedError::Panicked(panic.to_string())));
        outcome.map_err(|error| error.into_error(action, &self.path))
    }

    /// Waits for running reads, then closes all connections; later reads fail.
    pub(super) async fn close(&self) {
        // An error means that the pool is closed already.
        let _all_permits = self.permits.acquire_many(MAX_READS as u32).await;
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Runs a query in a transaction. A connection whose query failed is not used again: its transaction may be broken
/// too.
fn in_snapshot<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, EmbeddedError> {
    let snapshot = connection.unchecked_transaction()?;
    let result = query(&snapshot)?;
    snapshot.commit()?;
    Ok(result)
}
