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
/// Numbers of streams that measure the same thing, in the order of the streams. An alarm counts each family alike.
const FAMILIES: [usize; 6] = [4, 4, 3, 2, 2, 3];
/// Streams of the distance to the usual value of the time.
const OF_DAY: std::ops::Range<usize> = 4..8;
/// Power of the mean of the votes: a few loud streams count more than their share.
const POWER: f64 = 1.5;
/// Factors by which a record exceeds the second and the third peak.
const CLEAR: f64 = 1.15;
const NOTICEABLE: f64 = 1.1;
/// Rows for which a clear vote counts: a wide window sees an incident later than a narrow one.
const VOTE_ROWS: u32 = 12;

/// Levels of a row, each from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    /// Of the votes by clear records over the second peak, families alike.
    pub(super) clear: f64,
    /// Of the votes by noticeable records over the third peak, streams alike.
    pub(super) noticeable: f64,
}

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
    seconds: [Records<5, 100>; STREAMS],
    thirds: [Records<6, 40>; STREAMS],
    /// Row after which the clear vote of a stream no longer counts.
    until: [u32; STREAMS],
}

state!(Votes { profile, last_usual, day, day_sums, forecast, forecast_sums, shape, seconds, thirds, until });

impl Votes {
    /// Returns the levels of the newest value: power means of the votes.
    pub(super) fn push(&mut self, at: Timestamp, windows: &Windows, residuals: Residuals, row: u32) -> Levels {
        let streams = self.streams(at, windows, residuals, row);
        let mut streams = self.seconds.iter_mut().zip(&mut self.thirds).zip(&mut self.until).zip(streams);
        let (mut clear, mut noticeable) = (0.0, 0_u32);
        for n_streams in FAMILIES {
            let mut votes = 0_u32;
            for (((second, third), until), stream) in streams.by_ref().take(n_streams) {
                if second.push(stream, row, CLEAR) {
                    *until = row.saturating_add(VOTE_ROWS);
                }
                votes += u32::from(row < *until);
                noticeable += u32::from(third.push(stream, row, NOTICEABLE));
            }
            clear += f64::from(votes) / n_streams as f64;
        }
        let level = |share: f64| if share > 0.0 { share.powf(1.0 / POWER) } else { 0.0 };
        Levels {
            clear: level(clear / FAMILIES.len() as f64),
            noticeable: level(f64::from(noticeable) / STREAMS as f64),
        }
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
        let is_week_in_use = self.profile.is_week_in_use();
        let from_usual = self.profile.push(at, value, row).abs();
        if self.profile.is_week_in_use() && !is_week_in_use {
            // Peaks from before are weekends that the day alone could not expect.
            self.seconds[OF_DAY].fill(Records::default());
            self.thirds[OF_DAY].fill(Records::default());
        }
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
