//! Writing a batch: values, then labels, then events.

use std::collections::HashMap;
use std::fmt::Write;

use spindle_core::schema::PIPELINE;
use spindle_core::{Batch, DeviceMetric, Timestamp};

use super::arrivals;
use super::chunk::{BatchShape, Chunk};
use super::concurrency::ConcurrencyLimit;
use super::event_position::hash;
use super::labels::NewLabels;
use super::line;
use super::send::{OUT_OF_TIME, SMALL_CHUNK_LINES, send_all, send_own};
use super::session::{Influx, MAX_TIME, MIN_TIME};
use super::write_events::write_events;
use crate::{Refused, RefusedItem, StoreError, Written};

/// `Store::write`.
pub(crate) async fn write(influx: &Influx, batch: &Batch, received: Timestamp) -> Result<Written, StoreError> {
    let shape = BatchShape::of(influx.ready().await?);
    if let Some(metric) = batch.metrics.iter().find(|metric| !metric.value.is_finite()) {
        let problem = format!("{} of {} is {}, not finite", metric.metric_type, metric.source_device, metric.value);
        return Err(StoreError::Rejected { problem });
    }
    let mut written = Written::default();
    if batch.is_empty() {
        return Ok(written);
    }
    let chunks = metric_chunks(&batch.metrics, shape.max_lines, &mut written.refused);
    let n_metrics: usize = chunks.iter().map(|chunk| chunk.items.len()).sum();
    let refused = send_all(influx, chunks, &influx.value_limit).await?;
    written.n_metrics = n_metrics - refused.len();
    written.refused.extend(refused);
    let limit = if batch.metrics.is_empty() { &influx.event_limit } else { &influx.value_limit };
    write_labels(influx, batch, received, limit).await?;
    arrivals::write(influx, batch, &written.refused, received, limit).await?;
    write_events(influx, &batch.events, received, &mut written).await?;
    Ok(written)
}

/// `Store::write_self_metrics`.
pub(crate) async fn write_self_metrics(
    influx: &Influx,
    instance: &str,
    at: Timestamp,
    values: &[(&'static str, f64)],
) -> Result<(), StoreError> {
    let mut chunk = Chunk::default();
    let lines = &mut chunk.lines;
    let _ = write!(lines, "{},role=writer,instance={} ", PIPELINE.name, line::tag(instance));
    for (number, (name, value)) in values.iter().filter(|(_, value)| value.is_finite()).enumerate() {
        let _ = write!(lines, "{}{name}={value:?}", if number == 0 { "" } else { "," });
    }
    let _ = write!(lines, " {}", at.as_ns());
    chunk.assign(RefusedItem::Metric(usize::MAX), (instance, at.as_ns()));
    send_own(influx, vec![chunk], &influx.event_limit).await
}

/// Writes the labels not known to be stored. The newest value of a key is the one written last.
async fn write_labels(
    influx: &Influx,
    batch: &Batch,
    received: Timestamp,
    limit: &ConcurrencyLimit,
) -> Result<(), StoreError> {
    let of_metrics = batch.metrics.iter().filter_map(|metric| Some((&metric.source_device, metric.labels.as_ref()?)));
    let of_events = batch.events.iter().filter_map(|event| Some((&event.source_device, event.labels.as_ref()?)));
    let mut newest = NewLabels::new();
    for (device, labels) in of_metrics.chain(of_events) {
        newest.extend(labels.iter().map(|(key, value)| ((device.as_str(), key.as_str()), value.as_str())));
    }
    if newest.is_empty() {
        return Ok(());
    }
    influx.labels().retain_unwritten(&mut newest, received);
    let mut chunks = Vec::new();
    for ((device, key), value) in &newest {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::label(device, key, value, received, &mut chunk.lines);
        chunk.assign(RefusedItem::Metric(usize::MAX), (device, key, value));
    }
    // The lock is not held meanwhile: another batch that writes the same labels does no harm.
    send_own(influx, chunks, limit).await?;
    influx.labels().record(newest, received);
    Ok(())
}

/// Of several values with one identity only the last is sent: chunks may overtake each other, so either could win.
fn metric_chunks(metrics: &[DeviceMetric], max_lines: usize, refused: &mut Vec<Refused>) -> Vec<Chunk> {
    let identity = |metric: &DeviceMetric| {
        hash(&(metric.source_device.as_str(), metric.metric_type.as_str(), metric.timestamp.as_ns()))
    };
    let last: HashMap<u64, usize> =
        metrics.iter().enumerate().map(|(index, metric)| (identity(metric), index)).collect();
    let mut chunks = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let item = RefusedItem::Metric(index);
        if !(MIN_TIME..=MAX_TIME).contains(&metric.timestamp.as_ns()) {
            refused.push(Refused { item, message: OUT_OF_TIME.to_owned() });
        } else if last[&identity(metric)] == index {
            let chunk = Chunk::current(&mut chunks, max_lines);
            line::metric(metric, &mut chunk.lines);
            chunk.assign(item, identity(metric));
        }
    }
    chunks
}
