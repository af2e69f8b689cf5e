//! The writer's own metrics, written straight to the store every 10 s: page and dashboards then need no Prometheus. While
//! the store is away they are kept, so that afterwards it shows what waited meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use spindle_bus::{Bus, DEAD_LETTER_STREAM, EVENTS_STREAM, METRICS_STREAM};
use spindle_core::pipeline::{INTERVAL, PipelinePoint};
use spindle_store::Store;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Readiness;
use crate::clock;
use crate::metrics::{
    DEAD_LETTER_BYTES, DEAD_LETTERS_IN_STREAM, WRITER_DEAD_LETTERS, WRITER_LAG, WRITER_REDELIVERED, WRITER_RETRIES,
    WRITER_STORE_WRITE_SECONDS, WRITER_STORED, buckets, sum,
};

/// Longest write: shorter than the interval, so that a store that hangs leaves no hole.
const PATIENCE: Duration = Duration::from_secs(5);
/// Points kept while the store is away: the newest ten hours, about 1 MB.
const MAX_KEPT: usize = 3_600;
/// Points of one write: a few hundred kilobytes.
const MAX_WRITTEN: usize = 1_000;

/// Counters at one instant.
struct Counters {
    at: Instant,
    values: f64,
    events: f64,
    dead_letters: f64,
    redelivered: f64,
    retries: f64,
    store_seconds: f64,
    n_writes: f64,
    /// Writes up to a time in seconds, for each bucket of the histogram.
    writes_within: Vec<(f64, u64)>,
}

impl Counters {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            values: WRITER_STORED.with_label_values(&["metric"]).get() as f64,
            events: WRITER_STORED.with_label_values(&["event"]).get() as f64,
            dead_letters: sum(&WRITER_DEAD_LETTERS),
            redelivered: sum(&WRITER_REDELIVERED),
            retries: sum(&WRITER_RETRIES),
            store_seconds: WRITER_STORE_WRITE_SECONDS.get_sample_sum(),
            n_writes: WRITER_STORE_WRITE_SECONDS.get_sample_count() as f64,
            writes_within: buckets(&WRITER_STORE_WRITE_SECONDS),
        }
    }

    /// Returns the upper bound of the 99th percentile of the writes since `before`, in seconds; `None` without a write,
    /// or if it lies beyond the last bucket.
    fn p99_since(&self, before: &Self) -> Option<f64> {
        let wanted = ((self.n_writes - before.n_writes) * 0.99).ceil().max(1.0) as u64;
        let at = |(now, before): (&(f64, u64), &(f64, u64))| (now.0, now.1.saturating_sub(before.1));
        let mut counts = self.writes_within.iter().zip(&before.writes_within).map(at);
        counts.find(|(_, count)| *count >= wanted).map(|(bound, _)| bound).filter(|bound| bound.is_finite())
    }
}

pub(super) async fn run(bus: Bus, store: Store, readiness: Readiness, stop: CancellationToken) {
    let started = Instant::now();
    // One per process: two writers on one machine are two series.
    let instance = format!("{}-{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
    let mut before = Counters::now();
    let mut waiting = VecDeque::new();
    let mut ticker = interval(INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = ticker.tick() => {} }
        let now = Counters::now();
        let dead_letters = n_dead_letters(&bus).await;
        let values = fields(&before, &now, dead_letters, readiness.is_ready(), started);
        // The first one covers no time.
        if now.at - before.at > INTERVAL / 2 {
            waiting.push_back(PipelinePoint { at: clock::now(), values });
        }
        before = now;
        tokio::select! {
            () = stop.cancelled() => return,
            () = write(&store, &instance, &mut waiting) => {}
        }
    }
}

/// Writes what waits; what the store does not take stays.
async fn write(store: &Store, instance: &str, waiting: &mut VecDeque<PipelinePoint>) {
    while waiting.len() > MAX_KEPT {
        waiting.pop_front();
    }
    let n_points = waiting.len().min(MAX_WRITTEN);
    let points = &waiting.make_contiguous()[..n_points];
    match timeout(PATIENCE, store.write_self_metrics(instance, points)).await {
        Ok(Ok(())) => drop(waiting.drain(..n_points)),
        // The lanes report an unavailable store.
        Ok(Err(error)) if error.is_transient() => debug!(%error, "self metrics not stored yet"),
        Ok(Err(error)) => {
            debug!(%error, "self metrics refused");
            waiting.drain(..n_points);
        }
        Err(_) => debug!("self metrics not stored yet: the store does not answer"),
    }
}

/// The number of messages in the stream of dead letters; updates the gauges too.
async fn n_dead_letters(bus: &Bus) -> Option<u64> {
    let state = bus.stream_state(DEAD_LETTER_STREAM).await.ok()?;
    DEAD_LETTERS_IN_STREAM.set(i64::try_from(state.messages).unwrap_or(i64::MAX));
    DEAD_LETTER_BYTES.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    Some(state.messages)
}

fn fields(
    before: &Counters,
    now: &Counters,
    dead_letters: Option<u64>,
    is_ready: bool,
    started: Instant,
) -> Vec<(&'static str, f64)> {
    let seconds = (now.at - before.at).as_secs_f64();
    let rate = |now: f64, before: f64| if seconds > 0.0 { (now - before) / seconds } else { 0.0 };
    let n_writes = now.n_writes - before.n_writes;
    let lag = |stream| WRITER_LAG.with_label_values(&[stream]).get() as f64;
    let mut fields = vec![
        ("values_per_second", rate(now.values, before.values)),
        ("events_per_second", rate(now.events, before.events)),
        ("metrics_lag", lag(METRICS_STREAM)),
        ("events_lag", lag(EVENTS_STREAM)),
        ("dead_letters_per_second", rate(now.dead_letters, before.dead_letters)),
        ("redelivered_per_second", rate(now.redelivered, before.redelivered)),
        ("store_retries_per_second", rate(now.retries, before.retries)),
        ("ready", f64::from(u8::from(is_ready))),
        ("uptime_seconds", started.elapsed().as_secs_f64()),
    ];
    fields.extend(dead_letters.map(|n_letters| ("dead_letters", n_letters as f64)));
    if n_writes > 0.0 {
        fields.push(("store_latency_seconds", (now.store_seconds - before.store_seconds) / n_writes));
    }
    fields.extend(now.p99_since(before).map(|seconds| ("store_latency_p99_seconds", seconds)));
    fields
}

#[cfg(test)]
mod tests {
    use spindle_core::schema::PIPELINE;

    use super::*;

    #[test]
    fn the_schema_lists_every_field() {
        let before = Counters::now();
        let now = Counters {
            at: before.at + INTERVAL,
            values: before.values + 50.0,
            n_writes: before.n_writes + 2.0,
            writes_within: before.writes_within.iter().map(|(bound, count)| (*bound, count + 2)).collect(),
            ..Counters::now()
        };
        let fields = fields(&before, &now, Some(3), true, before.at);
        let mut names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let mut known: Vec<&str> = PIPELINE.fields.iter().map(|field| field.name).collect();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
        assert!(fields.contains(&("values_per_second", 5.0)));
    }

    #[test]
    fn the_percentile_is_that_of_the_writes_between() {
        let counters = |n_writes, writes_within: [(f64, u64); 3]| Counters {
            n_writes,
            writes_within: writes_within.to_vec(),
            ..Counters::now()
        };
        let before = counters(1_000.0, [(0.1, 0), (1.0, 1_000), (f64::INFINITY, 1_000)]);
        let after = |fast, slow| {
            let n_writes = 1_000 + fast + slow;
            counters(n_writes as f64, [(0.1, fast), (1.0, n_writes), (f64::INFINITY, n_writes)])
        };
        assert_eq!(after(0, 0).p99_since(&before), None);
        assert_eq!(after(1, 0).p99_since(&before), Some(0.1));
        assert_eq!(after(98, 2).p99_since(&before), Some(1.0));
        assert_eq!(after(99, 1).p99_since(&before), Some(0.1));
    }
}
