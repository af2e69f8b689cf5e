//! Durable writes into a store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use spindle_core::{Batch, Timestamp};
use spindle_store::{InfluxSettings, Store};
use tokio::task::JoinSet;

use crate::{metrics, rate, say};

/// Values in one write: what a tick of a small fleet brings, and what a writer that catches up has in hand.
const BATCHES: [usize; 3] = [100, 5_000, 50_000];
/// Small batches pay a sync each; this many of them are enough to know.
const MAX_WRITES: usize = 2_000;
/// What is compared is measured in turn, so often: a machine that slows down slows all of it.
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
        say(&format!(
            "batches of {size:>6}  {}  {:.2} of the best so far, {bytes:.0} bytes a value",
            rate(n_written, elapsed),
            speed / fastest
        ));
        store.close().await?;
    }
    Ok(())
}

/// One way of writing: values in a batch, and batches on their way at once.
struct Way {
    size: usize,
    n_at_once: usize,
    elapsed: Duration,
    n_written: usize,
}

/// The first is what the others are compared with.
const WAYS: [(usize, usize); 8] =
    [(5_000, 1), (5_000, 2), (5_000, 4), (5_000, 8), (100, 4), (1_000, 4), (50_000, 1), (50_000, 4)];

pub(crate) async fn influxdb(host: &str, n_values: usize, n_series: usize) -> Result<()> {
    let database = format!("spindle_bench_{}", std::process::id());
    let settings = InfluxSettings { host: host.to_owned(), database: database.clone(), ..InfluxSettings::default() };
    let store = Store::open_influx(settings)?;
    store.check().await.context("is an InfluxDB 1 without credentials there?")?;
    say(&format!("into the database {database}, which stays: drop it when you have seen enough"));
    let mut ways = WAYS.map(|(size, n_at_once)| Way { size, n_at_once, elapsed: Duration::ZERO, n_written: 0 });
    for round in 0..N_ROUNDS {
        for (number, way) in ways.iter_mut().enumerate() {
            // Series of its own for each, so that none finds its values there already.
            write_for_a_while(&store, way, &format!("way-{number}"), round, n_values / N_ROUNDS, n_series).await?;
        }
    }
    let speed = |way: &Way| way.n_written as f64 / way.elapsed.as_secs_f64();
    for way in &ways {
        say(&format!(
            "batches of {:>6}, {} at once  {}  {:.2} of the first",
            way.size,
            way.n_at_once,
            rate(way.n_written, way.elapsed),
            speed(way) / speed(&ways[0])
        ));
    }
    Ok(())
}

async fn write_for_a_while(
    store: &Store,
    way: &mut Way,
    name: &str,
    round: usize,
    n_values: usize,
    n_series: usize,
) -> Result<()> {
    let n_writes = (n_values / way.size).clamp(1, MAX_WRITES / N_ROUNDS);
    let batch = |number: usize| spread(name, way.size, n_series, minute(round * n_writes + number)).map(Arc::new);
    let batches = (0..n_writes).map(batch).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let mut on_their_way = JoinSet::new();
    for batch in batches {
        if on_their_way.len() >= way.n_at_once {
            on_their_way.join_next().await.transpose()?.transpose()?;
        }
        let store = store.clone();
        on_their_way.spawn(async move { store.write(batch, NOW).await });
    }
    while let Some(written) = on_their_way.join_next().await {
        written??;
    }
    way.elapsed += started.elapsed();
    way.n_written += n_writes * way.size;
    Ok(())
}

fn minute(number: usize) -> Timestamp {
    NOW.plus(Duration::from_secs(number as u64 * 60))
}

/// Values of many series, interleaved as a fleet's ticks are.
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
