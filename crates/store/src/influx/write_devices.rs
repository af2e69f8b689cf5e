//! Writes the index of devices.

use std::collections::HashMap;

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::line;
use super::noted_devices::DeviceNote;
use super::send::{SMALL_CHUNK_LINES, send_all};
use super::session::Influx;
use super::settings::InfluxVersion;
use crate::{Refused, RefusedItem, StoreError};

/// Notes devices at the times of elements, unless they are known. Returns the number of new notes, and an element of
/// each note that is refused.
pub(super) async fn note_times<'a>(
    influx: &Influx,
    times: impl Iterator<Item = (RefusedItem, &'a str, i64)>,
    limit: &ConcurrencyLimit,
) -> Result<(usize, Vec<Refused>), StoreError> {
    let mut carriers: HashMap<&str, RefusedItem> = HashMap::new();
    let times = times.map(|(item, device, time)| {
        carriers.insert(device, item);
        (device, time)
    });
    let has_files = influx.ready().await? == InfluxVersion::V3;
    let mut noted = influx.noted_devices.lock().await;
    let n_forgotten = influx.n_forgotten();
    noted.refresh(n_forgotten, has_files);
    let notes = noted.new_notes(times);
    let mut chunks = Vec::new();
    for DeviceNote { device, first, last, at } in &notes {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::device(device, *first, *last, *at, &mut chunk.lines);
        chunk.assign(carriers[device.as_str()], (device, at));
    }
    let refused = send_all(influx, chunks, limit).await?;
    let n_notes = notes.len();
    if refused.is_empty() && influx.n_forgotten() == n_forgotten {
        noted.record(notes);
    }
    Ok((n_notes, refused))
}
