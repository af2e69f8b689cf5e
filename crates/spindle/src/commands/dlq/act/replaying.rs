//! Replaying letters: published, acknowledged, removed; in this order, for each.

use anyhow::{Context, Result, bail};
use spindle_bus::{BusError, BusErrorKind, DeadLetterHead, Replayed, Replayer};

use super::{What, letters};
use crate::commands::dlq::Desk;
use crate::output::{data, safe, say};

/// Failures said in words; beyond them they are counted.
const MAX_SAID: u64 = 20;

/// What became of a letter.
enum Fate {
    Replayed,
    /// An earlier replay had published it, and was interrupted before it was removed.
    WasReplayed,
    /// Somebody else was faster.
    Gone,
    /// It is still there, and why.
    Failed(String),
}

#[derive(Default)]
struct Counts {
    n_replayed: u64,
    n_duplicate: u64,
    n_skipped: u64,
    n_failed: u64,
}

pub(super) async fn run(desk: &Desk, what: &What) -> Result<()> {
    let replayer = desk.patiently(async || desk.bus.replayer().await).await?;
    let mut counts = Counts::default();
    let ended = letters::for_each(
        desk,
        what,
        async |letter| replay(desk, &replayer, letter).await,
        |fate| {
            counts.note(fate);
        },
    )
    .await;
    let printed = data(counts.words().as_bytes());
    ended.context("replaying was interrupted, and the same command goes on where it was: what is not acknowledged is still a dead letter")?;
    if counts.n_failed > 0 {
        bail!("{} of the dead letters could not be replayed and are still there", counts.n_failed);
    }
    if counts.n_replayed > 0 {
        say("what is still bad comes back as a new letter: `spindle dlq ls` shows it");
    }
    printed
}

async fn replay(desk: &Desk, replayer: &Replayer, letter: DeadLetterHead) -> Result<Fate> {
    let found = desk.patiently(async || desk.bus.dead_letter(letter.sequence).await).await;
    let whole = match found {
        Ok(Some(whole)) => whole,
        Ok(None) => return Ok(Fate::Gone),
        Err(fault) => return failed(fault),
    };
    let fate = match desk.patiently(async || replayer.replay(&whole).await).await {
        Ok(Replayed::Stored) => Fate::Replayed,
        Ok(Replayed::Duplicate) => Fate::WasReplayed,
        Err(fault) => return failed(fault),
    };
    desk.patiently(async || desk.bus.remove_dead_letters(&whole.sequences).await).await?;
    Ok(fate)
}

/// What concerns this letter alone does not stop the others.
fn failed(fault: BusError) -> Result<Fate> {
    match fault.kind() {
        BusErrorKind::Permanent => Ok(Fate::Failed(format!("{:#}", anyhow::Error::from(fault)))),
        BusErrorKind::Transient | BusErrorKind::StreamFull | BusErrorKind::Configuration => Err(fault.into()),
    }
}

impl Counts {
    fn note(&mut self, fate: Fate) {
        match fate {
            Fate::Replayed => self.n_replayed += 1,
            Fate::WasReplayed => {
                self.n_replayed += 1;
                self.n_duplicate += 1;
            }
            Fate::Gone => self.n_skipped += 1,
            Fate::Failed(why) => {
                self.n_failed += 1;
                if self.n_failed <= MAX_SAID {
                    say(&safe(&why));
                }
            }
        }
    }

    fn words(&self) -> String {
        let Self { n_replayed, n_duplicate, n_skipped, n_failed } = self;
        let again = if *n_duplicate > 0 {
            format!(" ({n_duplicate} by an earlier replay that was interrupted)")
        } else {
            String::new()
        };
        format!("replayed {n_replayed}{again}, skipped {n_skipped}, failed {n_failed}\n")
    }
}
