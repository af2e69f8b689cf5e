//! Writes the index of devices.

use spindle_core::Timestamp;

use super::chunk::Chunk;
use super::concurrency::ConcurrencyLimit;
use super::line;
use super::noted_devices::{DeviceNote, Period};
use super::send::{SMALL_CHUNK_LINES, send_all};
use super::session::Influx;
use crate::StoreError;

/// What became of notes.
pub(super) struct NoteOutcome {
    pub(super) n_notes: usize,
    pub(super) is_any_refused: bool,
}

/// Notes devices at the times of their data, unless they are known up to `max_lag_ns`. A note that the server refuses,
/// at a limit of series for example, keeps no value out: the device is missing from the list until a later batch notes
/// it.
pub(super) async fn note_times<'a>(
    influx: &Influx,
    times: impl Iterator<Item = (&'a str, i64)>,
    now: Timestamp,
    max_lag_ns: i64,
    limit: &ConcurrencyLimit,
) -> Result<NoteOutcome, StoreError> {
    let has_files = influx.ready().await?.has_files();
    let retention = influx.retention();
    let mut noted = influx.noted_devices.lock().await;
    let n_forgotten = influx.n_forgotten();
    noted.refresh(n_forgotten, Period::of(retention, has_files), now, retention);
    let notes = noted.new_notes(times, max_lag_ns);
    let mut chunks = Vec::new();
    for DeviceNote { device, first, last, at } in &notes {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::device(device, *first, *last, *at, &mut chunk.lines);
        chunk.assign((), (device, at));
    }
    let refused = send_all(influx, chunks, limit).await?;
    let outcome = NoteOutcome { n_notes: notes.len(), is_any_refused: !refused.is_empty() };
    influx.index_log.warn_of_refused("the index of devices", &refused);
    if refused.is_empty() && influx.n_forgotten() == n_forgotten {
        noted.record(notes);
    }
    Ok(outcome)
}
