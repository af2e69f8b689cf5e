//! Streams of surprise and their record votes, combined into one level from 0 to 1.

use crate::Timestamp;

use super::forecast::Residuals;
use super::profile::Profile;
use super::records::Records;
use super::shape::Shape;
use super::state::state;
use super::window::{Ring, Windows};

/// Number of streams.
const STREAMS: usize = 18;
/// Power of the mean of the votes: a few loud streams count more than their share.
const POWER: f64 = 1.5;

/// Streams of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Votes {
    profile: Profile,
    last_usual: f64,
    day: Ring<49>,
    day_sums: [f64; 3],
    forecast: Ring<17>,
    forecast_sums: [f64; 2],
    shape: Shape,
    records: [Records; STREAMS],
}

state!(Votes { profile, last_usual, day, day_sums, forecast, forecast_sums, shape, records });

impl Votes {
    /// Returns the level of the newest value: the power mean of the votes.
    pub(super) fn push(&mut self, at: Timestamp, windows: &Windows, residuals: Residuals, row: u32) -> f64 {
        let streams = self.streams(at, windows, residuals, row);
        let mut votes = 0_u32;
        for (records, stream) in self.records.iter_mut().zip(streams) {
            votes += u32::from(records.push(stream, row));
        }
        if votes == 0 { 0.0 } else { (f64::from(votes) / STREAMS as f64).powf(1.0 / POWER) }
    }

    /// Returns the usual value at a time of day.
    pub(super) fn usual_at(&self, at: Timestamp) -> f64 {
        self.profile.usual_at(at)
    }

    /// Returns the usual value at the time of the newest row, from the rows before it.
    pub(super) fn last_usual(&self) -> f64 {
        self.last_usual
    }

    fn streams(&mut self, at: Timestamp, windows: &Windows, residuals: Residuals, row: u32) -> [f64; STREAMS] {
        let value = windows.back(0);
        self.last_usual = self.profile.usual_at(at);
        let from_usual = self.profile.push(at, value, row).abs();
        self.day.push(from_usual);
        for (sum, length) in self.day_sums.iter_mut().zip([4, 16, 48]) {
            self.day.slide(sum, 0, length);
        }
        self.forecast.push(residuals.of_8);
        for (sum, length) in self.forecast_sums.iter_mut().zip([4, 16]) {
            self.forecast.slide(sum, 0, length);
        }
        let n = f64::from(row) + 1.0;
        let mean = |sum: f64, length: f64| sum / n.min(length);
        let [short, long] = self.shape.push(windows);
        let [short_steps, long_steps] = self.shape.steps(windows);
        [
            (value - windows.mean()).abs(),
            windows.distance_to_mean(0),
            windows.distance_to_mean(1),
            windows.distance_to_mean(2),
            from_usual,
            mean(self.day_sums[0], 4.0),
            mean(self.day_sums[1], 16.0),
            mean(self.day_sums[2], 48.0),
            residuals.of_8,
            mean(self.forecast_sums[0], 4.0),
            mean(self.forecast_sums[1], 16.0),
            short,
            long,
            short_steps,
            long_steps,
            windows.distance_to_before(0),
            windows.distance_to_before(1),
            windows.distance_to_before(2),
        ]
    }
}
