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
//! Where reads lag writes (openGemini), neither look-up shows the last writes. The session remembers its own
//! (`placements`), waits at its start until those of an earlier process can be read, and reads again only after twice the
//! lag: once for its own write to become visible to others, once for theirs. The remaining case is then a writer that
//! takes longer than the lag between its look-up and its write.
//!
//! A readable event is not necessarily on disk: a write that InfluxDB 1 rejects with 500, because its disk is full,
//! can be read until the server restarts. Only a successful write of the event itself counts.

use std::collections::HashSet;
use std::time::Duration;

use spindle_core::schema::EVENTS;
use spindle_core::{Event, IdentityDigest, Timestamp};
use tokio::time::{sleep, sleep_until};

use super::chunk::Chunk;
use super::event_position::{key, natural};
use super::line::EventPosition;
use super::placements::{Positions, RecentPlacements, StoredEvent};
use super::response::Occupant;
use super::send::{OUT_OF_TIME, SMALL_CHUNK_LINES, send_all};
use super::session::{Influx, MAX_TIME, MIN_TIME};
use super::{line, response};
use crate::{Refusal, Refused, RefusedItem, StoreError, Written};

/// Largest gap between two events whose positions are read in one query.
const CLUSTER_NS: i64 = 60_000_000_000;
const MAX_ROUNDS: usize = 6;

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
    let lag = influx.read_lag();
    for _ in 0..MAX_ROUNDS {
        if pending.is_empty() {
            return Ok(());
        }
        wait_for_look_up(influx, lag).await;
        let mut positions = read_positions(influx, events, &pending).await?;
        let (chunks, mut placed) = {
            let mut recent = influx.placements();
            place(events, pending, received, &mut positions, (!lag.is_zero()).then_some(&mut recent))
        };
        let mut writing =
            Writing { influx, lag, positions: placed.iter().map(|placed| placed.key).collect(), is_stored: false };
        let refused = send_all(influx, chunks, &influx.event_limit).await?;
        writing.is_stored = true;
        let refused_items: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
        written.refused.extend(refused);
        placed.retain(|placed| !refused_items.contains(&RefusedItem::Event(placed.index)));
        if placed.is_empty() {
            return Ok(());
        }
        if !lag.is_zero() {
            sleep(lag * 2).await;
        }
        // A concurrent writer may have taken the same position between our read and our write, and overwritten us.
        let indexes: Vec<usize> = placed.iter().map(|placed| placed.index).collect();
        let seen = read_positions(influx, events, &indexes).await?;
        // An empty position means that the server's retention hides the event.
        let is_overwritten =
            |placed: &Placed| seen.get(&placed.key).is_some_and(|stored| !stored.is(&events[placed.index]));
        written.n_events += placed.iter().filter(|placed| placed.is_new && !is_overwritten(placed)).count();
        placed.retain(is_overwritten);
        pending = placed.into_iter().map(|placed| placed.index).collect();
    }
    let problem = format!("other writers kept overwriting {} events", pending.len());
    Err(influx.client.unavailable(problem, None))
}

/// Event at a position where no query showed it.
struct Placed {
    index: usize,
    /// Key of the position.
    key: IdentityDigest,
    /// This session had not placed it before.
    is_new: bool,
}

/// Positions being written, until it is dropped.
struct Writing<'a> {
    influx: &'a Influx,
    lag: Duration,
    positions: Vec<IdentityDigest>,
    is_stored: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.lag.is_zero() {
            self.influx.placements().release(&self.positions, self.is_stored, self.lag);
        }
    }
}

/// Waits until a look-up shows what an earlier process wrote, and there is room to remember further positions.
async fn wait_for_look_up(influx: &Influx, lag: Duration) {
    if lag.is_zero() {
        return;
    }
    let trusted_from = influx.placements().trusted_from(lag);
    sleep_until(trusted_from).await;
    loop {
        if influx.placements().has_room() {
            return;
        }
        sleep(lag).await;
    }
}

/// Chooses positions. Returns the lines, and the events that no query showed.
fn place(
    events: &[Event],
    pending: Vec<usize>,
    received: Timestamp,
    positions: &mut Positions,
    mut recent: Option<&mut RecentPlacements>,
) -> (Vec<Chunk>, Vec<Placed>) {
    let mut chunks = vec![Chunk::default()];
    let mut placed = Vec::new();
    for index in pending {
        let event = &events[index];
        let mut position = natural(event);
        // Its first arrival, if it is stored already, and whether a query showed it.
        let (known, is_shown) = loop {
            let key = key_of(event, position);
            let shown = positions.get(&key);
            match shown.or_else(|| recent.as_ref()?.get(&key)) {
                None => break (None, false),
                Some(stored) if stored.is(event) => break (Some(stored.received), shown.is_some()),
                Some(_) => position.slot += 1,
            }
        };
        let first_received = known.unwrap_or(received);
        let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
        line::event(event, first_received, position, &mut chunk.lines);
        chunk.assign(RefusedItem::Event(index), event.identity());
        if !is_shown {
            let key = key_of(event, position);
            let stored = StoredEvent { id: event.id.clone(), happened: event.timestamp, received: first_received };
            if let Some(recent) = &mut recent {
                recent.insert(key, stored.clone());
            }
            positions.insert(key, stored);
            placed.push(Placed { index, key, is_new: known.is_none() });
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
                    let Some(Occupant { time, id, happened, received }) = response::occupant(row) else { continue };
                    let stored = StoredEvent { id, happened: Timestamp::from_ns(happened), received };
                    positions.insert(key(&device, &event_type, EventPosition { time, slot }), stored);
                }
            })
            .await?;
    }
    Ok(positions)
}

fn key_of(event: &Event, position: EventPosition) -> IdentityDigest {
    key(&event.source_device, &event.event_type, position)
}
