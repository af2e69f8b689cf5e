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
//! Where reads lag writes (openGemini), neither look-up shows the last writes. The session remembers its own
//! (`placements`), waits at its start until those of an earlier process can be read, and looks at events again only after
//! twice the lag: once for its own write to become visible to others, once for theirs. The remaining case is then a writer
//! that takes longer than the lag between its look-up and its write. Entries of arrivals are not looked at again there.
//!
//! A readable event is not necessarily on disk: a write that InfluxDB 1 rejects with 500, because its disk is full,
//! can be read until the server restarts. Only a successful write of the event itself counts.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use spindle_core::schema::EVENTS;
use spindle_core::{Event, IdentityDigest, Timestamp};
use tokio::time::{sleep, sleep_until};

use super::chunk::Chunk;
use super::line::EventPosition;
use super::placements::{RecentPlacements, StoredEvent};
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
    /// Time of the event's own point, for the entry of its arrival.
    pub(super) place_ns: i64,
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
    /// Whether a query showed it.
    is_shown: bool,
}

/// Occupants by index of place and slot.
type Occupants = HashMap<(usize, u32), Occupant>;

/// Places of some claims, and the points stored there.
#[derive(Clone, Debug)]
pub(super) struct LookUp<'a> {
    places: Places<'a>,
    occupants: Occupants,
}

impl<'a> LookUp<'a> {
    pub(super) async fn new(
        influx: &Influx,
        measurement: &str,
        density: Density,
        claims: &[Claim<'a>],
    ) -> Result<Self, StoreError> {
        wait_for_look_up(influx).await;
        let places = Places::new(claims.iter().map(place_of), density);
        let occupants = read(influx, measurement, &places).await?;
        Ok(Self { places, occupants })
    }

    /// Chooses the places of claims; adds the new points. `recent` has those of this session that no query shows yet.
    pub(super) fn assign(
        &mut self,
        measurement: &str,
        claims: &[Claim<'a>],
        recent: &RecentPlacements,
    ) -> Vec<Settled<'a>> {
        claims.iter().map(|claim| self.assign_one(measurement, *claim, recent)).collect()
    }

    fn assign_one(&mut self, measurement: &str, claim: Claim<'a>, recent: &RecentPlacements) -> Settled<'a> {
        let index = self.places.find(&place_of(&claim)).unwrap_or_default();
        let mut place = claim.natural;
        loop {
            let shown = self.occupants.get(&(index, place.slot));
            let stored = shown.map(|occupant| (is_of(occupant, claim.event), occupant.received)).or_else(|| {
                let stored = recent.get(&key(measurement, &claim, place.slot))?;
                Some((stored.is(claim.event), stored.received))
            });
            match stored {
                Some((true, received)) => {
                    return Settled { claim, place, received, is_new: false, is_shown: shown.is_some() };
                }
                Some((false, _)) => place.slot += 1,
                None => break,
            }
        }
        let (time, received) = (place.time, claim.received);
        let Event { id, timestamp, .. } = claim.event;
        let occupant = Occupant { time, id: id.clone(), happened: timestamp.as_ns(), received };
        self.occupants.insert((index, place.slot), occupant);
        Settled { claim, place, received, is_new: true, is_shown: false }
    }
}

/// Stores the points of one measurement. `first` is a look-up of these claims, if there is one already. `write_line`
/// appends the line of a claim at its place with its first arrival.
pub(super) async fn settle<'a>(
    influx: &Influx,
    measurement: &str,
    density: Density,
    mut claims: Vec<Claim<'a>>,
    mut first: Option<LookUp<'a>>,
    write_line: impl Fn(&Claim<'a>, EventPosition, Timestamp, &mut String),
) -> Result<(Vec<Settled<'a>>, Vec<Refused>), StoreError> {
    let (mut settled, mut all_refused) = (Vec::with_capacity(claims.len()), Vec::new());
    for _ in 0..MAX_ROUNDS {
        if claims.is_empty() {
            return Ok((settled, all_refused));
        }
        let mut found = match first.take() {
            Some(found) => found,
            None => LookUp::new(influx, measurement, density, &claims).await?,
        };
        let mut placed = found.assign(measurement, &claims, &influx.placements());
        let mut writing = Writing::begin(influx, measurement, &placed);
        let mut chunks = vec![Chunk::default()];
        for Settled { claim, place, received, .. } in &placed {
            let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
            write_line(claim, *place, *received, &mut chunk.lines);
            chunk.assign(RefusedItem::Event(claim.index), (measurement, claim.event.identity()));
        }
        let refused = send_all(influx, chunks, &influx.event_limit).await?;
        writing.is_stored = true;
        let items: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
        all_refused.extend(refused);
        placed.retain(|one| !items.contains(&RefusedItem::Event(one.claim.index)));
        let is_looked_at = |one: &Settled<'_>| !one.is_shown && (writing.lag.is_zero() || measurement == EVENTS.name);
        if !writing.lag.is_zero() && placed.iter().any(is_looked_at) {
            sleep(writing.lag * 2).await;
        }
        // A concurrent writer may have taken the same place between our read and our write, and overwritten us.
        let new = placed.iter().filter(|one| is_looked_at(one)).map(|one| place_of(&one.claim));
        let new = Places::new(new, density);
        let seen = read(influx, measurement, &new).await?;
        let (overwritten, kept): (Vec<_>, Vec<_>) = placed.into_iter().partition(|one| {
            // An empty place means that the server's retention hides the point.
            let occupant = new.find(&place_of(&one.claim)).and_then(|index| seen.get(&(index, one.place.slot)));
            is_looked_at(one) && occupant.is_some_and(|occupant| !is_of(occupant, one.claim.event))
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

/// Places being written, until it is dropped; remembered where reads lag writes.
struct Writing<'a> {
    influx: &'a Influx,
    lag: Duration,
    places: Vec<IdentityDigest>,
    is_stored: bool,
}

impl<'a> Writing<'a> {
    fn begin(influx: &'a Influx, measurement: &str, placed: &[Settled<'_>]) -> Self {
        let (lag, mut places) = (influx.read_lag(), Vec::new());
        if !lag.is_zero() {
            let mut recent = influx.placements();
            for one in placed.iter().filter(|one| !one.is_shown) {
                let Event { id, timestamp, .. } = one.claim.event;
                let place = key(measurement, &one.claim, one.place.slot);
                recent.insert(place, StoredEvent { id: id.clone(), happened: *timestamp, received: one.received });
                places.push(place);
            }
        }
        Self { influx, lag, places, is_stored: false }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.places.is_empty() {
            self.influx.placements().release(&self.places, self.is_stored, self.lag);
        }
    }
}

/// Waits until a look-up shows what an earlier process wrote, and there is room to remember further places.
async fn wait_for_look_up(influx: &Influx) {
    let lag = influx.read_lag();
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

/// Returns the key of a place in one measurement.
fn key(measurement: &str, claim: &Claim<'_>, slot: u32) -> IdentityDigest {
    let Event { source_device, event_type, .. } = claim.event;
    let place = (claim.natural.time.to_be_bytes(), slot.to_be_bytes());
    IdentityDigest::of(&[
        measurement.as_bytes(),
        source_device.as_str().as_bytes(),
        event_type.as_str().as_bytes(),
        &place.0,
        &place.1,
    ])
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
