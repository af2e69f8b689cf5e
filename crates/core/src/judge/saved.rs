//! Saved state of the judge: a version, then the parts in order, in the format of postcard.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::FleetJudge;
use crate::detect::{Detector, SavedDetectorError};
use crate::name::{DeviceName, MetricType};
use crate::timestamp::Timestamp;

const VERSION: u32 = 1;
/// Space for one record while it is read: more than a saved detector with its names.
const BUFFER_BYTES: usize = 64 << 10;

/// Error of [`FleetJudge::save`] and [`FleetJudge::restore`].
#[derive(Debug, thiserror::Error)]
pub enum SavedJudgeError {
    /// Not written or read to its end, or damaged.
    #[error("saved state of the detector is not usable: {0}")]
    Format(#[from] postcard::Error),
    /// Saved by another version.
    #[error("version {0} of the saved state of the detector is unknown: everything must be learnt again")]
    Version(u32),
    /// A series is damaged.
    #[error("saved state of the detector is damaged: {0}")]
    Series(#[from] SavedDetectorError),
}

#[derive(Serialize, Deserialize)]
struct SavedSeries {
    device: DeviceName,
    metric_type: MetricType,
    detector: Vec<u8>,
}

impl FleetJudge {
    /// Writes the state; at most 8 KiB and the names for each series.
    ///
    /// # Errors
    /// [`SavedJudgeError::Format`] if `out` fails.
    pub fn save(&self, mut out: impl Write) -> Result<(), SavedJudgeError> {
        postcard::to_io(&VERSION, &mut out)?;
        postcard::to_io(&self.now, &mut out)?;
        postcard::to_io(&(self.series.len() as u64), &mut out)?;
        for ((device, metric_type), detector) in &self.series {
            let (device, metric_type) = (device.clone(), metric_type.clone());
            postcard::to_io(&SavedSeries { device, metric_type, detector: detector.to_bytes() }, &mut out)?;
        }
        Ok(())
    }

    /// Reads the state that [`Self::save`] wrote.
    ///
    /// # Errors
    /// [`SavedJudgeError`] if it is of another version, damaged or not complete.
    pub fn restore(mut input: impl Read) -> Result<Self, SavedJudgeError> {
        let version: u32 = read(&mut input)?;
        if version != VERSION {
            return Err(SavedJudgeError::Version(version));
        }
        let now: Timestamp = read(&mut input)?;
        let n_series: u64 = read(&mut input)?;
        let mut judge = Self { now, ..Self::default() };
        for _ in 0..n_series {
            let SavedSeries { device, metric_type, detector } = read(&mut input)?;
            judge.series.insert((device, metric_type), Detector::from_bytes(&detector)?);
        }
        Ok(judge)
    }
}

fn read<T: for<'a> Deserialize<'a>>(input: &mut impl Read) -> Result<T, SavedJudgeError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (value, _) = postcard::from_io((input, &mut buffer))?;
    Ok(value)
}
