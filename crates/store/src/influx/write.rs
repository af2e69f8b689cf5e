//! Writing a batch: values, then labels, then events.

use std::collections::{HashMap, HashSet};

use spindle_core::{Batch, DeviceMetric, Identity, Timestamp, device_labels};

use super::chunk::{BatchShape, Chunk};
use super::concurrency::ConcurrencyLimit;
use super::labels::NewLabels;
use super::noted_devices::REFRESH_NS;
use super::send::{OUT_OF_TIME, SMALL_CHUNK_LINES, send_all};
use super::session::{Influx, MAX_TIME, MIN_TIME};
use super::write_devices::note_times;
use super::write_events::write_events;
use super::{device_arrivals, line, replaced};
use crate::{Refusal, Refused, RefusedItem, StoreError, Written};

/// `Store::write`, for elements within the retention as far as it is known.
pub(crate) async fn write(influx: &Influx, batch: &Batch, received: Timestamp) -> Result<Written, StoreError> {
    let shape = BatchShape::of(influx.ready().await?);
    if let Some(metric) = batch.metrics.iter().find(|metric| !metric.value.is_finite()) {
        let problem = format!("{} of {} is {}, not finite", metric.metric_type, metric.source_device, metric.value);
        return Err(StoreError::Rejected { problem });
    }
    influx.set_now(received);
    let mut written = Written::default();
    if batch.is_empty() {
        return Ok(written);
    }
    write_metrics(influx, &batch.metrics, shape.max_lines, &mut written).await?;
    let limit = if batch.metrics.is_empty() { &influx.event_limit } else { &influx.value_limit };
    device_arrivals::write(influx, batch, &written.refused, received, limit).await?;
    write_events(influx, &batch.events, received, &mut written).await?;
    write_labels(influx, batch, received, limit, &mut written).await?;
    // Never behind values: the notes hold a lock that events need, too.
    note_devices(influx, batch, &influx.event_limit, &written).await?;
    count_events(batch, &mut written);
    Ok(written)
}

/// Stores values. Of several with one identity only the last is sent, and its fate is that of all.
async fn write_metrics(
    influx: &Influx,
    metrics: &[DeviceMetric],
    max_lines: usize,
    written: &mut Written,
) -> Result<(), StoreError> {
    let MetricChunks { chunks, replaced } = metric_chunks(metrics, max_lines, &mut written.refused);
    let numbers = influx.last_values().find(metrics);
    replaced::write(influx, &numbers).await?;
    let n_over_stored = numbers.iter().filter(|number| !number.is_in_batch).count();
    let n_sent: usize = chunks.iter().map(|chunk| chunk.items.len()).sum();
    let refused = send_all(influx, chunks, &influx.value_limit).await?;
    influx.last_values().record(metrics);
    written.n_metrics = (n_sent - refused.len()).saturating_sub(n_over_stored);
    written.n_metrics_replaced = n_sent - refused.len() - written.n_metrics;
    let fates: HashMap<RefusedItem, &Refused> = refused.iter().map(|refused| (refused.item, refused)).collect();
    for (earlier, last) in replaced {
        match fates.get(&RefusedItem::Metric(last)) {
            Some(refused) => {
                let item = RefusedItem::Metric(earlier);
                written.refused.push(Refused { item, reason: refused.reason, message: refused.message.clone() });
            }
            None if metrics[earlier].value.to_bits() == metrics[last].value.to_bits() => written.n_metrics_known += 1,
            None => written.n_metrics_replaced += 1,
        }
    }
    written.refused.extend(refused);
    Ok(())
}

/// Counts the events that were stored before.
fn count_events(batch: &Batch, written: &mut Written) {
    let is_event = |refused: &&Refused| matches!(refused.item, RefusedItem::Event(_));
    let n_refused = written.refused.iter().filter(is_event).count();
    written.n_events = written.n_events.min(batch.events.len() - n_refused);
    written.n_events_known = batch.events.len() - n_refused - written.n_events;
}

/// Writes the labels not known to be stored. The newest value of a key is the one written last. A refused label keeps no
/// element out: the next batch that carries it writes it again.
async fn write_labels(
    influx: &Influx,
    batch: &Batch,
    received: Timestamp,
    limit: &ConcurrencyLimit,
    written: &mut Written,
) -> Result<(), StoreError> {
    let refused: HashSet<RefusedItem> = written.refused.iter().map(|refused| refused.item).collect();
    let of_metrics = batch.metrics.iter().enumerate().filter_map(|(index, metric)| {
        Some((RefusedItem::Metric(index), &metric.source_device, metric.labels.as_deref()?))
    });
    let of_events = batch.events.iter().enumerate().filter_map(|(index, event)| {
        Some((RefusedItem::Event(index), &event.source_device, device_labels::of_event(event)?))
    });
    let mut newest = NewLabels::new();
    for (_, device, labels) in of_metrics.chain(of_events).filter(|(item, ..)| !refused.contains(item)) {
        for (key, value) in labels.iter() {
            newest.insert((device.as_str(), key.as_str()), value.as_str());
        }
    }
    if newest.is_empty() {
        return Ok(());
    }
    influx.labels().retain_unwritten(&mut newest, influx.retention(), received);
    let mut chunks = Vec::new();
    for ((device, key), value) in &newest {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::label(device, key, value, received, &mut chunk.lines);
        chunk.assign((*device, *key), (device, key, value));
    }
    // The lock is not held meanwhile: another batch that writes the same labels does no harm.
    let refused = send_all(influx, chunks, limit).await?;
    for label in &refused {
        newest.remove(&label.item);
    }
    influx.labels().record(newest, received);
    influx.index_log.warn_of_refused("labels", &refused);
    written.missing.n_labels = refused.len();
    Ok(())
}

/// Notes the devices of the stored elements in the index.
async fn note_devices(
    influx: &Influx,
    batch: &Batch,
    limit: &ConcurrencyLimit,
    written: &Written,
) -> Result<(), StoreError> {
    let refused: HashSet<RefusedItem> = written.refused.iter().map(|refused| refused.item).collect();
    let of_metrics =
        batch.metrics.iter().enumerate().map(|(index, metric)| {
            (RefusedItem::Metric(index), metric.source_device.as_str(), metric.timestamp.as_ns())
        });
    let of_events = batch
        .events
        .iter()
        .enumerate()
        .map(|(index, event)| (RefusedItem::Event(index), event.source_device.as_str(), event.timestamp.as_ns()));
    let stored = of_metrics.chain(of_events).filter(|(item, ..)| !refused.contains(item));
    let times = stored.map(|(_, device, time)| (device, time));
    note_times(influx, times, influx.now(), REFRESH_NS, limit).await.map(drop)
}

/// Values to send, and values that are not because a later one of the same identity is: their indexes, and its.
struct MetricChunks {
    chunks: Vec<Chunk<RefusedItem>>,
    replaced: Vec<(usize, usize)>,
}

/// Of several values with one identity only the last is sent: chunks may overtake each other, so either could win.
fn metric_chunks(metrics: &[DeviceMetric], max_lines: usize, refused: &mut Vec<Refused>) -> MetricChunks {
    // Index of the last value of each identity, and the newest sequence number: a value without one keeps it.
    let mut last: HashMap<Identity<'_>, (usize, Option<u64>)> = HashMap::with_capacity(metrics.len());
    for (index, metric) in metrics.iter().enumerate() {
        let (newest, seq) = last.entry(metric.identity()).or_default();
        (*newest, *seq) = (index, metric.seq.or(*seq));
    }
    let (mut chunks, mut replaced) = (Vec::new(), Vec::new());
    for (index, metric) in metrics.iter().enumerate() {
        let item = RefusedItem::Metric(index);
        let (last, seq) = last[&metric.identity()];
        if !(MIN_TIME..=MAX_TIME).contains(&metric.timestamp.as_ns()) {
            refused.push(Refused { item, reason: Refusal::Invalid, message: OUT_OF_TIME.to_owned() });
        } else if last == index {
            let chunk = Chunk::current(&mut chunks, max_lines);
            match seq.filter(|_| metric.seq.is_none()) {
                Some(_) => line::metric(&DeviceMetric { seq, ..metric.clone() }, &mut chunk.lines),
                None => line::metric(metric, &mut chunk.lines),
            }
            chunk.assign(item, metric.identity());
        } else {
            replaced.push((index, last));
        }
    }
    MetricChunks { chunks, replaced }
}
