//! Writes events so that none overwrites another and none is stored twice. The rules are in this file alone.
//!
//! The positions of the new events are read first (see `event_position`): an event that is there already is written
//! once more unchanged; another event at its position moves it to the next slot. After the write the positions are
//! read again, and an event that a concurrent writer has overwritten is written once more.
//!
//! InfluxDB has no conditional write, so one case remains: of two writers, one reads before the other's write and
//! writes after the other's second read, and their events share device, type, time and position (one in a million of
//! those of one nanosecond). The earlier event is then lost.
//!
//! A readable event is not necessarily on disk: a write that InfluxDB 1 rejects with 500, because its disk is full,
//! can be read until the server restarts. Only a successful write of the event itself counts.

use std::collections::{HashMap, HashSet};

use spindle_core::schema::EVENTS;
use spindle_core::{Event, Timestamp};

use super::chunk::Chunk;
use super::event_position::{hash, identity, key, natural};
use super::send::{OUT_OF_TIME, SMALL_CHUNK_LINES, send_all};
use super::session::{Influx, MAX_TIME, MIN_TIME};
use super::{line, response};
use crate::{Refusal, Refused, RefusedItem, StoreError, Written};

/// Largest gap between two events whose positions are read in one query.
const CLUSTER_NS: i64 = 60_000_000_000;
const MAX_ROUNDS: usize = 6;

/// Event stored at some position.
struct StoredEvent {
    identity: u128,
    received: Timestamp,
}

/// Stored events by the key of their position.
type Positions = HashMap<u64, StoredEvent>;

/// Stores events and adds them to `written`.
pub(super) async fn write_events(
    influx: &Influx,
    events: &[Event],
    received: Timestamp,
    written: &mut Written,
) -> Result<(), StoreError> {
    let mut pending: Vec<usize> = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        if (MIN_TIME..=MAX_TIME).contains(&event.timestamp.as_ns()) {
            pending.push(index);
        } else {
            let (item, message) = (RefusedItem::Event(index), OUT_OF_TIME.to_owned());
            written.refused.push(Refused { item, reason: Refusal::Invalid, message });
        }
    }
    for _ in 0..MAX_ROUNDS {
        if pending.is_empty() {
            return Ok(());
        }
        let mut positions = read_positions(influx, events, &pending).await?;
        let (chunks, mut placed) = place(events, pending, received, &mut positions);
        let refused = send_all(influx, chunks, &influx.event_limit).await?;
        let refused_items: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
        written.refused.extend(refused);
        placed.retain(|(index, _)| !refused_items.contains(&RefusedItem::Event(*index)));
        if placed.is_empty() {
            return Ok(());
        }
        // A concurrent writer may have taken the same position between our read and our write, and overwritten us.
        let indexes: Vec<usize> = placed.iter().map(|(index, _)| *index).collect();
        let seen = read_positions(influx, events, &indexes).await?;
        let n_placed = placed.len();
        // An empty position means that the server's retention hides the event.
        let is_overwritten = |(index, position): &(usize, u64)| {
            seen.get(position).is_some_and(|stored| stored.identity != identity_of(&events[*index]))
        };
        placed.retain(is_overwritten);
        written.n_events += n_placed - placed.len();
        pending = placed.into_iter().map(|(index, _)| index).collect();
    }
    let problem = format!("other writers kept overwriting {} events", pending.len());
    Err(influx.client.unavailable(problem, None))
}

/// Chooses positions. Returns the lines, and the new events among them with the keys of their positions.
fn place(
    events: &[Event],
    pending: Vec<usize>,
    received: Timestamp,
    positions: &mut Positions,
) -> (Vec<Chunk>, Vec<(usize, u64)>) {
    let mut chunks = vec![Chunk::default()];
    let mut placed = Vec::new();
    for index in pending {
        let event = &events[index];
        let mut position = natural(event);
        let identity = identity_of(event);
        // Its first arrival, if it is stored already.
        let first_received = loop {
            match positions.get(&key(event, position)) {
                None => break None,
                Some(stored) if stored.identity == identity => break Some(stored.received),
                Some(_) => position.slot += 1,
            }
        };
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::event(event, first_received.unwrap_or(received), position, &mut chunk.lines);
        chunk.assign(RefusedItem::Event(index), identity);
        if first_received.is_none() {
            positions.insert(key(event, position), StoredEvent { identity, received });
            placed.push((index, key(event, position)));
        }
    }
    (chunks, placed)
}

/// Reads the stored events at all positions that these events could take.
async fn read_positions(influx: &Influx, events: &[Event], indexes: &[usize]) -> Result<Positions, StoreError> {
    let mut times: Vec<i64> = indexes.iter().map(|index| natural(&events[*index]).time).collect();
    times.sort_unstable();
    let query = |from: i64, until: i64| {
        format!(
            "SELECT event_id, timestamp_ns, received_ns FROM {} WHERE time >= {from} AND time <= {until} GROUP BY source_device, event_type, slot",
            EVENTS.name
        )
    };
    let mut positions = Positions::new();
    for cluster in times.chunk_by(|one, next| next.saturating_sub(*one) <= CLUSTER_NS) {
        influx
            .select(cluster[0], cluster[cluster.len() - 1], query, |series| {
                let (device, event_type) =
                    (line::decode(series.tag("source_device")), line::decode(series.tag("event_type")));
                let slot: u32 = series.tag("slot").parse().unwrap_or(0);
                for row in &series.values {
                    let Some(occupant) = response::occupant(row) else { continue };
                    let position = hash(&(&*device, &*event_type, occupant.time, slot));
                    let identity = identity(occupant.id, occupant.happened);
                    positions.insert(position, StoredEvent { identity, received: occupant.received });
                }
            })
            .await?;
    }
    Ok(positions)
}

fn identity_of(event: &Event) -> u128 {
    identity(event.id, event.timestamp.as_ns())
}
