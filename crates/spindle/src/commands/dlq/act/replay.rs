//! Replays dead letters: each is published, acknowledged and then removed, in this order.

use anyhow::{Context, Result, bail};
use spindle_bus::{BusError, BusErrorKind, DeadLetterHead, Replayed, Replayer};

use super::{Selection, for_each};
use crate::commands::dlq::Dlq;
use crate::logging::chain;
use crate::output::{data, message, safe};

/// Failures that are printed; further ones are only counted.
const MAX_PRINTED: u64 = 20;

/// Result of a replay.
enum ReplayOutcome {
    Replayed,
    /// Published by an earlier replay that was interrupted before it removed the dead letter.
    Duplicate,
    /// Removed by another client.
    Gone,
    /// Still in the stream, for this reason.
    Failed(String),
}

#[derive(Default)]
struct ReplayCounts {
    n_replayed: u64,
    n_duplicate: u64,
    n_skipped: u64,
    n_failed: u64,
}

pub(super) async fn run(dlq: &Dlq, selection: &Selection) -> Result<()> {
    let replayer = dlq.retrying(async || dlq.bus.replayer().await).await?;
    let mut counts = ReplayCounts::default();
    let ended = for_each::run(
        dlq,
        selection,
        async |letter| replay(dlq, &replayer, letter).await,
        |outcome| {
            counts.note(outcome);
        },
    )
    .await;
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

async fn replay(dlq: &Dlq, replayer: &Replayer, letter: DeadLetterHead) -> Result<ReplayOutcome> {
    let found = dlq.retrying(async || dlq.bus.dead_letter(letter.sequence).await).await;
    let whole = match found {
        Ok(Some(whole)) => whole,
        Ok(None) => return Ok(ReplayOutcome::Gone),
        Err(error) => return failed(error),
    };
    let outcome = match dlq.retrying(async || replayer.replay(&whole).await).await {
        Ok(Replayed::Stored) => ReplayOutcome::Replayed,
        Ok(Replayed::Duplicate) => ReplayOutcome::Duplicate,
        Err(error) => return failed(error),
    };
    dlq.retrying(async || dlq.bus.remove_dead_letters(&whole.sequences).await).await?;
    Ok(outcome)
}

/// An error that concerns only this dead letter does not stop the others.
fn failed(error: BusError) -> Result<ReplayOutcome> {
    match error.kind() {
        BusErrorKind::Permanent => Ok(ReplayOutcome::Failed(chain(error))),
        BusErrorKind::Transient | BusErrorKind::StreamFull | BusErrorKind::Configuration => Err(error.into()),
    }
}

impl ReplayCounts {
    fn note(&mut self, outcome: ReplayOutcome) {
        match outcome {
            ReplayOutcome::Replayed => self.n_replayed += 1,
            ReplayOutcome::Duplicate => {
                self.n_replayed += 1;
                self.n_duplicate += 1;
            }
            ReplayOutcome::Gone => self.n_skipped += 1,
            ReplayOutcome::Failed(why) => {
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
