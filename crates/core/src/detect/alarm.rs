//! Alarm control: one alarm for one incident, and later alarms must be clearer than earlier ones.

use super::state::state;
use super::votes::Levels;

/// Rows over which a raised bar fades, at least; the age of the series if that is more.
const FADE_ROWS: f64 = 5_000.0;
/// Rows before any event: until then everything is new.
const MIN_ROWS: u32 = 200;
/// An alarm needs a series of two days, or of this many rows.
const MIN_AGE_NS: i64 = 2 * 86_400_000_000_000;
const ENOUGH_ROWS: u32 = 3_000;

/// Setting of a [`Gate`].
struct Setting {
    /// Level that an event exceeds at least in an old series.
    base: f64,
    /// Rows at which that is twice as high.
    early_rows: f64,
    /// Amount by which an event raises the bar.
    step: f64,
    /// Share of the level of an event that the next one exceeds at first, in addition.
    after: f64,
    /// Rows over which that fades.
    after_rows: f64,
    /// Rows of silence after an event.
    quiet_rows: u32,
}

const OF_ALARMS: Setting =
    Setting { base: 0.2, early_rows: 150.0, step: 0.05, after: 0.5, after_rows: 1_200.0, quiet_rows: 20 };
const OF_EVENTS: Setting =
    Setting { base: 0.06, early_rows: 400.0, step: 0.05, after: 0.75, after_rows: 30.0, quiet_rows: 60 };

/// Bar that a level must exceed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Gate {
    raised: f64,
    after: f64,
    quiet: u32,
}

state!(Gate { raised, after, quiet });

impl Gate {
    /// Takes the level of a row; returns how clearly it exceeds the bar, from 0 to 1, or 0.
    fn push(&mut self, level: f64, row: u32, setting: &Setting) -> f64 {
        let row = f64::from(row);
        self.raised *= 1.0 - 1.0 / FADE_ROWS.max(row);
        self.after *= 1.0 - 1.0 / setting.after_rows;
        if self.quiet > 0 {
            self.quiet -= 1;
            return 0.0;
        }
        let bar = setting.base * (1.0 + setting.early_rows / (row + 1.0)) + self.raised + self.after;
        if level <= bar {
            return 0.0;
        }
        self.raised += setting.step;
        self.after = setting.after * level;
        self.quiet = setting.quiet_rows;
        1.0 - bar / level
    }
}

/// Gates of alarms and of events that only lift the score.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AlarmControl {
    alarms: Gate,
    events: Gate,
}

state!(AlarmControl { alarms, events });

impl AlarmControl {
    /// Takes the levels of a row; returns the strength of a sudden event from 0 to 1, and whether to raise an alarm.
    pub(super) fn push(&mut self, levels: Levels, row: u32, age_ns: i64) -> (f64, bool) {
        let strength = self.events.push(levels.noticeable, row, &OF_EVENTS);
        let is_clear = self.alarms.push(levels.clear, row, &OF_ALARMS) > 0.0;
        if row < MIN_ROWS {
            return (0.0, false);
        }
        (strength, is_clear && (age_ns > MIN_AGE_NS || row > ENOUGH_ROWS))
    }
}
