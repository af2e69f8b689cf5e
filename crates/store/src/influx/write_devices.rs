//! Writes the index of devices.

use spindle_core::Batch;

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::line;
use super::noted_devices::DeviceNote;
use super::send::{SMALL_CHUNK_LINES, send_own};
use super::session::Influx;
use crate::{RefusedItem, StoreError};

/// Notes the devices of a batch that the index does not know yet. The batch itself is stored before.
pub(super) async fn note_devices(influx: &Influx, batch: &Batch, limit: &ConcurrencyLimit) -> Result<(), StoreError> {
    let of_metrics = batch.metrics.iter().map(|metric| (metric.source_device.as_str(), metric.timestamp.as_ns()));
    let of_events = batch.events.iter().map(|event| (event.source_device.as_str(), event.timestamp.as_ns()));
    note_times(influx, of_metrics.chain(of_events), limit).await.map(drop)
}

/// Notes devices with the times of their data; returns the number of new notes.
pub(super) async fn note_times<'a>(
    influx: &Influx,
    times: impl Iterator<Item = (&'a str, i64)>,
    limit: &ConcurrencyLimit,
) -> Result<usize, StoreError> {
    let mut noted = influx.noted_devices().await;
    let notes = noted.new_notes(times);
    let mut chunks = Vec::new();
    for DeviceNote { device, first, last, at } in &notes {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::device(device, *first, *last, *at, &mut chunk.lines);
        chunk.assign(RefusedItem::Metric(usize::MAX), (device, at));
    }
    send_own(influx, chunks, limit).await?;
    let n_notes = notes.len();
    noted.record(notes);
    Ok(n_notes)
}
