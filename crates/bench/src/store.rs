//! Benchmark of durable writes to a store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use spindle_core::{Batch, Timestamp};
use spindle_store::{InfluxSettings, Store};
use tokio::task::JoinSet;

use crate::{metrics, print, rate};

/// Values per write: a tick of a small fleet, and the batches of a writer that catches up.
const BATCHES: [usize; 3] = [100, 5_000, 50_000];
/// Limit of writes: small batches pay a sync each, and this many give a stable figure.
const MAX_WRITES: usize = 2_000;
/// Rounds in which all candidates are measured in turn, so that a machine that slows down affects all of them.
const N_ROUNDS: usize = 4;

const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

pub(crate) async fn embedded(n_values: usize, n_series: usize) -> Result<()> {
    let mut fastest = 0.0_f64;
    for size in BATCHES {
        let folder = tempfile::tempdir()?;
        let store = Store::open_embedded(&folder.path().join("bench.db")).await?;
        let n_writes = (n_values / size).clamp(1, MAX_WRITES);
        let mut elapsed = Duration::ZERO;
        for round in 0..n_writes {
            let batch = Arc::new(spread("device", size, n_series, minute(round))?);
            let started = Instant::now();
            store.write(batch, NOW).await?;
            elapsed += started.elapsed();
        }
        let n_written = n_writes * size;
        let speed = n_written as f64 / elapsed.as_secs_f64();
        fastest = fastest.max(speed);
        let bytes = store.size_bytes().await? as f64 / n_written as f64;
        print(&format!(
            "batches of {size:>6}  {}  {:.2} of the best so far, {bytes:.0} bytes per value",
            rate(n_written, elapsed),
            speed / fastest
        ));
        store.close().await?;
    }
    Ok(())
}

/// Write pattern: values per batch, and batches in flight.
struct Pattern {
    size: usize,
    n_in_flight: usize,
    elapsed: Duration,
    n_written: usize,
}

/// The first one is the reference for the others.
const PATTERNS: [(usize, usize); 8] =
    [(5_000, 1), (5_000, 2), (5_000, 4), (5_000, 8), (100, 4), (1_000, 4), (50_000, 1), (50_000, 4)];

pub(crate) async fn influxdb(host: &str, n_values: usize, n_series: usize) -> Result<()> {
    let database = format!("spindle_bench_{}", std::process::id());
    let settings = InfluxSettings { host: host.to_owned(), database: database.clone(), ..InfluxSettings::default() };
    let store = Store::open_influx(settings)?;
    store.check().await.context("needs an InfluxDB 1 without credentials")?;
    print(&format!("writing to the database {database}, which is not dropped at the end"));
    let mut patterns =
        PATTERNS.map(|(size, n_in_flight)| Pattern { size, n_in_flight, elapsed: Duration::ZERO, n_written: 0 });
    for round in 0..N_ROUNDS {
        for (number, pattern) in patterns.iter_mut().enumerate() {
            // Separate series for each, so that no values exist already.
            write_for_a_while(&store, pattern, &format!("pattern-{number}"), round, n_values / N_ROUNDS, n_series)
                .await?;
        }
    }
    let speed = |pattern: &Pattern| pattern.n_written as f64 / pattern.elapsed.as_secs_f64();
    for pattern in &patterns {
        print(&format!(
            "batches of {:>6}, {} at once  {}  {:.2} of the first",
            pattern.size,
            pattern.n_in_flight,
            rate(pattern.n_written, pattern.elapsed),
            speed(pattern) / speed(&patterns[0])
        ));
    }
    Ok(())
}

async fn write_for_a_while(
    store: &Store,
    pattern: &mut Pattern,
    name: &str,
    round: usize,
    n_values: usize,
    n_series: usize,
) -> Result<()> {
    let n_writes = (n_values / pattern.size).clamp(1, MAX_WRITES / N_ROUNDS);
    let batch = |number: usize| spread(name, pattern.size, n_series, minute(round * n_writes + number)).map(Arc::new);
    let batches = (0..n_writes).map(batch).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let mut in_flight = JoinSet::new();
    for batch in batches {
        if in_flight.len() >= pattern.n_in_flight {
            in_flight.join_next().await.transpose()?.transpose()?;
        }
        let store = store.clone();
        in_flight.spawn(async move { store.write(batch, NOW).await });
    }
    while let Some(written) = in_flight.join_next().await {
        written??;
    }
    pattern.elapsed += started.elapsed();
    pattern.n_written += n_writes * pattern.size;
    Ok(())
}

fn minute(number: usize) -> Timestamp {
    NOW.plus(Duration::from_secs(number as u64 * 60))
}

/// Spreads values over many series, interleaved like a fleet's ticks.
fn spread(device: &str, n_values: usize, n_series: usize, until: Timestamp) -> Result<Batch> {
    let per_series = n_values.div_ceil(n_series);
    let mut all = Vec::with_capacity(n_values);
    for series in 0..n_series.min(n_values) {
        all.extend(metrics(&format!("{device}-{series}"), per_series, until)?);
    }
    all.sort_by_key(|metric| metric.timestamp);
    all.truncate(n_values);
    Ok(Batch { metrics: all, events: Vec::new() })
}
