//! Load of the detector: many series, judged, saved and restored.

use anyhow::Result;
use spindle_core::Timestamp;

use super::{Stage, until};
use crate::print;

const METRICS: [&str; 9] = [
    "Latency",
    "IOPs",
    "DiskTemp",
    "CapacityUsed",
    "Throughput",
    "QueueDepth",
    "Utilization",
    "ReadLatency",
    "WriteLatency",
];
/// Values of each series.
const ROUNDS: i64 = 5;
const PER_MESSAGE: usize = 500;
/// Less than a saved series takes.
const MIN_SERIES_BYTES: f64 = 2_000.0;
const BEGIN: i64 = 1_800_000_000;

/// Publishes some rounds of values of `n_devices` devices with nine metrics each, has them judged and the state saved,
/// and starts the detector again. Prints the time of the restore.
pub(super) async fn run(stage: &Stage<'_>, n_devices: usize) -> Result<u64> {
    let n_series = (n_devices * METRICS.len()) as f64;
    let mut detector = stage.start(&[("SPINDLE_DETECTOR_SAVE_INTERVAL", "2s")])?;
    until("the first state is saved", || detector.metric("spindle_detector_state_size_bytes") > 0.0).await?;
    stage.publish("series", (0..ROUNDS).flat_map(|round| messages(round, n_devices)).map(|text| (false, text))).await?;
    let n_values = n_series * ROUNDS as f64;
    until("all values are judged", || detector.metric("spindle_detector_judged_items_total") >= n_values).await?;
    let mut n_bytes = 0.0;
    until("the state is saved", || {
        n_bytes = detector.metric("spindle_detector_state_size_bytes");
        n_bytes > n_series * MIN_SERIES_BYTES
    })
    .await?;
    let peak = detector.peak_bytes()?;
    drop(detector);
    let mut detector = stage.start(&[])?;
    until("the state is restored", || detector.metric("spindle_detector_series") >= n_series).await?;
    let (restore_s, n_mib) = (detector.metric("spindle_detector_restore_seconds"), n_bytes / f64::from(1 << 20));
    print(&format!("<!-- {n_series} series: a state of {n_mib:.0} MiB, restored in {restore_s:.1} s -->"));
    Ok(peak.max(detector.peak_bytes()?))
}

fn messages(round: i64, n_devices: usize) -> Vec<String> {
    let time = Timestamp::from_seconds(BEGIN + 60 * round);
    let value = |index: usize| {
        let (device, metric_type) = (index / METRICS.len(), METRICS[index % METRICS.len()]);
        let value = 40 + device * 7 % 13 + index % METRICS.len() + round as usize % 3;
        format!(
            r#"{{"timestamp":"{time}","sourceDevice":"MODEL-X_SERIAL{device:06}","metricType":"{metric_type}","value":{value}}}"#
        )
    };
    let indices: Vec<usize> = (0..n_devices * METRICS.len()).collect();
    let message = |indices: &[usize]| format!("[{}]", indices.iter().copied().map(value).collect::<Vec<_>>().join(","));
    indices.chunks(PER_MESSAGE).map(message).collect()
}
