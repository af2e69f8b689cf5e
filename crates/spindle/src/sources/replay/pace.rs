//! How fast a recording is played back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use spindle_core::Timestamp;

/// Slowest and fastest multiple of the recorded speed. Beyond them nothing moves, or `max` is meant.
const FACTORS: std::ops::RangeInclusive<f64> = 0.001..=1e6;

/// How fast a recording is played back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Pace {
    /// As it was recorded: `1x`.
    #[default]
    Original,
    /// This many times as fast: `10x`, `0.5x`.
    Times(f64),
    /// Without waiting: `max`.
    AsFast,
}

/// A text that is no [`Pace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PaceError(String);

impl fmt::Display for PaceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (slowest, fastest) = (FACTORS.start(), FACTORS.end());
        write!(
            formatter,
            "'{}' is no speed: expected 1x, another multiple from {slowest}x to {fastest}x, or max",
            self.0
        )
    }
}

impl std::error::Error for PaceError {}

impl Pace {
    /// How long after the start of the replay something recorded at `recorded` is due, if the first
    /// record (recorded at `first_recorded`) is due at once. `None`: now, without looking at a clock. What was recorded
    /// before the first record is due at the start.
    pub(crate) fn due(self, first_recorded: Timestamp, recorded: Timestamp) -> Option<Duration> {
        let factor = match self {
            Self::AsFast => return None,
            Self::Original => 1.0,
            Self::Times(factor) => factor,
        };
        let seconds = recorded.seconds_since(first_recorded) / factor;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO))
    }
}

impl FromStr for Pace {
    type Err = PaceError;

    fn from_str(text: &str) -> Result<Self, PaceError> {
        if text == "max" {
            return Ok(Self::AsFast);
        }
        let factor = text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
        match factor {
            Some(1.0) => Ok(Self::Original),
            Some(factor) if FACTORS.contains(&factor) => Ok(Self::Times(factor)),
            Some(_) | None => Err(PaceError(text.chars().take(60).collect())),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => formatter.write_str("1x"),
            Self::Times(factor) => write!(formatter, "{factor}x"),
            Self::AsFast => formatter.write_str("max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, pace) in
            [("1x", Pace::Original), ("10x", Pace::Times(10.0)), ("0.5x", Pace::Times(0.5)), ("max", Pace::AsFast)]
        {
            assert_eq!(text.parse(), Ok(pace));
            assert_eq!(pace.to_string(), text);
        }
        for text in ["", "x", "1", "0x", "-1x", "nanx", "infx", "1e9x", "fast", "1 x"] {
            assert_eq!(text.parse::<Pace>(), Err(PaceError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn due_follows_the_recorded_distance() {
        let at = |seconds| Timestamp::from_seconds(seconds);
        assert_eq!(Pace::Original.due(at(100), at(130)), Some(Duration::from_secs(30)));
        assert_eq!(Pace::Times(10.0).due(at(100), at(130)), Some(Duration::from_secs(3)));
        assert_eq!(Pace::AsFast.due(at(100), at(130)), None);
        assert_eq!(Pace::Original.due(at(100), at(40)), Some(Duration::ZERO), "out of order: not in the past");
        assert_eq!(Pace::Times(0.0).due(at(100), at(100)), Some(Duration::ZERO), "0/0 is no panic");
    }
}
