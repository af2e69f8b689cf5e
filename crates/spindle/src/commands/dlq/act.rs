//! `spindle dlq replay` and `spindle dlq drop`.
//!
//! Both look at what they are about first, and then touch only what was there at that look: a letter that
//! comes back from its replay is not replayed again. An interruption at any moment leaves every letter
//! either in its stream or replayed; the same command again does the rest.

mod letters;
mod removing;
mod replaying;

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Result, bail};
use spindle_bus::{DeadLetterFilter, DeadLetterHead};

use super::{Desk, Totals, letter_filter, list};
use crate::cli::{Action, Which};
use crate::outcome::Outcome;
use crate::output::{data, say};

/// Rows shown of what would be done.
const MAX_ROWS: usize = 50;

/// What was found at the first look.
struct Plan {
    totals: Totals,
    /// The first of them.
    rows: Vec<DeadLetterHead>,
    /// Named, but not there.
    missing: Vec<u64>,
    what: What,
}

/// The letters that are meant.
enum What {
    /// One message of each.
    Named(Vec<DeadLetterHead>),
    /// All that a filter takes, up to a sequence.
    Filtered(DeadLetterFilter, u64),
}

pub(super) async fn run(desk: &Desk, action: Action, which: Which, dry_run: bool, yes: bool) -> Result<Outcome> {
    if needs_yes(action, dry_run || yes) {
        bail!(
            "dlq drop removes letters for good and there is no terminal to ask on: give --yes, or look first with --dry-run"
        );
    }
    let plan = look(desk, which).await?;
    for sequence in &plan.missing {
        say(&format!("there is no dead letter {sequence}: `spindle dlq ls` lists what is there"));
    }
    if plan.totals.n_messages == 0 {
        if plan.missing.is_empty() {
            say(&format!("no dead letters to {}", action.word()));
        }
        return Ok(outcome(&plan));
    }
    if dry_run {
        data(list::table(&plan.rows).as_bytes())?;
        say(&format!("would {} {}", action.word(), plan.totals.words()));
        return Ok(outcome(&plan));
    }
    if !yes && is_asked(action, &plan.what) && !confirmed(action, &plan.totals)? {
        say("nothing was done");
        return Ok(Outcome::NotGood);
    }
    let outcome = outcome(&plan);
    match action {
        Action::Replay => replaying::run(desk, &plan.what).await?,
        Action::Drop => removing::run(desk, &plan.what, &plan.totals).await?,
    }
    Ok(outcome)
}

fn outcome(plan: &Plan) -> Outcome {
    if plan.missing.is_empty() { Outcome::Good } else { Outcome::NotGood }
}

/// Dropping is for good: somebody must have said so.
fn needs_yes(action: Action, is_settled: bool) -> bool {
    action == Action::Drop && !is_settled && !is_terminal()
}

/// A replay loses nothing: only one of many letters is asked about, and only where somebody can answer.
fn is_asked(action: Action, what: &What) -> bool {
    match action {
        Action::Drop => true,
        Action::Replay => matches!(what, What::Filtered(..)) && is_terminal(),
    }
}

fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn confirmed(action: Action, totals: &Totals) -> Result<bool> {
    write!(std::io::stderr(), "{} {}? [y/N] ", action.word(), totals.words())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn look(desk: &Desk, which: Which) -> Result<Plan> {
    match which {
        Which::Sequences(sequences) => look_at(desk, sequences).await,
        Which::Filter(wanted) => look_for(desk, letter_filter(wanted)?).await,
    }
}

async fn look_at(desk: &Desk, mut sequences: Vec<u64>) -> Result<Plan> {
    sequences.sort_unstable();
    sequences.dedup();
    let (mut totals, mut named, mut missing) = (Totals::default(), Vec::<DeadLetterHead>::new(), Vec::new());
    for sequence in sequences {
        match desk.patiently(async || desk.bus.dead_letter_head(sequence).await).await? {
            // Another part of a letter that was named already.
            Some(part) if named.iter().any(|other| part.part.is_some() && other.parts_key() == part.parts_key()) => {}
            Some(letter) => {
                totals.add_whole(&letter);
                named.push(letter);
            }
            None => missing.push(sequence),
        }
    }
    let rows = named.iter().take(MAX_ROWS).cloned().collect();
    Ok(Plan { totals, rows, missing, what: What::Named(named) })
}

async fn look_for(desk: &Desk, filter: DeadLetterFilter) -> Result<Plan> {
    let (mut totals, mut rows) = (Totals::default(), Vec::new());
    let last = desk
        .look_through(filter.clone(), |letter| {
            totals.add(&letter);
            if rows.len() < MAX_ROWS {
                rows.push(letter);
            }
        })
        .await?;
    Ok(Plan { totals, rows, missing: Vec::new(), what: What::Filtered(filter, last) })
}
