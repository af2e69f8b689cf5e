//! Alarm control: one alarm for one incident, and later alarms must be clearer than earlier ones.

use super::state::state;

/// Level of the votes that an alarm exceeds at least.
const BASE: f64 = 0.35;
/// Amount by which an alarm raises the bar.
const STEP: f64 = 0.05;
/// Rows over which the raised bar fades, at least; the age of the series if that is more.
const FADE_ROWS: f64 = 5_000.0;
/// Share of the level of an alarm that the next one exceeds at first.
const AFTER: f64 = 0.75;
/// Rows over which that fades.
const AFTER_ROWS: f64 = 30.0;
/// Rows of silence after an alarm.
const QUIET_ROWS: u32 = 200;
/// A series must be this old and have this many rows, or [`ENOUGH_ROWS`]: before, everything is new.
const MIN_AGE_NS: i64 = 2 * 86_400_000_000_000;
const MIN_ROWS: u32 = 200;
const ENOUGH_ROWS: u32 = 3_000;

/// Bar that the level of the votes must exceed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AlarmControl {
    raised: f64,
    after: f64,
    quiet: u32,
}

state!(AlarmControl { raised, after, quiet });

impl AlarmControl {
    /// Takes the level of a row; returns the strength of a sudden event from 0 to 1, and whether to raise an alarm.
    pub(super) fn push(&mut self, level: f64, row: u32, age_ns: i64) -> (f64, bool) {
        self.raised *= 1.0 - 1.0 / FADE_ROWS.max(f64::from(row));
        self.after *= 1.0 - 1.0 / AFTER_ROWS;
        if self.quiet > 0 {
            self.quiet -= 1;
            return (0.0, false);
        }
        let bar = BASE + self.raised + self.after;
        if level <= bar {
            return (0.0, false);
        }
        self.raised += STEP;
        self.after = AFTER * level;
        self.quiet = QUIET_ROWS;
        let is_known = (age_ns > MIN_AGE_NS || row > ENOUGH_ROWS) && row >= MIN_ROWS;
        if is_known { (1.0 - bar / level, true) } else { (0.0, false) }
    }
}
