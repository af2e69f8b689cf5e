//! Expected range of the next value: from the forecast, or from the daily profile where that has been nearer.

use super::forecast::Forecasts;
use super::state::state;

/// Half width of the range in mean absolute errors: about 3 standard deviations of a normal error.
const WIDTH: f64 = 3.75;
/// Weight of a new error.
const RATE: f64 = 0.01;
/// An error counts by at most this many mean errors.
const CLIP: f64 = 6.0;
/// Ends below this are 0: the error of an idle series fades for ever, and 1e-250 takes 250 digits to print.
const TINY: f64 = 1e-50;
/// Rows before a range is given.
const MIN_ROWS: u32 = 32;

/// Mean absolute errors of both forecasts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Band {
    n: f64,
    of_forecast: f64,
    of_profile: f64,
}

state!(Band { n, of_forecast, of_profile });

impl Band {
    /// Returns the range that the next value should be in, lower end first.
    pub(super) fn expected(&self, row: u32, forecasts: &Forecasts, usual: f64) -> Option<(f64, f64)> {
        let (middle, error) = match self.of_profile < self.of_forecast {
            true => (usual, self.of_profile),
            false => (forecasts.next(), self.of_forecast),
        };
        let [low, high] =
            [middle - WIDTH * error, middle + WIDTH * error].map(|end| if end.abs() < TINY { 0.0 } else { end });
        (row >= MIN_ROWS && low.is_finite() && high.is_finite()).then_some((low, high))
    }

    /// Learns the errors of both forecasts.
    pub(super) fn learn(&mut self, value: f64, forecasts: &Forecasts, usual: f64) {
        self.n += 1.0;
        let rate = (1.0 / self.n).max(RATE);
        for (mean, forecast) in [(&mut self.of_forecast, forecasts.last()), (&mut self.of_profile, usual)] {
            let error = (value - forecast).abs();
            let most = if self.n > f64::from(MIN_ROWS) && *mean > 0.0 { CLIP * *mean } else { f64::MAX };
            let error = error.min(most);
            *mean += if error.is_finite() { (error - *mean) * rate } else { 0.0 };
        }
    }
}
