//! Durable writes into the embedded store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use spindle_core::{Batch, Timestamp};
use spindle_store::Store;

use crate::{metrics, rate, say};

/// Values in one write: what a tick of a small fleet brings, and what a writer that catches up has in hand.
const BATCHES: [usize; 3] = [100, 5_000, 50_000];
/// Small batches pay a sync each; this many of them are enough to know.
const MAX_WRITES: usize = 2_000;

pub(crate) async fn run(n_values: usize, n_series: usize) -> Result<()> {
    let now = Timestamp::from_seconds(1_750_000_000);
    let mut fastest = 0.0_f64;
    for size in BATCHES {
        let folder = tempfile::tempdir()?;
        let store = Store::open_embedded(&folder.path().join("bench.db")).await?;
        let n_writes = (n_values / size).clamp(1, MAX_WRITES);
        let mut elapsed = Duration::ZERO;
        for round in 0..n_writes {
            let until = now.plus(Duration::from_secs(round as u64 * 60));
            let batch = Arc::new(spread(size, n_series, until)?);
            let started = Instant::now();
            store.write(batch, now).await?;
            elapsed += started.elapsed();
        }
        let n_written = n_writes * size;
        let speed = n_written as f64 / elapsed.as_secs_f64();
        fastest = fastest.max(speed);
        let bytes = store.size_bytes().await? as f64 / n_written as f64;
        say(&format!(
            "batches of {size:>6}  {}  {:.2} of the best so far, {bytes:.0} bytes a value",
            rate(n_written, elapsed),
            speed / fastest
        ));
        store.close().await?;
    }
    Ok(())
}

/// Values of many series, interleaved as a fleet's ticks are.
fn spread(n_values: usize, n_series: usize, until: Timestamp) -> Result<Batch> {
    let per_series = n_values.div_ceil(n_series);
    let mut all = Vec::with_capacity(n_values);
    for series in 0..n_series.min(n_values) {
        all.extend(metrics(&format!("device-{series}"), per_series, until)?);
    }
    all.sort_by_key(|metric| metric.timestamp);
    all.truncate(n_values);
    Ok(Batch { metrics: all, events: Vec::new() })
}
