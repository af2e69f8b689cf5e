//! Watch over the streams: their fill for the metrics, and a reason for `/readyz` and the log when one is full, was
//! changed so that it loses messages, or is gone.

use std::time::Duration;

use spindle_bus::{
    Bus, BusError, DEAD_LETTER_STREAM, EVENTS_STREAM, FillLevel, METRICS_STREAM, StreamFill, StreamFinding,
    StreamLimits, TightestLimit,
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
/// The streams, each with the writer's consumer.
const STREAMS: [(&str, Option<&str>); 3] =
    [(METRICS_STREAM, Some(METRICS_CONSUMER)), (EVENTS_STREAM, Some(EVENTS_CONSUMER)), (DEAD_LETTER_STREAM, None)];

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
    let mut levels = [FillLevel::default(); STREAMS.len()];
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
    levels: &mut [FillLevel; STREAMS.len()],
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

fn note(stream: &'static str, fill: &StreamFill, before: FillLevel, readiness: &Readiness) -> FillLevel {
    let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    STREAM_BYTES.with_label_values(&[stream]).set(gauge(fill.bytes));
    STREAM_MAX_BYTES.with_label_values(&[stream]).set(gauge(fill.max_bytes.unwrap_or(0)));
    STREAM_MESSAGES.with_label_values(&[stream]).set(gauge(fill.messages));
    STREAM_PERCENT.with_label_values(&[stream]).set(gauge(fill.percent()));
    let level = fill.level();
    let reason = fill_reason(stream, fill);
    match level {
        FillLevel::Full => {
            readiness.report(stream, Problem::Full, &format!("stream {stream} is full: {reason}"));
        }
        FillLevel::NearlyFull | FillLevel::Roomy => {
            readiness.clear(stream, Problem::Full);
        }
    }
    if level != before {
        let percent = fill.percent();
        match level {
            FillLevel::Full => error!(stream, percent, reason, "stream is full and refuses messages"),
            FillLevel::NearlyFull => warn!(stream, percent, reason, "stream is nearly full"),
            FillLevel::Roomy => info!(stream, percent, "stream has room again"),
        }
    }
    level
}

/// Names what keeps a stream full, and the remedy.
pub(crate) fn fill_reason(stream: &str, fill: &StreamFill) -> String {
    let limit = match fill.tightest() {
        TightestLimit::Bytes => format!("nats.{}_bytes or the stream's max_bytes", stream.to_lowercase()),
        TightestLimit::Messages => format!("its limit of messages with `nats stream edit {stream}`"),
    };
    match &fill.holder {
        Some(holder) => format!(
            "consumer {name} has not acknowledged {n} of its messages, so they cannot be removed; if nothing uses it: nats consumer rm {stream} {name}",
            name = holder.consumer,
            n = holder.n_pending
        ),
        None if fill.is_account_limit => format!(
            "the limit of its account in NATS is reached, which all streams share; if the writer stores, raise the limit (max_file), or lower nats.{}_bytes so that it fits",
            stream.to_lowercase()
        ),
        None if stream == DEAD_LETTER_STREAM => {
            format!("look at them with `spindle dlq ls`, then replay or drop them, or raise {limit}")
        }
        None => format!(
            "its {} messages are not stored yet or belong to the replay tail; if the writer stores, raise {limit}",
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
        let (max_bytes, is_account_limit) = (Some(1_000_000), false);
        let (max_messages, fullest_subject) = (None, None);
        StreamFill { messages: 1_000, bytes, max_bytes, is_account_limit, max_messages, fullest_subject, holder }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_stream_is_named_with_its_holder_until_it_has_room() {
        let readiness = Readiness::default();
        readiness.set_running(true);
        let debug = StreamHolder { consumer: "debug".to_owned(), n_pending: 990 };
        let level = note(METRICS_STREAM, &fill(910_000, Some(debug.clone())), FillLevel::Roomy, &readiness);
        assert_eq!((level, readiness.missing()), (FillLevel::NearlyFull, None));
        assert_eq!(note(METRICS_STREAM, &fill(999_999, Some(debug)), level, &readiness), FillLevel::Full);
        let words = readiness.missing().unwrap();
        for part in ["METRICS is full", "debug", "990", "nats consumer rm METRICS debug"] {
            assert!(words.contains(part), "{words}");
        }
        assert_eq!(STREAM_PERCENT.with_label_values(&[METRICS_STREAM]).get(), 99);
        assert_eq!(note(METRICS_STREAM, &fill(1_000, None), FillLevel::Full, &readiness), FillLevel::Roomy);
        assert!(readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_holder_the_limit_is_the_remedy() {
        assert!(fill_reason(METRICS_STREAM, &fill(999_999, None)).contains("raise nats.metrics_bytes"));
        assert!(fill_reason(DEAD_LETTER_STREAM, &fill(999_999, None)).contains("spindle dlq ls"));
        let by_number = StreamFill { max_messages: Some(1_000), ..fill(1_000, None) };
        assert!(
            fill_reason(METRICS_STREAM, &by_number)
                .contains("raise its limit of messages with `nats stream edit METRICS`")
        );
        let by_account = StreamFill { is_account_limit: true, ..fill(999_999, None) };
        assert!(fill_reason(METRICS_STREAM, &by_account).contains("limit of its account"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_gone_is_a_reason() {
        let readiness = Readiness::default();
        readiness.set_running(true);
        note_configuration(EVENTS_STREAM, Ok(StreamFinding::Missing), &readiness);
        assert!(readiness.missing().unwrap().contains("stream EVENTS does not exist"));
        let usable = StreamFinding::Usable { fill: fill(0, None), differences: Vec::new() };
        note_configuration(EVENTS_STREAM, Ok(usable), &readiness);
        assert!(readiness.is_ready());
    }
}
