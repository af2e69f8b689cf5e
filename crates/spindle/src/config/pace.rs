//! Playback speed of a recording.

use std::time::Duration;

use spindle_core::Timestamp;

/// Slowest and fastest multiple of the recorded speed. Beyond them nothing moves, or `max` is meant.
const FACTORS: std::ops::RangeInclusive<f64> = 0.001..=1e6;

/// Playback speed of a recording.
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

impl Pace {
    /// Reads `max` or a multiple such as `60x`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "max" {
            return Some(Self::AsFast);
        }
        let factor = text.strip_suffix('x')?.parse().ok().filter(|factor| FACTORS.contains(factor))?;
        Some(if factor == 1.0 { Self::Original } else { Self::Times(factor) })
    }

    /// Returns the time from the start of the replay to the record of `recorded`; the record of `first_recorded` is
    /// due at the start, and so is everything recorded before it. `None`: due now, without looking at a clock.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_multiples_and_max() {
        for (text, pace) in
            [("1x", Pace::Original), ("10x", Pace::Times(10.0)), ("0.5x", Pace::Times(0.5)), ("max", Pace::AsFast)]
        {
            assert_eq!(Pace::parse(text), Some(pace));
        }
        for text in ["", "x", "1", "0x", "-1x", "nanx", "infx", "1e9x", "fast", "1 x"] {
            assert_eq!(Pace::parse(text), None, "{text}");
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
