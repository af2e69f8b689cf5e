//! Series of decoded values.

use std::time::Duration;

use anyhow::{Result, ensure};
use spindle_core::buckets::Buckets;
use spindle_core::reading::{self, Reading};
use spindle_core::records::{Bucket, Window};
use spindle_core::{DeviceName, MetricType};
use spindle_store::Store;

/// Maximum number of values decoded one by one for a series; a year of one value a minute is half of it.
const MAX_DECODED_VALUES: usize = 1_000_000;

/// Returns buckets of decoded values, and the number of those that do not decode.
pub(super) async fn buckets(
    store: &Store,
    device: &DeviceName,
    metric_type: &MetricType,
    window: Window,
    length: Duration,
) -> Result<(Vec<Bucket>, u64)> {
    if !reading::is_encoded(metric_type) {
        return Ok((store.buckets(device, metric_type, window, length).await?, 0));
    }
    let samples = store.range(device, metric_type, window, MAX_DECODED_VALUES + 1).await?;
    ensure!(
        samples.len() <= MAX_DECODED_VALUES,
        "more than {MAX_DECODED_VALUES} raw values of {metric_type} to decode: ask for a shorter window"
    );
    let mut buckets = Buckets::new(length);
    let mut n_not_understood = 0;
    for sample in samples {
        match reading::read(metric_type, sample.value) {
            Reading::Value(value) => buckets.add(sample.time, value),
            Reading::Absent | Reading::Unclear(_) => n_not_understood += 1,
        }
    }
    Ok((buckets.finish(), n_not_understood))
}
