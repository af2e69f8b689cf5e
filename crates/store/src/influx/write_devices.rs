//! Writes the index of devices.

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::line;
use super::noted_devices::DeviceNote;
use super::send::{SMALL_CHUNK_LINES, send_all};
use super::session::Influx;
use super::settings::InfluxVersion;
use crate::StoreError;

/// Notes devices at the times of their data, unless they are known; returns the number of new notes. A note that the
/// server refuses, at a limit of series for example, keeps no value out: the device is missing from the list until a
/// later batch notes it.
pub(super) async fn note_times<'a>(
    influx: &Influx,
    times: impl Iterator<Item = (&'a str, i64)>,
    limit: &ConcurrencyLimit,
) -> Result<usize, StoreError> {
    let has_files = influx.ready().await? == InfluxVersion::V3;
    let mut noted = influx.noted_devices.lock().await;
    let n_forgotten = influx.n_forgotten();
    noted.refresh(n_forgotten, has_files);
    let notes = noted.new_notes(times);
    let mut chunks = Vec::new();
    for DeviceNote { device, first, last, at } in &notes {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::device(device, *first, *last, *at, &mut chunk.lines);
        chunk.assign((), (device, at));
    }
    let refused = send_all(influx, chunks, limit).await?;
    let n_notes = notes.len();
    influx.index_log.warn_of_refused("the index of devices", &refused);
    if refused.is_empty() && influx.n_forgotten() == n_forgotten {
        noted.record(notes);
    }
    Ok(n_notes)
}
