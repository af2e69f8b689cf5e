//! Oddity of a row that stays up while things are wrong: rarity of the residuals and of level shifts, held.

use super::forecast::Residuals;
use super::rarity::Rarity;
use super::state::state;
use super::window::Windows;

/// Rows over which squared residuals are smoothed.
const SMOOTH_ROWS: f64 = 4.0;
/// Rows over which a held surprise fades: incidents are short or long, so half of it stays longer.
const HOLD_ROWS: [f64; 2] = [60.0, 400.0];
/// Far above any sum of rarities, each the logarithm of a number of rows.
const MAX_SURPRISE: f64 = 1_000.0;
/// Surprise that gets half of the range below the alarms.
const HALF: f64 = 12.0;

/// Smoothed streams and their rarity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Oddity {
    of_4: f64,
    of_1: f64,
    rarity_of_4: Rarity,
    rarity_of_1: Rarity,
    rarity_of_step: Rarity,
    rarity_of_shift: Rarity,
    held: [f64; 2],
}

state!(Oddity { of_4, of_1, rarity_of_4, rarity_of_1, rarity_of_step, rarity_of_shift, held });

impl Oddity {
    /// Returns the oddity of a row, from 0 to below 0.5.
    pub(super) fn push(&mut self, windows: &Windows, residuals: Residuals, row: u32) -> f64 {
        let rate = (1.0 / (f64::from(row) + 1.0)).max(1.0 / SMOOTH_ROWS);
        self.of_4 += (residuals.of_4.powi(2) - self.of_4) * rate;
        self.of_1 += (residuals.of_1.powi(2) - self.of_1) * rate;
        let surprise = 2.0 * self.rarity_of_4.push(self.of_4)
            + self.rarity_of_1.push(self.of_1)
            + self.rarity_of_step.push(windows.distance_to_before(0))
            + self.rarity_of_shift.push(windows.distance_to_before(2));
        self.hold(surprise)
    }

    /// Returns the oddity of a row without a value.
    pub(super) fn fade(&mut self) -> f64 {
        self.hold(0.0)
    }

    fn hold(&mut self, surprise: f64) -> f64 {
        for (held, rows) in self.held.iter_mut().zip(HOLD_ROWS) {
            // A damaged state must not hold anything but a surprise.
            *held = surprise.max(*held * (1.0 - 1.0 / rows)).clamp(0.0, MAX_SURPRISE);
        }
        let held = (self.held[0] + self.held[1]) / 2.0;
        0.5 * held / (held + HALF)
    }
}
