//! Prometheus metrics of this process. Each one is declared here, with its help text; labels have few values, and
//! never a device or an error text.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Upper bounds of a histogram of durations, in seconds.
const DURATION_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn register<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and labels in this file are valid");
    REGISTRY.register(Box::new(metric.clone())).expect("names in this file are unique");
    metric
}

fn counter(name: &str, help: &str) -> IntCounter {
    register(IntCounter::new(name, help))
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(name: &str, help: &str) -> IntGauge {
    register(IntGauge::new(name, help))
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(IntGaugeVec::new(Opts::new(name, help), labels))
}

fn float_gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(GaugeVec::new(Opts::new(name, help), labels))
}

fn durations(name: &str, help: &str) -> Histogram {
    register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec())))
}

/// Number of observations up to the upper bound of each bucket.
pub(crate) fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let families = histogram.collect();
    let histograms = families.iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_histogram());
    let of = |histogram: &prometheus::proto::Histogram| -> Vec<(f64, u64)> {
        histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect()
    };
    histograms.flat_map(of).collect()
}

/// Sum of a counter over all its labels.
pub(crate) fn sum(counters: &IntCounterVec) -> f64 {
    let families = counters.collect();
    families.iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_counter().get_value()).sum()
}

/// Advances a counter to a total that is kept elsewhere; a counter never goes back.
pub(crate) fn advance_to(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// Metrics and events collected from sources, by kind.
pub(crate) static DAEMON_COLLECTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_daemon_collected_items_total", "Metrics and events collected from sources", &["kind"])
});
/// Metrics and events acknowledged by JetStream.
pub(crate) static DAEMON_ACKED: LazyLock<IntCounter> =
    LazyLock::new(|| counter("spindle_daemon_acked_items_total", "Metrics and events acknowledged by JetStream"));
/// Metrics and events that the stream had already, by their message id.
pub(crate) static DAEMON_DUPLICATE: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "spindle_daemon_duplicate_items_total",
        "Metrics and events acknowledged by JetStream as duplicates: the stream had their message already",
    )
});
/// Metrics and events dropped before they were published, by reason.
pub(crate) static DAEMON_DROPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_daemon_dropped_items_total",
        "Metrics and events dropped because the buffer was full or NATS refused them, by reason",
        &["reason"],
    )
});
/// Metrics and events waiting for an ack.
pub(crate) static DAEMON_BUFFERED: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_daemon_buffered_items", "Metrics and events buffered until JetStream's ack"));
/// Readings of live sources that were published without a sequence number, by reason.
pub(crate) static DAEMON_UNNUMBERED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_daemon_unnumbered_items_total",
        "Metrics and events of live sources without a sequence number, invisible to the gap audit, by reason",
        &["reason"],
    )
});
/// Input that a source could not read, by source.
pub(crate) static DAEMON_UNREADABLE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_daemon_unreadable_inputs_total",
        "Records and readings that a source could not interpret",
        &["source"],
    )
});
/// Metrics and events newly stored, by kind.
pub(crate) static WRITER_STORED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_stored_items_total",
        "Metrics and events newly stored, as the store confirmed them",
        &["kind"],
    )
});
/// Metrics and events that the store did not take, by kind and reason.
pub(crate) static WRITER_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_refused_items_total",
        "Metrics and events that the store did not take, at each attempt, by reason",
        &["kind", "reason"],
    )
});
/// What InfluxDB refused beside the metrics and events, which are stored, by kind.
pub(crate) static WRITER_MISSING: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_refused_extras_total",
        "Labels and entries of the index of arrivals that InfluxDB refused beside metrics and events that it stored",
        &["kind"],
    )
});
/// Difference of this machine's clock from others.
pub(crate) static CLOCK_OFFSET: LazyLock<GaugeVec> = LazyLock::new(|| {
    float_gauges(
        "spindle_clock_offset_seconds",
        "Time on the clock of the writer's machine minus that of NATS or of the store",
        &["against"],
    )
});
/// Messages deferred because the store keeps a part of them out, by stream.
pub(crate) static WRITER_WAITING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "spindle_writer_waiting_messages",
        "Messages deferred because the store keeps a part of them out, such as new devices beyond its limits",
        &["stream"],
    )
});
/// Metrics and events that the store had already, by kind.
pub(crate) static WRITER_DUPLICATE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_duplicate_items_total",
        "Metrics and events that were stored already, unchanged, by kind; InfluxDB cannot tell for metrics",
        &["kind"],
    )
});
/// Metric values that took the place of another.
pub(crate) static WRITER_REPLACED: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "spindle_writer_replaced_metrics_total",
        "Metric values that replaced a different one of the same device, type and time; InfluxDB tells only those that were seen to meet",
    )
});
/// Messages acknowledged after storing, by stream.
pub(crate) static WRITER_ACKED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_acked_messages_total", "Messages acknowledged after they were stored", &["stream"])
});
/// Messages delivered more than once, by stream.
pub(crate) static WRITER_REDELIVERED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_redelivered_messages_total", "Messages delivered more than once", &["stream"])
});
/// Messages written again after the store may have lost them, by stream.
pub(crate) static WRITER_RESTORED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_restored_messages_total",
        "Messages written to the store again because it may have lost what it had acknowledged",
        &["stream"],
    )
});
/// Messages whose decoding panicked, by stream.
pub(crate) static WRITER_POISON: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_poison_messages_total", "Messages whose decoding panicked, dead-lettered", &["stream"])
});
/// Deliveries of messages that were delivered many times, by stream.
pub(crate) static WRITER_MANY_DELIVERIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_many_deliveries_messages_total",
        "Deliveries of messages that were delivered five times or more",
        &["stream"],
    )
});
/// Batches fetched and not yet acknowledged, by stream.
pub(crate) static WRITER_BATCHES_IN_FLIGHT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("spindle_writer_batches_in_flight", "Batches fetched and not yet acknowledged", &["stream"])
});
/// Dead letters written, by reason.
pub(crate) static WRITER_DEAD_LETTERS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("spindle_writer_dead_letters_total", "Dead letters written, by reason", &["reason"]));
/// Deferrals (NAK with delay) of messages whose dead letter could not be stored, or that the store keeps out, by stream.
pub(crate) static WRITER_DEFERRED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_deferred_messages_total",
        "Deferrals of messages whose dead letter could not be stored, or that the store keeps out",
        &["stream"],
    )
});
/// Messages in the dead-letter stream.
pub(crate) static DEAD_LETTERS_IN_STREAM: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_writer_dead_letters_in_stream", "Messages in the dead-letter stream"));
/// Bytes in the dead-letter stream.
pub(crate) static DEAD_LETTER_BYTES: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_writer_dead_letters_in_stream_bytes", "Bytes in the dead-letter stream"));
/// Store writes that failed and were retried, by reason.
pub(crate) static WRITER_RETRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_store_retries_total", "Store writes that failed and were retried, by reason", &["reason"])
});
/// Duration of a store write.
pub(crate) static WRITER_STORE_WRITE_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    durations("spindle_writer_store_write_duration_seconds", "Duration of a write to the store, until it is durable")
});
/// Messages waiting to be stored, by stream.
pub(crate) static WRITER_LAG: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("spindle_writer_lag_messages", "Messages waiting to be stored", &["stream"]));
/// Bytes in each stream.
pub(crate) static STREAM_BYTES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("spindle_stream_bytes", "Bytes in the stream", &["stream"]));
/// Limit of each stream in bytes; 0 if it has none.
pub(crate) static STREAM_MAX_BYTES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("spindle_stream_max_bytes", "Limit of the stream in bytes, 0 without one", &["stream"]));
/// Messages in each stream.
pub(crate) static STREAM_MESSAGES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("spindle_stream_messages", "Messages in the stream", &["stream"]));
/// Fill level of each stream, by the tighter of its limits.
pub(crate) static STREAM_PERCENT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("spindle_stream_fill_percent", "Fill level of the stream, by the tighter of its limits", &["stream"])
});
/// Metrics and events judged, by kind.
pub(crate) static DETECTOR_JUDGED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_detector_judged_items_total", "Metrics and events judged while they flow, by kind", &["kind"])
});
/// Elements that the detector could not read, by stream.
pub(crate) static DETECTOR_UNREADABLE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_detector_unreadable_items_total",
        "Elements of messages that the detector skipped; the writer keeps them as dead letters",
        &["stream"],
    )
});
/// Messages removed before the detector received them, by stream.
pub(crate) static DETECTOR_LOST: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_detector_missed_messages_total",
        "Messages removed from the stream before the detector received them",
        &["stream"],
    )
});
/// Events made by the detector, by tier.
pub(crate) static DETECTOR_EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_detector_events_total",
        "Events made by the detector: notes, and pages, which call a person",
        &["tier"],
    )
});
/// Series that the detector follows.
pub(crate) static DETECTOR_SERIES: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_detector_series", "Series that the detector follows"));
/// Values and events without a place in the detector's memory.
pub(crate) static DETECTOR_LEFT_OUT: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "spindle_detector_left_out_items_total",
        "Values and events of devices and series beyond the limits of the detector",
    )
});
/// Messages waiting for the detector, by stream.
pub(crate) static DETECTOR_LAG: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("spindle_detector_lag_messages", "Messages waiting to be judged", &["stream"]));
/// Time of the detector's last saved state.
pub(crate) static DETECTOR_SAVED: LazyLock<Gauge> = LazyLock::new(|| {
    let help = "Time at which the detector saved its state last, in seconds since 1970";
    register(Gauge::new("spindle_detector_saved_timestamp_seconds", help))
});
/// Size of that state.
pub(crate) static DETECTOR_STATE_BYTES: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_detector_state_size_bytes", "Size of the state that the detector saved last"));
/// Duration of the restore at the start.
pub(crate) static DETECTOR_RESTORE_SECONDS: LazyLock<Gauge> = LazyLock::new(|| {
    let help = "Time that the detector took to restore its state at the start";
    register(Gauge::new("spindle_detector_restore_seconds", help))
});
/// Requests that were not answered, by reason.
pub(crate) static READER_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_reader_refused_requests_total",
        "Requests refused because they were too large or too many waited, by reason",
        &["reason"],
    )
});
/// Requests whose deadline passed before their answer.
pub(crate) static READER_EXPIRED: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("spindle_reader_expired_requests_total", "Requests dropped because their deadline passed unanswered")
});
/// Queries served, by type and status.
pub(crate) static QUERIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_reader_queries_total", "Queries served, by type and status", &["query_type", "status"])
});
/// Duration of a query.
pub(crate) static QUERY_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| durations("spindle_reader_query_duration_seconds", "Duration of a query"));
/// HTTP requests refused access, by reason.
pub(crate) static WEB_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_web_refused_requests_total", "HTTP requests refused access, by reason", &["reason"])
});
/// Dead letters replayed or dropped over HTTP, by outcome.
pub(crate) static WEB_DEAD_LETTERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_web_dead_letters_total", "Dead letters replayed or dropped over HTTP, by outcome", &["outcome"])
});
/// Open HTTP connections.
pub(crate) static WEB_CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_web_open_connections", "Open HTTP connections"));
/// Restarts of the nats-server that this process started.
pub(crate) static NATS_RESTARTS: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("spindle_up_nats_restarts_total", "Restarts of the nats-server that this process started")
});
/// Size of the embedded store.
pub(crate) static STORE_BYTES: LazyLock<Gauge> =
    LazyLock::new(|| register(Gauge::new("spindle_store_size_bytes", "Size of the embedded store's files")));

/// State of each address of the store, as of the last requests to it.
pub(crate) static STORE_ADDRESS_UP: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "spindle_store_address_up",
        "1 if the address of the store serves, as of the last requests to it",
        &["address"],
    )
});
/// Log lines dropped because nobody drains stderr.
pub(crate) static LOG_LINES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("spindle_log_lines_dropped_total", "Log lines dropped because standard error was full or closed")
});
/// The client's lines for people dropped because nobody drains stdout.
pub(crate) static CLIENT_LINES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "spindle_client_lines_dropped_total",
        "Lines of the client dropped because standard output was full or closed",
    )
});

/// Returns all metrics in Prometheus's text format.
pub(crate) fn exposition() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&REGISTRY.gather(), &mut text)?;
    Ok(text)
}
