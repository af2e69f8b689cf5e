//! Logs and counters. Every counter is declared here, with its help text; labels are few and never hold
//! a device or an error text.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels in this file are valid");
    REGISTRY.register(Box::new(counters.clone())).expect("each name in this file stands once");
    counters
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels in this file are valid");
    REGISTRY.register(Box::new(gauges.clone())).expect("each name in this file stands once");
    gauges
}

fn gauge(name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("names in this file are valid");
    REGISTRY.register(Box::new(gauge.clone())).expect("each name in this file stands once");
    gauge
}

fn float_gauge(name: &str, help: &str) -> Gauge {
    let gauge = Gauge::new(name, help).expect("names in this file are valid");
    REGISTRY.register(Box::new(gauge.clone())).expect("each name in this file stands once");
    gauge
}

fn seconds(name: &str, help: &str) -> Histogram {
    let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let histogram =
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).expect("names in this file are valid");
    REGISTRY.register(Box::new(histogram.clone())).expect("each name in this file stands once");
    histogram
}

/// A counter over all its labels.
pub(crate) fn sum(counters: &IntCounterVec) -> f64 {
    let families = counters.collect();
    families.iter().flat_map(|family| family.get_metric()).map(|metric| metric.get_counter().get_value()).sum()
}

/// Metrics and events that sources gave, by kind.
pub(crate) static DAEMON_COLLECTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_daemon_collected_items_total", "Metrics and events that sources gave", &["kind"])
});
/// Metrics and events acknowledged by JetStream.
pub(crate) static DAEMON_ACKED: LazyLock<IntGauge> = LazyLock::new(|| {
    gauge("spindle_daemon_acked_items", "Metrics and events that JetStream has acknowledged since the start")
});
/// Metrics and events that had to be given up, by reason.
pub(crate) static DAEMON_GIVEN_UP: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("spindle_daemon_given_up_items", "Metrics and events given up since the start, by reason", &["reason"])
});
/// Metrics and events waiting for an ack.
pub(crate) static DAEMON_HELD: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_daemon_held_items", "Metrics and events that wait for JetStream's ack"));
/// Readings of live sources that went out without a number, by reason.
pub(crate) static DAEMON_UNNUMBERED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_daemon_unnumbered_items_total",
        "Metrics and events of live sources that carry no number, so that the audit cannot miss them, by reason",
        &["reason"],
    )
});
/// Input that a source could not read, by source.
pub(crate) static DAEMON_UNREADABLE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_daemon_unreadable_inputs_total",
        "Records and readings that a source could not make sense of",
        &["source"],
    )
});
/// Metrics and events stored, by kind.
pub(crate) static WRITER_STORED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_stored_items_total", "Metrics and events stored, repeated ones included", &["kind"])
});
/// Messages acknowledged after storing, by stream.
pub(crate) static WRITER_ACKED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_acked_messages_total", "Messages acknowledged after they were stored", &["stream"])
});
/// Messages delivered more than once, by stream.
pub(crate) static WRITER_REDELIVERED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_writer_redelivered_messages_total", "Messages that came more than once", &["stream"])
});
/// Messages stored again because the store had lost them, by stream.
pub(crate) static WRITER_STORED_AGAIN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_stored_again_messages_total",
        "Messages stored again because the store had lost what it had acknowledged",
        &["stream"],
    )
});
/// Batches fetched and not yet acknowledged, by stream.
pub(crate) static WRITER_BATCHES_IN_HAND: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("spindle_writer_batches_in_hand", "Batches that are fetched and not yet acknowledged", &["stream"])
});
/// Dead letters written, by reason.
pub(crate) static WRITER_DEAD_LETTERS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("spindle_writer_dead_letters_total", "Dead letters written, by reason", &["reason"]));
/// Messages whose dead letter could not be kept, by stream.
pub(crate) static WRITER_PUT_OFF: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_put_off_messages_total",
        "Times that a message was put off because its dead letter could not be kept",
        &["stream"],
    )
});
/// Messages in the stream of dead letters.
pub(crate) static DEAD_LETTERS_IN_STREAM: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_writer_dead_letters_in_stream", "Messages in the stream of dead letters"));
/// Bytes in the stream of dead letters.
pub(crate) static DEAD_LETTER_BYTES: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_writer_dead_letters_in_stream_bytes", "Bytes in the stream of dead letters"));
/// Store writes that failed and were retried.
pub(crate) static WRITER_RETRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "spindle_writer_store_retries_total",
        "Store writes that failed and were tried again, by reason",
        &["reason"],
    )
});
/// Time of a store write.
pub(crate) static WRITER_STORE_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| seconds("spindle_writer_store_seconds", "Time of a write to the store, until it is durable"));
/// Messages that wait to be stored, by stream.
pub(crate) static WRITER_LAG: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("spindle_writer_lag_messages", "Messages that wait to be stored", &["stream"]));
/// Questions answered, by type and status.
pub(crate) static ANSWERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_reader_answers_total", "Questions answered, by type and status", &["query_type", "status"])
});
/// Time of an answer.
pub(crate) static ANSWER_SECONDS: LazyLock<Histogram> =
    LazyLock::new(|| seconds("spindle_reader_answer_seconds", "Time from question to answer"));
/// HTTP requests that were not let in, by reason.
pub(crate) static WEB_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("spindle_web_refused_requests_total", "HTTP requests that were not let in, by reason", &["reason"])
});
/// Open HTTP connections.
pub(crate) static WEB_CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_web_open_connections", "Open HTTP connections"));
/// Restarts of the nats-server that we started.
pub(crate) static NATS_RESTARTS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("spindle_up_nats_restarts", "Restarts of the nats-server that this process started"));
/// Size of the embedded store.
pub(crate) static STORE_BYTES: LazyLock<Gauge> =
    LazyLock::new(|| float_gauge("spindle_store_size_bytes", "Size of the embedded store's files"));

/// All counters in Prometheus's text format.
pub(crate) fn exposition() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&REGISTRY.gather(), &mut text)?;
    Ok(text)
}

/// Starts logging to stderr; stdout is for data.
pub(crate) fn init_logs(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        anyhow::anyhow!("SPINDLE_LOG = '{filter}': {error}: expected a level such as info or debug")
    })?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .init();
    Ok(())
}
