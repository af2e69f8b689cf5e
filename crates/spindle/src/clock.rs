//! The only wall clock. Code below it takes the time as an argument.

use spindle_core::Timestamp;

/// Returns the wall-clock time, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else must use")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ns(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
