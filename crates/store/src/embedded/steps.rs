//! Counts the steps of SQLite's virtual machine: the cost of queries, free of the noise of a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::EmbeddedStore;
use crate::Store;

#[path = "../../tests/costs/queries.rs"]
mod queries;

use queries::{LARGE, SMALL, fill, run_each};

/// Steps by which a query may take more on the large store; none does today.
const MARGIN: u64 = 20;

/// Adds the steps of all queries on a connection to a counter.
pub(super) fn counted(mut connection: Connection, n_steps: Arc<AtomicU64>) -> rusqlite::Result<Connection> {
    let add = move || {
        n_steps.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(add))?;
    Ok(connection)
}

/// Fills a store; returns the name, the rows and the steps of each query.
async fn measure(folder: &std::path::Path, n_hours: i64) -> Vec<(&'static str, usize, u64)> {
    let path = folder.join(format!("{n_hours}.db"));
    let embedded = EmbeddedStore::open(&path).await.unwrap();
    let n_steps = Arc::clone(&embedded.readers.n_steps);
    let store = Store::Embedded(embedded);
    fill(&store, n_hours).await;
    let mut all = Vec::new();
    let mut before = n_steps.load(Ordering::Relaxed);
    run_each(&store, |name, n_rows| {
        let now = n_steps.load(Ordering::Relaxed);
        all.push((name, n_rows, now - before));
        before = now;
    })
    .await;
    store.close().await.unwrap();
    all
}

#[tokio::test]
async fn of_a_query_do_not_grow_with_history() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (measure(folder.path(), SMALL).await, measure(folder.path(), LARGE).await);
    assert!(small.iter().map(|(_, _, n_steps)| n_steps).sum::<u64>() > 10_000, "{small:?}");
    for ((name, n_small, few), (_, n_large, many)) in small.iter().zip(&large) {
        assert_eq!(n_small, n_large, "{name}: rows");
        assert!(*many <= few + MARGIN, "{name}: {few} steps, {many} with {LARGE} hours of history");
    }
}
