//! Failures that tests inject into the real program. Debug builds only.

use std::sync::LazyLock;
use std::time::Duration;

use spindle_core::Batch;

use crate::config;

/// Panics on a payload that contains the configured text, as a bug in decoding that payload would.
pub(super) fn panic_at(payload: &[u8]) {
    static TEXT: LazyLock<Option<String>> = LazyLock::new(|| config::planted("SPINDLE_TEST_PANIC_AT"));
    if let Some(text) = TEXT.as_deref()
        && payload.windows(text.len()).any(|window| window == text.as_bytes())
    {
        panic!("failpoint SPINDLE_TEST_PANIC_AT");
    }
}

/// Panics on a batch with the configured metric type, as a bug in encoding it for the store would.
pub(super) fn panic_on_write(batch: &Batch) {
    static METRIC_TYPE: LazyLock<Option<String>> = LazyLock::new(|| config::planted("SPINDLE_TEST_PANIC_ON_WRITE"));
    if let Some(name) = METRIC_TYPE.as_deref()
        && batch.metrics.iter().any(|metric| &*metric.metric_type == name)
    {
        panic!("failpoint SPINDLE_TEST_PANIC_ON_WRITE");
    }
}

/// Shortens `ack_wait`, for tests that wait for many redeliveries.
pub(super) fn ack_wait() -> Option<Duration> {
    let text = config::planted("SPINDLE_TEST_ACK_WAIT")?;
    humantime::parse_duration(&text).ok()
}

/// Shortens the pause between two looks at the streams.
pub(super) fn stream_watch() -> Option<Duration> {
    let text = config::planted("SPINDLE_TEST_STREAM_WATCH")?;
    humantime::parse_duration(&text).ok()
}
