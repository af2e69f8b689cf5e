//! Stores points so that none overwrites another and none is stored twice. The rules are in this file alone; events
//! and the entries of their arrivals both follow them.
//!
//! The natural places of the points are read first (see `event_position`): a point that is there already is written
//! once more unchanged; another one at its place moves it to the next slot. After the write the places are read again,
//! and a point that a concurrent writer has overwritten is written once more.
//!
//! InfluxDB has no conditional write, so one case remains: of two writers, one reads before the other's write and
//! writes after the other's second read, and their events share device, type, time and place (one in a million of
//! those of one nanosecond). The earlier event is then lost.
//!
//! A readable event is not necessarily on disk: a write that InfluxDB 1 rejects with 500, because its disk is full,
//! can be read until the server restarts. Only a successful write of the event itself counts.

use std::collections::{HashMap, HashSet};

use spindle_core::{Event, Timestamp};

use super::chunk::Chunk;
use super::line::EventPosition;
use super::places::{Density, Place, Places};
use super::response::{Occupant, occupant};
use super::send::{SMALL_CHUNK_LINES, send_all};
use super::session::Influx;
use crate::{Refused, RefusedItem, StoreError};

const MAX_ROUNDS: usize = 6;
const FIELDS: &str = "event_id, timestamp_ns, received_ns";

/// Point that belongs to an event and needs a place of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    /// Index of the event in its batch.
    pub(super) index: usize,
    pub(super) event: &'a Event,
    /// Place in slot 0.
    pub(super) natural: EventPosition,
    /// Arrival of the event, unless its point is stored already with an earlier one.
    pub(super) received: Timestamp,
    /// Place of the event's own point, for the entry of an arrival.
    pub(super) event_place: EventPosition,
}

/// Claim whose point is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled<'a> {
    pub(super) claim: Claim<'a>,
    pub(super) place: EventPosition,
    /// First arrival.
    pub(super) received: Timestamp,
    /// Whether it was not there before.
    pub(super) is_new: bool,
}

/// Occupants by index of place and slot.
type Occupants = HashMap<(usize, u32), Occupant>;

/// Stores the points of one measurement. `write_line` appends the line of a claim at its place with its first arrival.
pub(super) async fn settle<'a>(
    influx: &Influx,
    measurement: &str,
    density: Density,
    mut claims: Vec<Claim<'a>>,
    write_line: impl Fn(&Claim<'a>, EventPosition, Timestamp, &mut String),
) -> Result<(Vec<Settled<'a>>, Vec<Refused>), StoreError> {
    let (mut settled, mut all_refused) = (Vec::with_capacity(claims.len()), Vec::new());
    for _ in 0..MAX_ROUNDS {
        if claims.is_empty() {
            return Ok((settled, all_refused));
        }
        let places = Places::new(claims.iter().map(place_of), density);
        let mut occupants = read(influx, measurement, &places).await?;
        let mut placed = assign(claims, &places, &mut occupants);
        let mut chunks = vec![Chunk::default()];
        for Settled { claim, place, received, .. } in &placed {
            let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
            write_line(claim, *place, *received, &mut chunk.lines);
            chunk.assign(RefusedItem::Event(claim.index), (measurement, claim.event.identity()));
        }
        let refused = send_all(influx, chunks, &influx.event_limit).await?;
        let items: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
        all_refused.extend(refused);
        placed.retain(|one| !items.contains(&RefusedItem::Event(one.claim.index)));
        // A concurrent writer may have taken the same place between our read and our write, and overwritten us.
        let new = Places::new(placed.iter().filter(|one| one.is_new).map(|one| place_of(&one.claim)), density);
        let seen = read(influx, measurement, &new).await?;
        let (overwritten, kept): (Vec<_>, Vec<_>) = placed.into_iter().partition(|one| {
            // An empty place means that the server's retention hides the point.
            let occupant = new.find(&place_of(&one.claim)).and_then(|index| seen.get(&(index, one.place.slot)));
            one.is_new && occupant.is_some_and(|occupant| !is_of(occupant, one.claim.event))
        });
        settled.extend(kept);
        claims = overwritten.into_iter().map(|one| one.claim).collect();
    }
    if claims.is_empty() {
        return Ok((settled, all_refused));
    }
    let problem = format!("other writers kept overwriting {} events", claims.len());
    Err(influx.client.unavailable(problem, None))
}

/// Chooses places; adds the new points to `occupants`.
fn assign<'a>(claims: Vec<Claim<'a>>, places: &Places<'_>, occupants: &mut Occupants) -> Vec<Settled<'a>> {
    let assign_one = |claim: Claim<'a>| {
        let index = places.find(&place_of(&claim)).unwrap_or_default();
        let mut place = claim.natural;
        loop {
            match occupants.get(&(index, place.slot)) {
                None => break,
                Some(occupant) if is_of(occupant, claim.event) => {
                    return Settled { claim, place, received: occupant.received, is_new: false };
                }
                Some(_) => place.slot += 1,
            }
        }
        let Event { id, timestamp, .. } = claim.event;
        let (time, received) = (place.time, claim.received);
        occupants.insert((index, place.slot), Occupant { time, id: id.clone(), happened: timestamp.as_ns(), received });
        Settled { claim, place, received, is_new: true }
    };
    claims.into_iter().map(assign_one).collect()
}

async fn read(influx: &Influx, measurement: &str, places: &Places<'_>) -> Result<Occupants, StoreError> {
    let mut occupants = Occupants::new();
    places
        .read(influx, measurement, FIELDS, |index, slot, _, row| {
            if let Some(occupant) = occupant(row) {
                occupants.insert((index, slot), occupant);
            }
        })
        .await?;
    Ok(occupants)
}

fn place_of<'a>(claim: &Claim<'a>) -> Place<'a> {
    let Event { source_device, event_type, .. } = claim.event;
    Place { time: claim.natural.time, device: source_device, event_type }
}

/// Returns whether a point at the event's device and type belongs to the event.
fn is_of(occupant: &Occupant, event: &Event) -> bool {
    occupant.id == event.id && occupant.happened == event.timestamp.as_ns()
}
