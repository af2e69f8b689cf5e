//! Going through the letters that are meant, several at once, each letter once.

use std::collections::HashSet;

use anyhow::Result;
use futures::StreamExt;
use spindle_bus::DeadLetterHead;

use super::What;
use crate::commands::dlq::Desk;

/// DeadLetterPages at work at once: each waits for syncs of the server's disk, and may hold some MiB.
const AT_ONCE: usize = 32;

/// Does `act` with every letter and hands what came of it to `note`; ends at the first error.
pub(super) async fn for_each<T>(
    desk: &Desk,
    what: &What,
    act: impl AsyncFn(DeadLetterHead) -> Result<T>,
    mut note: impl FnMut(T),
) -> Result<()> {
    let mut parts_seen = HashSet::new();
    let mut is_first = |letter: &DeadLetterHead| match letter.parts_key() {
        Some(key) => parts_seen.insert(key.to_owned()),
        None => true,
    };
    match what {
        What::Named(letters) => {
            let letters = letters.iter().filter(|letter| is_first(letter)).cloned().collect();
            together(letters, &act, &mut note).await
        }
        What::Filtered(filter, last) => {
            let mut letters = desk.patiently(async || desk.bus.dead_letters(filter.clone()).await).await?;
            while let Some(mut page) = desk.patiently(async || letters.next().await).await? {
                page.retain(|letter| letter.sequence <= *last && is_first(letter));
                together(page, &act, &mut note).await?;
            }
            Ok(())
        }
    }
}

async fn together<T>(
    letters: Vec<DeadLetterHead>,
    act: &impl AsyncFn(DeadLetterHead) -> Result<T>,
    note: &mut impl FnMut(T),
) -> Result<()> {
    let mut at_work = futures::stream::iter(letters).map(|letter| act(letter)).buffer_unordered(AT_ONCE);
    while let Some(done) = at_work.next().await {
        note(done?);
    }
    Ok(())
}
