//! Applies an action to the selected dead letters, several at once, to each one once.

use std::collections::HashSet;

use anyhow::Result;
use futures::StreamExt;
use spindle_bus::DeadLetterHead;

use super::Selection;
use crate::commands::dlq::Dlq;

/// Dead letters handled concurrently: each waits for syncs of the server's disk, and may hold several MiB.
const MAX_CONCURRENT: usize = 32;

/// Runs `act` for every dead letter and passes its results to `note`; ends at the first error.
pub(super) async fn run<T>(
    dlq: &Dlq,
    selection: &Selection,
    act: impl AsyncFn(DeadLetterHead) -> Result<T>,
    mut note: impl FnMut(T),
) -> Result<()> {
    let mut parts_seen = HashSet::new();
    let mut is_first = |letter: &DeadLetterHead| match letter.parts_key() {
        Some(key) => parts_seen.insert(key.to_owned()),
        None => true,
    };
    match selection {
        Selection::Named(letters) => {
            let letters = letters.iter().filter(|letter| is_first(letter)).cloned().collect();
            concurrently(letters, &act, &mut note).await
        }
        Selection::Filtered(filter, last) => {
            let mut letters = dlq.retrying(async || dlq.bus.dead_letters(filter.clone()).await).await?;
            while let Some(mut page) = dlq.retrying(async || letters.next().await).await? {
                page.retain(|letter| letter.sequence <= *last && is_first(letter));
                concurrently(page, &act, &mut note).await?;
            }
            Ok(())
        }
    }
}

async fn concurrently<T>(
    letters: Vec<DeadLetterHead>,
    act: &impl AsyncFn(DeadLetterHead) -> Result<T>,
    note: &mut impl FnMut(T),
) -> Result<()> {
    let mut running = futures::stream::iter(letters).map(|letter| act(letter)).buffer_unordered(MAX_CONCURRENT);
    while let Some(done) = running.next().await {
        note(done?);
    }
    Ok(())
}
