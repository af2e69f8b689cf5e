//! Instants as nanoseconds since the Unix epoch, UTC. The only place that parses and formats texts of times.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

const MINUTE_NS: i64 = 60_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// Instant in nanoseconds since 1970-01-01T00:00:00Z, from 1677-09-21 to 2262-04-11: the range of all supported
/// databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Error for a text that is not a [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not RFC 3339.
    #[error("'{0}' is not an RFC 3339 time such as 2025-06-06T12:08:40.123Z")]
    Syntax(String),
    /// RFC 3339, but outside the range of 64-bit nanoseconds.
    #[error("'{0}' lies outside the years 1677 to 2262")]
    Range(String),
}

impl Timestamp {
    /// Returns the instant `ns` nanoseconds after the Unix epoch (before it, if negative).
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// Returns the nanoseconds since the Unix epoch.
    pub const fn as_ns(self) -> i64 {
        self.0
    }

    /// Returns the instant `seconds` after the Unix epoch; saturates at the ends of the range.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Parses RFC 3339 with up to nanoseconds and any offset.
    ///
    /// # Errors
    /// [`TimestampError`] with the text and the problem.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError::Syntax(shorten(text)))?;
        i64::try_from(instant.unix_timestamp_nanos()).map(Self).map_err(|_| TimestampError::Range(shorten(text)))
    }

    /// Parses a time of a recorded series: RFC 3339, the same without an offset (UTC), with a space instead of the `T`,
    /// without seconds or without a time, or a number since the Unix epoch, whose size shows its unit: seconds,
    /// milliseconds, microseconds or nanoseconds.
    ///
    /// # Errors
    /// [`TimestampError`] with the text and the problem.
    pub fn parse_recorded(text: &str) -> Result<Self, TimestampError> {
        let text = text.trim();
        if let Ok(number) = text.parse::<f64>() {
            return from_epoch(text, number);
        }
        if let Ok(instant) = Self::parse(text) {
            return Ok(instant);
        }
        let completed = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            _ => format!("{text}Z"),
        };
        [completed, text.to_owned()]
            .iter()
            .find_map(|text| Self::parse(&text.replacen(' ', "T", 1)).ok())
            .ok_or_else(|| Self::parse(text).err().unwrap_or_else(|| TimestampError::Syntax(shorten(text))))
    }

    /// Parses the date of an HTTP header, such as `Sun, 06 Nov 1994 08:49:37 GMT`; `None` if it is not one.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc2822).ok().map(|instant| Self::from_seconds(instant.unix_timestamp()))
    }

    /// Returns the instant `duration` later; saturates at the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Returns the instant `duration` earlier; saturates at the start of the range.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Returns the minute, counted from the Unix epoch.
    pub const fn minute(self) -> i64 {
        self.0.div_euclid(MINUTE_NS)
    }

    /// Returns the start of a [`minute`](Self::minute); saturates at the ends of the range.
    pub const fn of_minute(minute: i64) -> Self {
        Self(minute.saturating_mul(MINUTE_NS))
    }

    /// Returns the day in UTC, counted from the Unix epoch.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY_NS)
    }

    /// Returns the start of a [`day`](Self::day); saturates at the ends of the range.
    pub const fn of_day(day: i64) -> Self {
        Self(day.saturating_mul(DAY_NS))
    }

    /// Returns the instant cut to the second: people read no nanoseconds.
    #[must_use]
    pub const fn whole_second(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(1_000_000_000)))
    }

    /// Returns the seconds from `earlier` to `self`; negative if `earlier` is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e9
    }
}

/// Returns the instant of a number since the Unix epoch. Up to 1e11 it is seconds: 1e11 milliseconds are in 1973.
fn from_epoch(text: &str, number: f64) -> Result<Timestamp, TimestampError> {
    let unit_ns: i64 = match number.abs() {
        seconds if seconds < 1e11 => 1_000_000_000,
        milliseconds if milliseconds < 1e14 => 1_000_000,
        microseconds if microseconds < 1e17 => 1_000,
        _ => 1,
    };
    let ns = match text.parse::<i64>() {
        Ok(whole) => whole.checked_mul(unit_ns),
        Err(_) => Some(number * unit_ns as f64).filter(|ns| ns.abs() < i64::MAX as f64).map(|ns| ns as i64),
    };
    ns.map(Timestamp).ok_or_else(|| TimestampError::Range(shorten(text)))
}

/// Shortens bad input for quoting in errors and keeps it on one line: characters that could move the cursor of a
/// terminal or start a log line are escaped.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut short = String::new();
    for ch in text.chars().take(MAX_CHARS) {
        match ch.is_control() {
            true => short.extend(ch.escape_default()),
            false => short.push(ch),
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    short
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .ok()
            .and_then(|instant| instant.format(&Rfc3339).ok())
            .ok_or(fmt::Error)?;
        formatter.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_offset_and_keeps_nanoseconds() {
        let utc = Timestamp::parse("2025-06-06T12:08:40.123456789Z").unwrap();
        assert_eq!(utc, Timestamp::parse("2025-06-06T14:08:40.123456789+02:00").unwrap());
        assert_eq!(utc.as_ns() % 1_000_000_000, 123_456_789);
        assert_eq!(utc.to_string(), "2025-06-06T12:08:40.123456789Z");
    }

    #[test]
    fn days_minutes_and_seconds_are_cut_downwards() {
        let time = Timestamp::parse("1969-12-31T23:59:58.5Z").unwrap();
        assert_eq!((time.day(), time.minute(), time.whole_second()), (-1, -1, Timestamp::from_seconds(-2)));
        assert_eq!(Timestamp::of_day(time.day()), Timestamp::from_seconds(-86_400));
        assert_eq!(Timestamp::of_minute(time.minute()), Timestamp::from_seconds(-60));
        assert_eq!(Timestamp::from_ns(i64::MIN).whole_second().as_ns(), i64::MIN);
    }

    #[test]
    fn what_is_quoted_is_short_and_on_one_line() {
        assert_eq!(shorten("a\r\nb\u{7f}\u{85}ü"), "a\\r\\nb\\u{7f}\\u{85}ü");
        assert_eq!(shorten(&"ü".repeat(60)), "ü".repeat(60));
        assert_eq!(shorten(&"ü".repeat(61)), format!("{}…", "ü".repeat(60)));
    }

    #[test]
    fn times_of_recorded_series_have_many_spellings() {
        let expected = Timestamp::from_seconds(1_396_310_400);
        for text in [
            "2014-04-01 00:00:00",
            "2014-04-01T00:00:00",
            "2014-04-01 00:00:00.000",
            "2014-04-01 02:00:00+02:00",
            "2014-04-01 00:00",
            "2014-04-01",
            " 2014-04-01T00:00:00Z ",
            "1396310400",
            "1396310400.0",
            "1396310400000",
            "1396310400000000",
            "1396310400000000000",
        ] {
            assert_eq!(Timestamp::parse_recorded(text), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "12:00", "NaN", "inf", "1e300", "é014-04-01"] {
            assert!(Timestamp::parse_recorded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_other_spellings_and_far_years() {
        for text in ["", "yesterday", "2025-06-06", "2025-06-06T12:08:40", "1749211720"] {
            assert!(matches!(Timestamp::parse(text), Err(TimestampError::Syntax(_))), "{text}");
        }
        assert!(matches!(Timestamp::parse("2999-01-01T00:00:00Z"), Err(TimestampError::Range(_))));
    }
}
