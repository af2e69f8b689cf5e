//! Drops dead letters. If the reason alone selects them, the server removes them all in one purge.

use anyhow::{Context, Result};
use spindle_bus::DeadLetterFilter;

use super::{Selection, for_each};
use crate::commands::dlq::Totals;
use crate::dead_letter_service::{DeadLetterService, LetterAction, LetterOutcome};
use crate::output::data;

pub(super) async fn run(dlq: &DeadLetterService, selection: &Selection, totals: &Totals) -> Result<()> {
    if let Selection::Filtered(DeadLetterFilter { reason, subject: None, since: None, until: None }, last) = selection {
        let n_removed = purge(dlq, reason.as_deref(), *last).await?;
        // Messages, not dead letters; equal unless another client removed some meanwhile.
        let n_letters = if n_removed == totals.n_messages { totals.n_letters() } else { n_removed };
        let n_skipped = totals.n_messages.saturating_sub(n_removed);
        return data(format!("dropped {n_letters}, skipped {n_skipped}\n").as_bytes());
    }
    let (mut n_dropped, mut n_skipped) = (0_u64, 0_u64);
    let ended = for_each(dlq, selection, &LetterAction::Drop, |outcome| {
        *(if matches!(outcome, LetterOutcome::Dropped) { &mut n_dropped } else { &mut n_skipped }) += 1;
    })
    .await;
    let printed = data(format!("dropped {n_dropped}, skipped {n_skipped}\n").as_bytes());
    ended.context("dropping was interrupted; run the same command again to continue")?;
    printed
}

async fn purge(dlq: &DeadLetterService, reason: Option<&str>, last: u64) -> Result<u64> {
    Ok(dlq.retrying(|| dlq.bus.purge_dead_letters(reason, last)).await?)
}
