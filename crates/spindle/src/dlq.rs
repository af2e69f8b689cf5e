//! `spindle dlq`: the dead letters, for people. It lists, shows, replays and drops; it never changes a
//! letter, and removes one only when its replay is acknowledged or when it was told to.

mod act;
mod list;
mod show;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spindle_bus::{Bus, BusError, DeadLetterFilter, DeadLetterHead};
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::cli::{BACKWARDS, DlqTask, Moment, Wanted};
use crate::clock;
use crate::config::Config;
use crate::output;
use crate::supervisor::runfile;

/// Between two attempts while NATS does not answer.
const RETRY_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(config: &Config, task: DlqTask) -> Result<Outcome> {
    let settings = runfile::nats_settings(config)?;
    let bus =
        Bus::connect_with_notice(&settings, "spindle-dlq", output::say).await.context("is the system running?")?;
    let desk = Desk { bus, patience: config.nats.patience };
    match task {
        DlqTask::List { filter, limit, oldest_first, as_json } => {
            list::run(&desk, letter_filter(filter)?, limit, oldest_first, as_json).await
        }
        DlqTask::Show { sequences, raw } => show::run(&desk, &sequences, raw).await,
        DlqTask::Act { action, which, dry_run, yes } => act::run(&desk, action, which, dry_run, yes).await,
    }
}

/// Where the letters are handled.
struct Desk {
    bus: Bus,
    patience: Duration,
}

impl Desk {
    /// Tries again while NATS does not answer, until the patience is over.
    async fn patiently<T>(&self, mut attempt: impl AsyncFnMut() -> Result<T, BusError>) -> Result<T, BusError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match attempt().await {
                Err(fault) if fault.is_transient() && Instant::now() + RETRY_EVERY < deadline => {
                    sleep(RETRY_EVERY).await;
                }
                ended => return ended,
            }
        }
    }

    /// Shows every letter that the filter takes to `look`, oldest first, page by page.
    async fn look_through(&self, filter: DeadLetterFilter, mut look: impl FnMut(DeadLetterHead)) -> Result<u64> {
        let mut letters = self.patiently(async || self.bus.dead_letters(filter.clone()).await).await?;
        while let Some(page) = self.patiently(async || letters.next().await).await? {
            for letter in page {
                look(letter);
            }
        }
        Ok(letters.last_sequence())
    }
}

fn letter_filter(wanted: Wanted) -> Result<DeadLetterFilter> {
    let now = clock::now();
    let instant = |moment| match moment {
        Moment::At(time) => time,
        Moment::Ago(duration) => now.minus(duration),
    };
    let Wanted { reason, subject, since, until } = wanted;
    let (since, until) = (since.map(instant), until.map(instant));
    ensure!(since.zip(until).is_none_or(|(since, until)| since <= until), BACKWARDS);
    Ok(DeadLetterFilter { reason, subject, since, until })
}

/// How many letters there are, by reason.
#[derive(Debug, Default)]
struct Totals {
    by_reason: BTreeMap<String, u64>,
    n_messages: u64,
}

impl Totals {
    /// A letter in parts counts once.
    fn add(&mut self, letter: &DeadLetterHead) {
        if letter.part.is_none_or(|part| part.number == 1) {
            self.add_whole(letter);
        } else {
            self.n_messages += 1;
        }
    }

    fn add_whole(&mut self, letter: &DeadLetterHead) {
        self.n_messages += 1;
        *self.by_reason.entry(letter.reason.clone()).or_default() += 1;
    }

    fn n_letters(&self) -> u64 {
        self.by_reason.values().sum()
    }

    /// `3 dead letters: bad_json 2, store_refused 1`.
    fn words(&self) -> String {
        let n_letters = self.n_letters();
        let reasons: Vec<_> =
            self.by_reason.iter().map(|(reason, n_letters)| format!("{} {n_letters}", output::safe(reason))).collect();
        let plural = if n_letters == 1 { "" } else { "s" };
        let parts =
            if self.n_messages > n_letters { format!(" in {} messages", self.n_messages) } else { String::new() };
        format!("{n_letters} dead letter{plural}{parts}: {}", reasons.join(", "))
    }
}
