//! The writer's own metrics, written straight to the store every 10 s: dashboards then need no Prometheus.

use std::time::Duration;

use spindle_bus::{Bus, DEAD_LETTER_STREAM, EVENTS_STREAM, METRICS_STREAM};
use spindle_store::Store;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Readiness;
use crate::clock;
use crate::metrics::{
    DEAD_LETTER_BYTES, DEAD_LETTERS_IN_STREAM, WRITER_DEAD_LETTERS, WRITER_LAG, WRITER_REDELIVERED, WRITER_RETRIES,
    WRITER_STORE_WRITE_SECONDS, WRITER_STORED, sum,
};

const INTERVAL: Duration = Duration::from_secs(10);

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
        }
    }
}

pub(super) async fn run(bus: Bus, store: Store, readiness: Readiness, stop: CancellationToken) {
    let started = Instant::now();
    // One per process: two writers on one machine are two series.
    let instance = format!("{}-{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
    let mut before = Counters::now();
    let mut ticker = interval(INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = ticker.tick() => {} }
        let now = Counters::now();
        let dead_letters = n_dead_letters(&bus).await;
        let fields = fields(&before, &now, dead_letters, readiness.is_ready(), started);
        // The lanes report an unavailable store; these points are not worth keeping.
        tokio::select! {
            () = stop.cancelled() => return,
            written = store.write_self_metrics(&instance, clock::now(), &fields) => {
                if let Err(error) = written {
                    debug!(%error, "self metrics not stored");
                }
            }
        }
        before = now;
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
}
