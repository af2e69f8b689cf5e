//! Dropping letters. Where nothing but the reason tells which, the server removes them all in one stroke.

use anyhow::{Context, Result};
use spindle_bus::DeadLetterFilter;

use super::{What, letters};
use crate::commands::dlq::{Desk, Totals};
use crate::output::data;

pub(super) async fn run(desk: &Desk, what: &What, totals: &Totals) -> Result<()> {
    if let What::Filtered(DeadLetterFilter { reason, subject: None, since: None, until: None }, last) = what {
        let n_removed = desk.patiently(async || desk.bus.purge_dead_letters(reason.as_deref(), *last).await).await?;
        // Messages, not letters; the same, unless somebody else removed some meanwhile.
        let n_letters = if n_removed == totals.n_messages { totals.n_letters() } else { n_removed };
        let n_skipped = totals.n_messages.saturating_sub(n_removed);
        return data(format!("dropped {n_letters}, skipped {n_skipped}\n").as_bytes());
    }
    let (mut n_dropped, mut n_skipped) = (0_u64, 0_u64);
    let remove = async |letter| {
        let sequences = desk.patiently(async || desk.bus.sequences_of(&letter).await).await?;
        Ok(desk.patiently(async || desk.bus.remove_dead_letters(&sequences).await).await? > 0)
    };
    let ended = letters::for_each(desk, what, remove, |is_removed| {
        *(if is_removed { &mut n_dropped } else { &mut n_skipped }) += 1;
    })
    .await;
    let printed = data(format!("dropped {n_dropped}, skipped {n_skipped}\n").as_bytes());
    ended.context("dropping was interrupted, and the same command goes on where it was")?;
    printed
}
