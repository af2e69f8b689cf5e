//! Detection of anomalies in one series, online and without training data.
//!
//! A [`Detector`] learns a series row by row. Per row it returns how odd the row is and stays up while things are wrong
//! (`anomaly_score`), and speaks once per incident (`alarm`). One configuration serves all series. State and work per
//! row are bounded, and a restored detector continues exactly as the saved one would have. `docs/judgement.md` has the
//! method, its ablation and the figures.

mod alarm;
mod band;
mod counter;
mod forecast;
mod judged_buckets;
mod oddity;
mod profile;
mod rarity;
mod records;
mod series;
mod shape;
mod state;
mod votes;
mod week;
mod window;

use crate::Timestamp;
use alarm::AlarmControl;
use band::Band;
use counter::{Counter, Measured};
use forecast::Forecasts;
pub use judged_buckets::{JudgedBuckets, judge_buckets};
use oddity::Oddity;
pub use series::{SeriesError, SeriesReader, SeriesRow};
use state::{State, state};
use votes::Votes;
use window::Windows;

/// Largest magnitude that enters the sums: squares of it stay finite.
const MAX_MAGNITUDE: f64 = 1e75;
/// First byte of a saved detector.
const VERSION: u8 = 2;

/// Online detector of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detector {
    counter: Counter,
    learnt: Learnt,
}

state!(Detector { counter, learnt });

/// Everything learnt of a series, or of the rate of a counter.
#[derive(Clone, Debug, Default, PartialEq)]
struct Learnt {
    /// Rows seen, missing values excluded.
    rows: u32,
    first_ns: i64,
    windows: Windows,
    forecasts: Forecasts,
    oddity: Oddity,
    votes: Votes,
    control: AlarmControl,
    band: Band,
}

state!(Learnt { rows, first_ns, windows, forecasts, oddity, votes, control, band });

/// Judgement of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowScore {
    /// Oddity of the row from 0 to 1, comparable between series; from 0.5 on, a sudden event.
    pub anomaly_score: f64,
    /// True once per incident, at its first row that is clear enough.
    pub alarm: bool,
    /// Expected range of the value, from the rows before it; `None` until enough is known.
    pub expected: Option<(f64, f64)>,
}

/// Error for bytes that are not a saved detector of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedDetectorError {
    /// Saved by another version.
    #[error("version {0} of a saved detector is unknown: the series must be learnt again")]
    Version(u8),
    /// Truncated, too long or damaged.
    #[error("{0} bytes are not a saved detector: the series must be learnt again")]
    Damaged(usize),
}

impl Detector {
    /// Judges a row and learns it. A value that is not finite counts as missing: it teaches nothing, and the score of
    /// the row before fades.
    pub fn push(&mut self, at: Timestamp, value: f64) -> RowScore {
        if !value.is_finite() {
            return self.learnt.skip();
        }
        match self.counter.push(at, value.clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE)) {
            Measured::Value(measured) => {
                let score = self.learnt.push(at, measured.clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE));
                let expected = score.expected.map(|range| self.counter.range(range));
                // A damaged state may have turned it around.
                RowScore { expected: expected.filter(|(low, high)| low <= high), ..score }
            }
            Measured::Nothing => self.learnt.skip(),
            Measured::Changed => {
                self.learnt = Learnt::default();
                RowScore::default()
            }
        }
    }

    /// Returns the state, at most 8 KiB.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        self.put(&mut bytes);
        bytes
    }

    /// Returns the detector that [`Self::to_bytes`] saved.
    ///
    /// # Errors
    /// [`SavedDetectorError`] if another version wrote the bytes, or if they are damaged in a way that shows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SavedDetectorError> {
        let damaged = SavedDetectorError::Damaged(bytes.len());
        let (version, mut rest) = bytes.split_first().ok_or(damaged)?;
        if *version != VERSION {
            return Err(SavedDetectorError::Version(*version));
        }
        let mut detector = Self::default();
        detector.take(&mut rest).filter(|()| rest.is_empty()).ok_or(damaged)?;
        Ok(detector)
    }
}

impl Learnt {
    fn skip(&mut self) -> RowScore {
        RowScore { anomaly_score: self.oddity.fade(), alarm: false, expected: None }
    }

    fn push(&mut self, at: Timestamp, value: f64) -> RowScore {
        if self.rows == 0 {
            self.first_ns = at.as_ns();
        }
        let age_ns = at.as_ns().saturating_sub(self.first_ns);
        let expected = self.band.expected(self.rows, &self.forecasts, self.votes.usual_at(at));
        self.windows.push(value);
        let residuals = self.forecasts.push(&self.windows, self.rows);
        let held = self.oddity.push(&self.windows, residuals, self.rows);
        let levels = self.votes.push(at, &self.windows, residuals, self.rows);
        let (strength, alarm) = self.control.push(levels, self.rows, age_ns);
        self.band.learn(value, &self.forecasts, self.votes.last_usual());
        self.rows = self.rows.saturating_add(1);
        let anomaly_score = if strength > 0.0 { 0.5 + 0.5 * strength } else { held };
        RowScore { anomaly_score: anomaly_score.clamp(0.0, 1.0), alarm, expected }
    }
}

#[cfg(test)]
mod tests;
