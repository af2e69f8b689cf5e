//! Replays dead letters: each is published, acknowledged and then removed, in this order.

use anyhow::{Context, Result, bail};

use super::{Selection, for_each};
use crate::dead_letter_service::{DeadLetterService, LetterOutcome};
use crate::output::{data, message, safe};

/// Failures that are printed; further ones are only counted.
const MAX_PRINTED: u64 = 20;

#[derive(Default)]
struct ReplayCounts {
    n_replayed: u64,
    n_duplicate: u64,
    n_skipped: u64,
    n_failed: u64,
}

pub(super) async fn run(dlq: &DeadLetterService, selection: &Selection) -> Result<()> {
    let action = dlq.replay().await?;
    let mut counts = ReplayCounts::default();
    let ended = for_each(dlq, selection, &action, |outcome| counts.note(outcome)).await;
    let printed = data(counts.summary().as_bytes());
    ended.context("replaying was interrupted; run the same command again to continue: what is not acknowledged is still a dead letter")?;
    if counts.n_failed > 0 {
        bail!("{} of the dead letters could not be replayed and remain", counts.n_failed);
    }
    if counts.n_replayed > 0 {
        message("messages that still fail become new dead letters: list them with `spindle dlq ls`");
    }
    printed
}

impl ReplayCounts {
    fn note(&mut self, outcome: LetterOutcome) {
        match outcome {
            LetterOutcome::Replayed => self.n_replayed += 1,
            LetterOutcome::ReplayedBefore => {
                self.n_replayed += 1;
                self.n_duplicate += 1;
            }
            LetterOutcome::Gone | LetterOutcome::Dropped => self.n_skipped += 1,
            LetterOutcome::Refused(why) => {
                self.n_failed += 1;
                if self.n_failed <= MAX_PRINTED {
                    message(&safe(&why));
                }
            }
        }
    }

    fn summary(&self) -> String {
        let Self { n_replayed, n_duplicate, n_skipped, n_failed } = self;
        let again = if *n_duplicate > 0 {
            format!(" ({n_duplicate} by an earlier replay that was interrupted)")
        } else {
            String::new()
        };
        format!("replayed {n_replayed}{again}, skipped {n_skipped}, failed {n_failed}\n")
    }
}
