//! Writes events, and an entry in the index of arrivals for each.
//!
//! The entry comes first: whoever sees the event finds it by its arrival too, however long the store takes in between. An
//! entry without its event remains if the writer ends there, and when the retention takes the event; readers pass it
//! over.

use std::collections::HashSet;

use spindle_core::schema::{EVENT_ARRIVALS, EVENTS};
use spindle_core::{Event, Timestamp};
use tracing::warn;

use super::claims::{Claim, LookUp, Settled, settle};
use super::event_position::{arrival, natural};
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
    let unproven = write_arrivals(influx, arrivals.collect(), Density::Live).await?;
    let items: HashSet<RefusedItem> = unproven.iter().map(|refused| refused.item).collect();
    claims.retain(|claim| !items.contains(&RefusedItem::Event(claim.index)));
    written.refused.extend(unproven);
    let write_line = |claim: &Claim<'_>, place, received, lines: &mut String| {
        line::event(claim.event, received, place, lines);
    };
    let (settled, refused) = settle(influx, EVENTS.name, Density::Live, claims, Some(stored), write_line).await?;
    written.n_events += settled.iter().filter(|one| one.is_new).count();
    written.refused.extend(refused);
    Ok(())
}

/// Stores the entries of arrivals. Returns those not proven to be at fault: they may go in later, their events too. An
/// entry that the server itself refuses, at a limit of series for example, keeps no event out.
pub(super) async fn write_arrivals(
    influx: &Influx,
    claims: Vec<Claim<'_>>,
    density: Density,
) -> Result<Vec<Refused>, StoreError> {
    let write_line = |claim: &Claim<'_>, place, _, lines: &mut String| {
        line::arrival(claim.event, claim.received, claim.place_ns, place, lines);
    };
    let (_, mut refused) = settle(influx, EVENT_ARRIVALS.name, density, claims, None, write_line).await?;
    if let Some(Refused { message, .. }) = refused.first()
        && let Some(n_suppressed) = influx.may_log_index()
    {
        warn!(message, n_refused = refused.len(), n_suppressed, "InfluxDB refused entries of the index of arrivals");
    }
    refused.retain(|refused| refused.reason == Refusal::Unproven);
    Ok(refused)
}
