//! Faults that tests plant in the real program. There is nothing of them in a release build.

use std::sync::LazyLock;
use std::time::Duration;

use crate::config;

/// Ends the process, as a fault of ours in reading this message would.
pub(super) fn crash_at(payload: &[u8]) {
    static WORDS: LazyLock<Option<String>> = LazyLock::new(|| config::planted("SPINDLE_TEST_CRASH_AT"));
    if let Some(words) = WORDS.as_deref()
        && payload.windows(words.len()).any(|window| window == words.as_bytes())
    {
        std::process::abort();
    }
}

/// A test that waits for many redeliveries cannot wait for the real time.
pub(super) fn ack_wait() -> Option<Duration> {
    let text = config::planted("SPINDLE_TEST_ACK_WAIT")?;
    humantime::parse_duration(&text).ok()
}
