//! Benchmark of the detection: rows judged on one core, bytes of a series, series restored.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use spindle_core::Timestamp;
use spindle_core::detect::Detector;

use crate::{print, rate};

/// Rows of a series: a week of minutes.
const N_ROWS: usize = 10_080;

pub(crate) fn run(n_series: usize) -> Result<()> {
    let started = Instant::now();
    let mut n_alarms = 0;
    let mut detector = Detector::default();
    for series in 0..n_series {
        detector = Detector::default();
        for row in 0..N_ROWS {
            let at = Timestamp::from_seconds(1_750_000_000 + 60 * row as i64);
            n_alarms += usize::from(detector.push(at, black_box(value(series, row))).alarm);
        }
    }
    print(&format!("judge   {}  {n_alarms} alarms", rate(n_series * N_ROWS, started.elapsed())));
    let bytes = detector.to_bytes();
    let n_restored = 10_000;
    let started = Instant::now();
    for _ in 0..n_restored {
        black_box(Detector::from_bytes(black_box(&bytes))?);
    }
    let per_series = started.elapsed().as_secs_f64() / f64::from(n_restored);
    print(&format!("restore {:>9.2} s for 100,000 series of {} bytes", per_series * 1e5, bytes.len()));
    Ok(())
}

/// A daily wave with noise that no multiplication of rows repeats soon, and a burst every two days.
fn value(series: usize, row: usize) -> f64 {
    let noise = ((row * 7_919 + series * 104_729) % 10_007) as f64 / 10_007.0;
    let burst = if row % 2_880 > 2_870 { 30.0 } else { 0.0 };
    50.0 + 10.0 * (row as f64 * std::f64::consts::TAU / 1_440.0).sin() + noise + burst
}
