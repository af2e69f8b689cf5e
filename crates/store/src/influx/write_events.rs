//! Writes events, and an entry in the index of arrivals for each.
//!
//! The entry follows its event: a writer that ends in between has not confirmed the event, which is delivered again,
//! keeps its first arrival, and gets its entry then. An entry without its event remains when the retention takes the
//! event; readers pass it over.

use std::collections::HashSet;

use spindle_core::schema::{EVENT_ARRIVALS, EVENTS};
use spindle_core::{Event, Timestamp};

use super::claims::{Claim, settle};
use super::event_position::{arrival, natural};
use super::line;
use super::places::Density;
use super::send::OUT_OF_TIME;
use super::session::{Influx, MAX_TIME, MIN_TIME};
use crate::{Refused, RefusedItem, StoreError, Written};

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
            claims.push(Claim { index, event, natural, received, event_place: natural });
        } else {
            written.refused.push(Refused { item: RefusedItem::Event(index), message: OUT_OF_TIME.to_owned() });
        }
    }
    let (mut settled, refused) = settle(influx, EVENTS.name, Density::Live, claims, |claim, place, received, lines| {
        line::event(claim.event, received, place, lines);
    })
    .await?;
    written.refused.extend(refused);
    let arrivals = settled.iter().map(|one| Claim {
        natural: arrival(one.claim.event, one.received),
        received: one.received,
        event_place: one.place,
        ..one.claim
    });
    let refused = write_arrivals(influx, arrivals.collect(), Density::Live).await?;
    let items: HashSet<RefusedItem> = refused.iter().map(|refused| refused.item).collect();
    settled.retain(|one| !items.contains(&RefusedItem::Event(one.claim.index)));
    written.refused.extend(refused);
    written.n_events += settled.iter().filter(|one| one.is_new).count();
    Ok(())
}

/// Stores the entries of arrivals.
pub(super) async fn write_arrivals(
    influx: &Influx,
    claims: Vec<Claim<'_>>,
    density: Density,
) -> Result<Vec<Refused>, StoreError> {
    let (_, refused) = settle(influx, EVENT_ARRIVALS.name, density, claims, |claim, place, _, lines| {
        line::arrival(claim.event, claim.received, claim.event_place, place, lines);
    })
    .await?;
    Ok(refused)
}
