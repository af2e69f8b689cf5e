//! Sequence numbers of values that another value of the same device, type and time replaced, for the gap audit.
//!
//! They are written before the values that replace theirs: a number that is listed here and stored all the same is not
//! missing.

use std::collections::BTreeMap;

use serde_json::Value;
use spindle_core::Timestamp;
use spindle_core::audit::Tally;
use spindle_core::records::Window;
use spindle_core::schema::REPLACED_NUMBERS;

use super::chunk::Chunk;
use super::last_values::ReplacedNumber;
use super::line::{self, one_of_devices};
use super::send::{SMALL_CHUNK_LINES, send_all};
use super::session::{Influx, MAX_TIME, MIN_TIME, bounds};
use crate::StoreError;

/// Numbers of one place lie this far behind it at most, each at a time of its own.
const NUMBER_SPREAD_NS: i64 = 1_000_000;

/// Writes the numbers that a batch replaces.
pub(super) async fn write(influx: &Influx, replaced: &[ReplacedNumber<'_>]) -> Result<(), StoreError> {
    let mut chunks = Vec::new();
    for ReplacedNumber { by, seq, .. } in replaced {
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::replaced_number(by, *seq, time_of(by.timestamp, *seq), &mut chunk.lines);
        chunk.assign((), (by.identity(), seq));
    }
    let refused = send_all(influx, chunks, &influx.value_limit).await?;
    influx.index_log.warn_of_refused("replaced numbers, which the audit cannot report now", &refused);
    Ok(())
}

fn time_of(timestamp: Timestamp, seq: u64) -> i64 {
    timestamp.as_ns().saturating_add((seq % NUMBER_SPREAD_NS.unsigned_abs()).cast_signed()).clamp(MIN_TIME, MAX_TIME)
}

/// Adds the replaced numbers of a window to the tallies.
pub(super) async fn tally(
    influx: &Influx,
    found: &mut BTreeMap<&str, Tally>,
    window: Window,
) -> Result<(), StoreError> {
    let Some((from, until)) = bounds(window) else { return Ok(()) };
    let only = one_of_devices(found.keys().copied());
    let query = |from, until| {
        format!(
            "SELECT seq, timestamp_ns FROM {} WHERE time >= {from} AND time <= {until}{only} GROUP BY source_device",
            REPLACED_NUMBERS.name
        )
    };
    influx
        .select(from, until.saturating_add(NUMBER_SPREAD_NS).min(MAX_TIME), query, |series| {
            let Some(tally) = found.get_mut(&*line::decode(series.tag("source_device"))) else { return };
            for row in &series.values {
                let whole = |at: usize| row.get(at).and_then(Value::as_i64);
                if let (Some(seq), Some(happened)) = (whole(1), whole(2))
                    && window.contains(Timestamp::from_ns(happened))
                {
                    tally.see_replaced(seq.cast_unsigned());
                }
            }
        })
        .await
}
