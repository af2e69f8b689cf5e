//! `spindle dlq replay` and `spindle dlq drop`.
//!
//! Both first take stock of what they select, and then touch only that: a dead letter that returns from its replay is
//! not replayed again. An interruption at any moment leaves every dead letter either in its stream or replayed;
//! running the same command again does the rest.

mod removal;
mod replay;

use std::collections::HashSet;
use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Result, bail};
use futures::FutureExt;
use spindle_bus::{DeadLetterFilter, DeadLetterHead};

use super::{Totals, list, resolve_filter};
use crate::cli::{Action, Which};
use crate::dead_letter_service::{DeadLetterService, LetterAction, LetterOutcome, SelectedLetters, for_each_letter};
use crate::outcome::Outcome;
use crate::output::{data, message};

/// Rows that a dry run prints at most.
const MAX_ROWS: usize = 50;

/// Dead letters found before anything is done.
struct Plan {
    totals: Totals,
    /// The first of them, at most [`MAX_ROWS`].
    rows: Vec<DeadLetterHead>,
    /// Sequences given on the command line that do not exist.
    missing: Vec<u64>,
    selection: Selection,
}

/// The selected dead letters.
enum Selection {
    /// One message of each.
    Named(Vec<DeadLetterHead>),
    /// All that match a filter, up to a sequence.
    Filtered(DeadLetterFilter, u64),
}

pub(super) async fn run(
    dlq: &DeadLetterService,
    action: Action,
    which: Which,
    dry_run: bool,
    yes: bool,
) -> Result<Outcome> {
    if needs_yes(action, dry_run || yes) {
        bail!(
            "dlq drop removes dead letters permanently and there is no terminal to confirm on: pass --yes, or preview with --dry-run"
        );
    }
    let plan = survey(dlq, which).await?;
    for sequence in &plan.missing {
        message(&format!("no dead letter {sequence}: list them with `spindle dlq ls`"));
    }
    if plan.totals.n_messages == 0 {
        if plan.missing.is_empty() {
            message(&format!("no dead letters to {}", action.word()));
        }
        return Ok(outcome(&plan));
    }
    if dry_run {
        data(list::table(&plan.rows).as_bytes())?;
        message(&format!("would {} {}", action.word(), plan.totals.summary()));
        return Ok(outcome(&plan));
    }
    if !yes && needs_confirmation(action, &plan.selection) && !confirmed(action, &plan.totals)? {
        message("cancelled");
        return Ok(Outcome::NotGood);
    }
    let outcome = outcome(&plan);
    match action {
        Action::Replay => replay::run(dlq, &plan.selection).await?,
        Action::Drop => removal::run(dlq, &plan.selection, &plan.totals).await?,
    }
    Ok(outcome)
}

fn outcome(plan: &Plan) -> Outcome {
    if plan.missing.is_empty() { Outcome::Good } else { Outcome::NotGood }
}

/// Dropping is permanent, so without a terminal it needs `--yes`.
fn needs_yes(action: Action, is_settled: bool) -> bool {
    action == Action::Drop && !is_settled && !is_terminal()
}

/// A replay loses nothing: it is confirmed only if it selects by filter and there is a terminal.
fn needs_confirmation(action: Action, selection: &Selection) -> bool {
    match action {
        Action::Drop => true,
        Action::Replay => matches!(selection, Selection::Filtered(..)) && is_terminal(),
    }
}

fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn confirmed(action: Action, totals: &Totals) -> Result<bool> {
    write!(std::io::stderr(), "{} {}? [y/N] ", action.word(), totals.summary())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn survey(dlq: &DeadLetterService, which: Which) -> Result<Plan> {
    match which {
        Which::Sequences(sequences) => survey_named(dlq, sequences).await,
        Which::Filter(wanted) => survey_filtered(dlq, resolve_filter(wanted)?).await,
    }
}

async fn survey_named(dlq: &DeadLetterService, mut sequences: Vec<u64>) -> Result<Plan> {
    sequences.sort_unstable();
    sequences.dedup();
    let SelectedLetters { letters, missing, .. } = dlq.select(&sequences).await?;
    let mut totals = Totals::default();
    for letter in &letters {
        totals.add_whole(letter);
    }
    let rows = letters.iter().take(MAX_ROWS).cloned().collect();
    Ok(Plan { totals, rows, missing, selection: Selection::Named(letters) })
}

async fn survey_filtered(dlq: &DeadLetterService, filter: DeadLetterFilter) -> Result<Plan> {
    let (mut totals, mut rows) = (Totals::default(), Vec::new());
    let last = dlq
        .for_each_head(filter.clone(), |letter| {
            totals.add(&letter);
            if rows.len() < MAX_ROWS {
                rows.push(letter);
            }
        })
        .await?;
    Ok(Plan { totals, rows, missing: Vec::new(), selection: Selection::Filtered(filter, last) })
}

/// Passes each selected dead letter to the action once and its outcome to `note`; ends at the first error.
async fn for_each(
    dlq: &DeadLetterService,
    selection: &Selection,
    action: &LetterAction,
    mut note: impl FnMut(LetterOutcome),
) -> Result<()> {
    let act = |letter| dlq.act(action, letter).boxed();
    let (filter, last) = match selection {
        Selection::Named(letters) => return Ok(for_each_letter(letters.clone(), act, note).await?),
        Selection::Filtered(filter, last) => (filter, last),
    };
    let mut parts_seen = HashSet::new();
    let mut is_first = |letter: &DeadLetterHead| letter.parts_key().is_none_or(|key| parts_seen.insert(key.to_owned()));
    let mut letters = dlq.retrying(|| dlq.bus.dead_letters(filter.clone())).await?;
    while let Some(mut page) = dlq.next_page(&mut letters).await? {
        page.retain(|letter| letter.sequence <= *last && is_first(letter));
        for_each_letter(page, act, &mut note).await?;
    }
    Ok(())
}
