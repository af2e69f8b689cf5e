//! The one clock. Everything below takes time as an argument.

use spindle_core::Timestamp;

/// The wall clock, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the clock that others must use instead")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ns(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
