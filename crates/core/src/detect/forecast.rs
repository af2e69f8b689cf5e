//! Autoregressive forecasts, fitted online by recursive least squares.

use super::state::{State, state};
use super::window::Windows;

/// Update of a model by a residual is limited to this many mean residuals, so that an outlier does not bend it.
const CLIP: f64 = 6.0;
/// Rows before the limit applies.
const UNCLIPPED_ROWS: u32 = 50;
/// Variance of an unknown coefficient, in units of normalised values.
const INITIAL_VARIANCE: f64 = 100.0;
/// Weight of a new residual in the mean residual of an old series.
const SCALE_RATE: f64 = 0.001;

/// Model of the next value as a linear function of the last `M - 1` and a constant.
#[derive(Clone, Debug, PartialEq)]
struct Model<const M: usize> {
    weights: [f64; M],
    covariance: [[f64; M]; M],
    /// Running mean of |residual|, in normalised units.
    scale: f64,
    /// Forecast of the newest value, in the units of the series.
    forecast: f64,
}

impl<const M: usize> State for Model<M> {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.weights.put(bytes);
        // Symmetric to the last bit: one half is enough.
        (0..M).for_each(|i| self.covariance[i][..=i].iter().for_each(|cell| cell.put(bytes)));
        self.scale.put(bytes);
        self.forecast.put(bytes);
    }
    fn take(&mut self, bytes: &mut &[u8]) -> Option<()> {
        self.weights.take(bytes)?;
        for i in 0..M {
            for j in 0..=i {
                self.covariance[i][j].take(bytes)?;
                self.covariance[j][i] = self.covariance[i][j];
            }
        }
        self.scale.take(bytes)?;
        self.forecast.take(bytes)
    }
}

impl<const M: usize> Default for Model<M> {
    fn default() -> Self {
        let mut model = Self { weights: [0.0; M], covariance: [[0.0; M]; M], scale: 0.0, forecast: 0.0 };
        model.forget_covariance();
        model
    }
}

impl<const M: usize> Model<M> {
    fn forget_covariance(&mut self) {
        self.covariance = [[0.0; M]; M];
        (0..M).for_each(|i| self.covariance[i][i] = INITIAL_VARIANCE);
    }

    fn inputs(windows: &Windows, mean: f64, deviation: f64, newest: usize) -> [f64; M] {
        std::array::from_fn(|i| if i + 1 == M { 1.0 } else { (windows.back(i + newest) - mean) / deviation })
    }

    fn predict(&self, inputs: &[f64; M]) -> f64 {
        self.weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum()
    }

    /// Returns the forecast of the value after the newest.
    fn next(&self, windows: &Windows) -> f64 {
        let (mean, deviation) = (windows.mean(), windows.deviation());
        mean + deviation * self.predict(&Self::inputs(windows, mean, deviation, 0))
    }

    /// Learns the newest value; returns |residual| in the units of the series.
    fn learn(&mut self, windows: &Windows, row: u32) -> f64 {
        if (row as usize) < M {
            return 0.0;
        }
        let (mean, deviation) = (windows.mean(), windows.deviation());
        let inputs = Self::inputs(windows, mean, deviation, 1);
        let residual = (windows.back(0) - mean) / deviation - self.predict(&inputs);
        let is_clipped = row > UNCLIPPED_ROWS && self.scale > 0.0;
        let limit = if is_clipped { CLIP * self.scale } else { f64::MAX };
        let clipped = residual.clamp(-limit, limit);
        self.scale += (clipped.abs() - self.scale) * (1.0 / f64::from(row)).max(SCALE_RATE);
        self.update(&inputs, clipped);
        residual.abs() * deviation
    }

    fn update(&mut self, inputs: &[f64; M], residual: f64) {
        let gains: [f64; M] =
            std::array::from_fn(|i| self.covariance[i].iter().zip(inputs).map(|(cell, input)| cell * input).sum());
        let divisor = 1.0 + inputs.iter().zip(&gains).map(|(input, gain)| input * gain).sum::<f64>();
        if !(divisor >= 1.0 && divisor.is_finite()) {
            self.forget_covariance();
            return;
        }
        let share = 1.0 / divisor;
        for ((weight, row), gain) in self.weights.iter_mut().zip(&mut self.covariance).zip(&gains) {
            *weight += gain * residual * share;
            row.iter_mut().zip(&gains).for_each(|(cell, other)| *cell -= gain * other * share);
        }
        if !self.weights.iter().all(|weight| weight.is_finite()) {
            *self = Self::default();
        }
    }
}

/// Absolute residuals of the newest value, in its units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Residuals {
    pub(super) of_1: f64,
    pub(super) of_4: f64,
    pub(super) of_8: f64,
}

/// Models of order 1, 4 and 8.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Forecasts {
    of_1: Model<2>,
    of_4: Model<5>,
    of_8: Model<9>,
    next: f64,
}

state!(Forecasts { of_1, of_4, of_8, next });

impl Forecasts {
    /// Learns the newest value.
    pub(super) fn push(&mut self, windows: &Windows, row: u32) -> Residuals {
        let residuals = Residuals {
            of_1: self.of_1.learn(windows, row),
            of_4: self.of_4.learn(windows, row),
            of_8: self.of_8.learn(windows, row),
        };
        self.of_4.forecast = self.next;
        self.next = self.of_4.next(windows);
        residuals
    }

    /// Returns the forecast of the next value.
    pub(super) fn next(&self) -> f64 {
        self.next
    }

    /// Returns the forecast of the newest value, from the rows before it.
    pub(super) fn last(&self) -> f64 {
        self.of_4.forecast
    }
}
