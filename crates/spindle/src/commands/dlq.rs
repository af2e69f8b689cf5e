//! `spindle dlq`: lists, shows, replays and drops dead letters, through [`crate::dead_letter_service`].

mod act;
mod escape;
mod list;
mod show;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use spindle_bus::{Bus, DeadLetterFilter, DeadLetterHead};

use crate::cli::{BACKWARDS, DlqTask, Moment, Wanted};
use crate::clock;
use crate::config::Config;
use crate::data_dir::run_file;
use crate::dead_letter_service::DeadLetterService;
use crate::outcome::Outcome;
use crate::output;

pub(crate) async fn run(config: &Config, task: DlqTask) -> Result<Outcome> {
    let settings = run_file::nats_settings(config)?;
    let bus =
        Bus::connect_with_notice(&settings, "spindle-dlq", output::message).await.context("is the system running?")?;
    let dlq = DeadLetterService::new(bus, config.nats.connect_timeout);
    match task {
        DlqTask::List { filter, limit, oldest_first, as_json } => {
            list::run(&dlq, resolve_filter(filter)?, limit, oldest_first, as_json).await
        }
        DlqTask::Show { sequences, raw } => show::run(&dlq, &sequences, raw).await,
        DlqTask::Act { action, which, dry_run, yes } => act::run(&dlq, action, which, dry_run, yes).await,
    }
}

fn resolve_filter(wanted: Wanted) -> Result<DeadLetterFilter> {
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

/// Number of dead letters by reason, and of the messages that hold them.
#[derive(Debug, Default)]
struct Totals {
    by_reason: BTreeMap<String, u64>,
    n_messages: u64,
}

impl Totals {
    /// Counts one message; a dead letter in parts counts once.
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

    /// Returns a summary such as `3 dead letters: bad_json 2, store_refused 1`.
    fn summary(&self) -> String {
        let n_letters = self.n_letters();
        let reasons: Vec<_> =
            self.by_reason.iter().map(|(reason, n_letters)| format!("{} {n_letters}", output::safe(reason))).collect();
        let plural = if n_letters == 1 { "" } else { "s" };
        let parts =
            if self.n_messages > n_letters { format!(" in {} messages", self.n_messages) } else { String::new() };
        format!("{n_letters} dead letter{plural}{parts}: {}", reasons.join(", "))
    }
}
