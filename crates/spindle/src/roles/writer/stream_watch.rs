//! Watch over the streams: their fill for the metrics, and a reason for `/readyz` and the log when one is full, was
//! changed so that it loses messages, or is gone.

use std::time::Duration;

use spindle_bus::{
    Bus, BusError, DEAD_LETTER_STREAM, EVENTS_STREAM, METRICS_STREAM, StreamFill, StreamFinding, StreamLimits,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::readiness::{Problem, Readiness};
use super::{EVENTS_CONSUMER, METRICS_CONSUMER};
use crate::logging::chain;
use crate::metrics::{STREAM_BYTES, STREAM_MAX_BYTES, STREAM_MESSAGES, STREAM_PERCENT};

const INTERVAL: Duration = Duration::from_secs(5);
/// Looks at the fill between two looks at the configuration.
const FILLS_PER_INSPECTION: u64 = 6;
/// A stream this full is about to refuse messages.
const NEARLY_FULL_PERCENT: u64 = 90;

/// The streams, each with the writer's consumer.
const STREAMS: [(&str, Option<&str>); 3] =
    [(METRICS_STREAM, Some(METRICS_CONSUMER)), (EVENTS_STREAM, Some(EVENTS_CONSUMER)), (DEAD_LETTER_STREAM, None)];

/// What the log says of a stream; a line is written when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Level {
    #[default]
    Roomy,
    NearlyFull,
    Full,
}

#[cfg(debug_assertions)]
fn pause() -> Duration {
    super::failpoints::stream_watch().unwrap_or(INTERVAL)
}

#[cfg(not(debug_assertions))]
fn pause() -> Duration {
    INTERVAL
}

/// Runs until `stop`.
pub(super) async fn run(bus: Bus, limits: StreamLimits, readiness: Readiness, stop: CancellationToken) {
    let mut ticker = interval(pause());
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut levels = [Level::default(); STREAMS.len()];
    for n_ticks in 0_u64.. {
        tokio::select! { () = stop.cancelled() => return, _ = ticker.tick() => {} }
        let is_inspection = n_ticks % FILLS_PER_INSPECTION == FILLS_PER_INSPECTION - 1;
        // NATS may hang: a shutdown does not wait for it.
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&bus, limits, &readiness, &mut levels, is_inspection) => {}
        }
    }
}

async fn look(
    bus: &Bus,
    limits: StreamLimits,
    readiness: &Readiness,
    levels: &mut [Level; STREAMS.len()],
    is_inspection: bool,
) {
    for ((stream, consumer), level) in STREAMS.into_iter().zip(levels) {
        match bus.stream_fill(stream, consumer).await {
            Ok(fill) => *level = note(stream, &fill, *level, readiness),
            Err(error) => debug!(stream, error = chain(error), "fill of the stream unknown"),
        }
    }
    // The start has checked the configuration.
    if is_inspection {
        for (stream, finding) in bus.inspect_streams(limits).await {
            let is_missing = matches!(finding, Ok(StreamFinding::Missing));
            note_configuration(stream, finding, readiness);
            if is_missing && let Err(error) = bus.ensure_streams(limits).await {
                warn!(stream, error = chain(error), "stream could not be created again");
            }
        }
    }
}

fn note(stream: &'static str, fill: &StreamFill, before: Level, readiness: &Readiness) -> Level {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    STREAM_BYTES.with_label_values(&[stream]).set(gauge(fill.bytes));
    STREAM_MAX_BYTES.with_label_values(&[stream]).set(gauge(fill.max_bytes.unwrap_or(0)));
    STREAM_MESSAGES.with_label_values(&[stream]).set(gauge(fill.messages));
    STREAM_PERCENT.with_label_values(&[stream]).set(gauge(fill.percent()));
    let level = match fill {
        fill if fill.is_full() => Level::Full,
        fill if fill.percent() >= NEARLY_FULL_PERCENT => Level::NearlyFull,
        _ => Level::Roomy,
    };
    let reason = reason(stream, fill);
    match level {
        Level::Full => {
            readiness.report(stream, Problem::Full, &format!("stream {stream} is full: {reason}"));
        }
        Level::NearlyFull | Level::Roomy => {
            readiness.clear(stream, Problem::Full);
        }
    }
    if level != before {
        let percent = fill.percent();
        match level {
            Level::Full => error!(stream, percent, reason, "stream is full and refuses messages"),
            Level::NearlyFull => warn!(stream, percent, reason, "stream is nearly full"),
            Level::Roomy => info!(stream, percent, "stream has room again"),
        }
    }
    level
}

/// Names what keeps a stream full, and the remedy.
fn reason(stream: &str, fill: &StreamFill) -> String {
    let limit_key = format!("nats.{}_bytes", stream.to_lowercase());
    match &fill.holder {
        Some(holder) => format!(
            "consumer {name} has not acknowledged {n} of its messages, so they cannot be removed; if nothing uses it: nats consumer rm {stream} {name}",
            name = holder.consumer,
            n = holder.n_pending
        ),
        None if fill.is_account_limit => format!(
            "the limit of its account in NATS is reached, which all streams share; if the writer stores, raise the limit (max_file), or lower {limit_key} so that it fits"
        ),
        None if stream == DEAD_LETTER_STREAM => {
            format!("look at them with `spindle dlq ls`, then replay or drop them, or raise {limit_key}")
        }
        None => format!(
            "its {} messages are not stored yet or belong to the replay tail; if the writer stores, raise {limit_key} or the stream's limits",
            fill.messages
        ),
    }
}

fn note_configuration(stream: &'static str, finding: Result<StreamFinding, BusError>, readiness: &Readiness) {
    let problem = match finding {
        Ok(StreamFinding::Usable { .. }) => {
            readiness.clear(stream, Problem::Configuration);
            return;
        }
        Ok(StreamFinding::Unsafe(error)) => chain(error),
        Ok(StreamFinding::Missing) => format!("stream {stream} does not exist any more, creating it again"),
        // NATS is away, which is reported elsewhere, or the user lost a permission, which every fetch reports.
        Err(error) => return debug!(stream, error = chain(error), "configuration of the stream unknown"),
    };
    if readiness.report(stream, Problem::Configuration, &problem) {
        error!(stream, error = problem, "stream was changed");
    }
}

#[cfg(test)]
mod tests {
    use spindle_bus::StreamHolder;

    use super::*;

    fn fill(bytes: u64, holder: Option<StreamHolder>) -> StreamFill {
        StreamFill {
            messages: 1_000,
            bytes,
            max_bytes: Some(1_000_000),
            is_account_limit: false,
            max_messages: None,
            holder,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_stream_is_named_with_its_holder_until_it_has_room() {
        let readiness = Readiness::default();
        readiness.set_running(true);
        let debug = StreamHolder { consumer: "debug".to_owned(), n_pending: 990 };
        let level = note(METRICS_STREAM, &fill(910_000, Some(debug.clone())), Level::Roomy, &readiness);
        assert_eq!((level, readiness.missing()), (Level::NearlyFull, None));
        assert_eq!(note(METRICS_STREAM, &fill(999_999, Some(debug)), level, &readiness), Level::Full);
        let words = readiness.missing().unwrap();
        for part in ["METRICS is full", "debug", "990", "nats consumer rm METRICS debug"] {
            assert!(words.contains(part), "{words}");
        }
        assert_eq!(STREAM_PERCENT.with_label_values(&[METRICS_STREAM]).get(), 99);
        assert_eq!(note(METRICS_STREAM, &fill(1_000, None), Level::Full, &readiness), Level::Roomy);
        assert!(readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_holder_the_limit_is_the_remedy() {
        assert!(reason(METRICS_STREAM, &fill(999_999, None)).contains("raise nats.metrics_bytes"));
        assert!(reason(DEAD_LETTER_STREAM, &fill(999_999, None)).contains("spindle dlq ls"));
        let by_account = StreamFill { is_account_limit: true, ..fill(999_999, None) };
        assert!(reason(METRICS_STREAM, &by_account).contains("limit of its account"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_gone_is_a_reason() {
        let readiness = Readiness::default();
        readiness.set_running(true);
        note_configuration(EVENTS_STREAM, Ok(StreamFinding::Missing), &readiness);
        assert!(readiness.missing().unwrap().contains("stream EVENTS does not exist"));
        let usable = StreamFinding::Usable { messages: 0, bytes: 0, max_bytes: None, differences: Vec::new() };
        note_configuration(EVENTS_STREAM, Ok(usable), &readiness);
        assert!(readiness.is_ready());
    }
}
