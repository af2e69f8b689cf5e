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
//! (`placements`), waits at its start until those of an earlier process can be read, and reads events again only after
//! twice the lag: once for its own write to become visible to others, once for theirs. The remaining case is then a writer
//! that takes longer than the lag between its look-up and its write. Entries of arrivals are not read again there.
//!
//! A readable event is not necessarily on disk: a write that InfluxDB 1 rejects with 500, because its disk is full,
//! can be read until the server restarts. Only a successful write of the event itself counts.

use std::collections::{HashMap, HashSet};

use spindle_core::schema::EVENTS;
use spindle_core::{Event, IdentityDigest, Timestamp};
use tokio::time::{sleep, sleep_until};

use super::chunk::Chunk;
use super::line::EventPosition;
use super::placements::{PlacedEvent, RecentPlacements};
use super::places::{Density, Place, Places};
use super::response::{StoredEvent, stored_event};
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
    /// Whether the look-up showed it.
    is_shown: bool,
}

/// Stored events by index of place and slot.
type Occupants = HashMap<(usize, u32), StoredEvent>;

/// Places of some claims, and the points stored there.
#[derive(Clone, Debug)]
pub(super) struct LookUp<'a> {
    measurement: &'static str,
    places: Places<'a>,
    occupants: Occupants,
}

impl<'a> LookUp<'a> {
    pub(super) async fn new(
        influx: &Influx,
        measurement: &'static str,
        density: Density,
        claims: &[Claim<'a>],
    ) -> Result<Self, StoreError> {
        wait_for_look_up(influx).await;
        let places = Places::new(claims.iter().map(place_of), density);
        let occupants = read(influx, measurement, &places).await?;
        Ok(Self { measurement, places, occupants })
    }

    /// Chooses the places of claims among the points found and those written lately; adds the new points.
    pub(super) fn assign(&mut self, claims: &[Claim<'a>], recent: &RecentPlacements) -> Vec<Settled<'a>> {
        claims.iter().map(|claim| self.assign_one(*claim, recent)).collect()
    }

    fn assign_one(&mut self, claim: Claim<'a>, recent: &RecentPlacements) -> Settled<'a> {
        let index = self.places.find(&place_of(&claim)).unwrap_or_default();
        let mut place = claim.natural;
        let Event { id, timestamp, .. } = claim.event;
        let (known, is_shown) = loop {
            let shown = self.occupants.get(&(index, place.slot));
            if let Some(occupant) = shown {
                if occupant.is(claim.event) {
                    break (Some(occupant.received), true);
                }
            } else {
                match recent.get(&key(self.measurement, &claim, place)) {
                    None => break (None, false),
                    Some(stored) if stored.is(claim.event) => break (Some(stored.received), false),
                    Some(_) => {}
                }
            }
            place.slot += 1;
        };
        let received = known.unwrap_or(claim.received);
        let occupant = StoredEvent { id: id.clone(), happened: *timestamp, received };
        self.occupants.entry((index, place.slot)).or_insert(occupant);
        Settled { claim, place, received, is_new: known.is_none(), is_shown }
    }
}

/// Places being written, until it is dropped.
struct Writing<'a> {
    influx: &'a Influx,
    places: Vec<IdentityDigest>,
    is_stored: bool,
}

impl<'a> Writing<'a> {
    /// Chooses the places of claims, and remembers them where reads lag writes.
    fn begin<'c>(influx: &'a Influx, found: &mut LookUp<'c>, claims: &[Claim<'c>]) -> (Self, Vec<Settled<'c>>) {
        let mut recent = influx.placements();
        let placed = found.assign(claims, &recent);
        let mut places = Vec::new();
        if !influx.read_lag().is_zero() {
            for Settled { claim, place, received, .. } in placed.iter().filter(|one| !one.is_shown) {
                let key = key(found.measurement, claim, *place);
                recent.insert(key, PlacedEvent::new(claim.event, *received));
                places.push(key);
            }
        }
        (Self { influx, places, is_stored: false }, placed)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.places.is_empty() {
            self.influx.placements().release(&self.places, self.is_stored, self.influx.read_lag());
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

fn key(measurement: &str, claim: &Claim<'_>, place: EventPosition) -> IdentityDigest {
    let Event { source_device, event_type, .. } = claim.event;
    IdentityDigest::of(&[
        measurement.as_bytes(),
        source_device.as_bytes(),
        event_type.as_bytes(),
        &place.time.to_be_bytes(),
        &place.slot.to_be_bytes(),
    ])
}

/// Stores the points of one measurement. `first` is a look-up of these claims, if there is one already. `write_line`
/// appends the line of a claim at its place with its first arrival.
pub(super) async fn settle<'a>(
    influx: &Influx,
    measurement: &'static str,
    density: Density,
    mut claims: Vec<Claim<'a>>,
    mut first: Option<LookUp<'a>>,
    write_line: impl Fn(&Claim<'a>, EventPosition, Timestamp, &mut String),
) -> Result<(Vec<Settled<'a>>, Vec<Refused>), StoreError> {
    let is_verified = measurement == EVENTS.name || influx.read_lag().is_zero();
    let (mut settled, mut all_refused) = (Vec::with_capacity(claims.len()), Vec::new());
    for _ in 0..MAX_ROUNDS {
        if claims.is_empty() {
            return Ok((settled, all_refused));
        }
        let mut found = match first.take() {
            Some(found) => found,
            None => LookUp::new(influx, measurement, density, &claims).await?,
        };
        let (mut writing, mut placed) = Writing::begin(influx, &mut found, &claims);
        let mut chunks = vec![Chunk::default()];
        for Settled { claim, place, received, .. } in &placed {
            let chunk = Chunk::current(&mut chunks, SMALL_CHUNK_LINES);
            write_line(claim, *place, *received, &mut chunk.lines);
            chunk.assign(RefusedItem::Event(claim.index), (measurement, claim.event.identity()));
        }
        let refused = send_all(influx, chunks, &influx.event_limit).await?;
        writing.is_stored = true;
        drop(writing);
        let items: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
        all_refused.extend(refused);
        placed.retain(|one| !items.contains(&RefusedItem::Event(one.claim.index)));
        let overwritten =
            if is_verified { overwritten(influx, measurement, density, &placed).await? } else { HashSet::new() };
        let (again, kept): (Vec<_>, Vec<_>) =
            placed.into_iter().partition(|one| overwritten.contains(&one.claim.index));
        settled.extend(kept);
        claims = again.into_iter().map(|one| one.claim).collect();
    }
    if claims.is_empty() {
        return Ok((settled, all_refused));
    }
    let problem = format!("other writers kept overwriting {} events", claims.len());
    Err(influx.client.unavailable(problem, None))
}

/// Returns the indexes of the claims that another writer has overwritten: it took the same place between our read and
/// our write.
async fn overwritten(
    influx: &Influx,
    measurement: &str,
    density: Density,
    placed: &[Settled<'_>],
) -> Result<HashSet<usize>, StoreError> {
    let unseen = || placed.iter().filter(|one| !one.is_shown);
    if unseen().next().is_none() {
        return Ok(HashSet::new());
    }
    sleep(influx.read_lag() * 2).await;
    let places = Places::new(unseen().map(|one| place_of(&one.claim)), density);
    let seen = read(influx, measurement, &places).await?;
    let is_overwritten = |one: &&Settled<'_>| {
        // An empty place means that the server's retention hides the point.
        let occupant = places.find(&place_of(&one.claim)).and_then(|index| seen.get(&(index, one.place.slot)));
        occupant.is_some_and(|occupant| !occupant.is(one.claim.event))
    };
    Ok(unseen().filter(is_overwritten).map(|one| one.claim.index).collect())
}

async fn read(influx: &Influx, measurement: &str, places: &Places<'_>) -> Result<Occupants, StoreError> {
    let mut occupants = Occupants::new();
    places
        .read(influx, measurement, FIELDS, |index, slot, _, row| {
            if let Some(occupant) = stored_event(row) {
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
