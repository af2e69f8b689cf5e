//! Marker in the database that tells whether the indexes are complete.

use spindle_core::Timestamp;

use super::chunk::Chunk;
use super::line;
use super::send::send_own;
use super::session::Influx;
use crate::StoreError;

/// Version of the indexes. A later one completes them again.
pub(super) const INDEX_VERSION: i64 = 1;
/// Marks indexes with gaps: the next start completes them.
pub(super) const INCOMPLETE: i64 = 0;

/// Writes a marker with a version, and the time from which on the index of devices names all; the newest of each counts.
pub(super) async fn mark(
    influx: &Influx,
    version: i64,
    devices_from: Option<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut chunk = Chunk::default();
    line::index_version(version, devices_from, now, &mut chunk.lines);
    chunk.assign((), (version, now));
    send_own(influx, vec![chunk], &influx.event_limit).await
}
