//! Writes events, and an entry in the index of arrivals for each.
//!
//! The entry comes first: whoever sees the event finds it by its arrival too, however long the store takes in between. An
//! entry without its event remains if the writer ends there, and when the retention takes the event; readers pass it
//! over. If the server refuses an entry, its event is stored all the same, and found by its own time only, until the
//! next start completes the index.

use std::sync::atomic::Ordering;

use spindle_core::schema::{EVENT_ARRIVALS, EVENTS};
use spindle_core::{Event, Timestamp};
use tracing::debug;

use super::claims::{Claim, LookUp, Settled, settle};
use super::event_position::{arrival, natural};
use super::index_marker::{INCOMPLETE, mark};
use super::line;
use super::places::Density;
use super::send::OUT_OF_TIME;
use super::session::{Influx, MAX_TIME, MIN_TIME};
use crate::{Refusal, Refused, RefusedItem, StoreError, Written};

/// Stores events and adds them to `written`.
pub(super) async fn write_events(
    influx: &Influx,
    events: &[Event],
    received: Timestamp,
    written: &mut Written,
) -> Result<(), StoreError> {
    let mut claims: Vec<Claim<'_>> = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        if (MIN_TIME..=MAX_TIME).contains(&event.timestamp.as_ns()) {
            let natural = natural(event);
            claims.push(Claim { index, event, natural, received, place_ns: natural.time });
        } else {
            let (item, message) = (RefusedItem::Event(index), OUT_OF_TIME.to_owned());
            written.refused.push(Refused { item, reason: Refusal::Invalid, message });
        }
    }
    if claims.is_empty() {
        return Ok(());
    }
    let stored = LookUp::new(influx, EVENTS.name, Density::Live, &claims).await?;
    let known = stored.clone().assign(&claims, &influx.placements());
    let arrivals = known.into_iter().map(|Settled { claim, received, .. }| Claim {
        natural: arrival(claim.event, received),
        received,
        ..claim
    });
    let unindexed = write_arrivals(influx, arrivals.collect(), Density::Live).await?;
    influx.has_unmarked_gap.fetch_or(!unindexed.is_empty(), Ordering::Relaxed);
    mark_gap(influx, received).await;
    let write_line = |claim: &Claim<'_>, place, received, lines: &mut String| {
        line::event(claim.event, received, place, lines);
    };
    let (settled, refused) = settle(influx, EVENTS.name, Density::Live, claims, Some(stored), write_line).await?;
    written.n_events += settled.iter().filter(|one| one.is_new).count();
    let is_stored = |entry: &&Refused| refused.iter().all(|refused| refused.item != entry.item);
    let mut missing = unindexed.iter().filter(is_stored).peekable();
    written.missing.arrivals_message = missing.peek().map(|entry| entry.message.clone());
    written.missing.n_arrivals = missing.count();
    written.refused.extend(refused);
    Ok(())
}

/// Marks the index as incomplete if it is. A marker that cannot be written keeps no event out either: the next write
/// tries again.
async fn mark_gap(influx: &Influx, now: Timestamp) {
    if !influx.has_unmarked_gap.load(Ordering::Relaxed) {
        return;
    }
    match mark(influx, INCOMPLETE, None, now).await {
        Ok(()) => influx.has_unmarked_gap.store(false, Ordering::Relaxed),
        Err(error) => debug!(%error, "gap in the index of arrivals not marked"),
    }
}

/// Stores the entries of arrivals, and returns those that were refused, at a limit of series for example. They keep no
/// event out.
pub(super) async fn write_arrivals(
    influx: &Influx,
    claims: Vec<Claim<'_>>,
    density: Density,
) -> Result<Vec<Refused>, StoreError> {
    let write_line = |claim: &Claim<'_>, place, _, lines: &mut String| {
        line::arrival(claim.event, claim.received, claim.place_ns, place, lines);
    };
    let (_, refused) = settle(influx, EVENT_ARRIVALS.name, density, claims, None, write_line).await?;
    influx.index_log.warn_of_refused("the index of arrivals of events", &refused);
    Ok(refused)
}
