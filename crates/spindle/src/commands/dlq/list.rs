//! `spindle dlq ls`: dead letters in rows, from their headers alone.

use std::collections::VecDeque;

use anyhow::Result;
use spindle_bus::{DeadLetterFilter, DeadLetterHead};

use super::{Totals, escape};
use crate::dead_letter_service::{DeadLetterService, letter_row};
use crate::outcome::Outcome;
use crate::output::{self, data, message, safe};

/// Lists dead letters. Finding none is success.
pub(super) async fn run(
    dlq: &DeadLetterService,
    filter: DeadLetterFilter,
    limit: usize,
    oldest_first: bool,
    as_json: bool,
) -> Result<Outcome> {
    let is_filtered = filter != DeadLetterFilter::default();
    let (mut totals, mut rows) = (Totals::default(), VecDeque::new());
    dlq.for_each_head(filter, |letter| {
        totals.add(&letter);
        // Holds at most `limit`, however many there are.
        if !oldest_first && rows.len() == limit {
            rows.pop_front();
        }
        if rows.len() < limit {
            rows.push_back(letter);
        }
    })
    .await?;
    let mut rows: Vec<DeadLetterHead> = rows.into();
    if !oldest_first {
        rows.reverse();
    }
    data(&if as_json { json_array(&rows) } else { table(&rows).into_bytes() })?;
    message(&summary(&totals, is_filtered, rows.len(), oldest_first));
    Ok(Outcome::Good)
}

fn summary(totals: &Totals, is_filtered: bool, n_rows: usize, oldest_first: bool) -> String {
    if totals.n_messages == 0 {
        return if is_filtered { "no dead letters that match" } else { "no dead letters" }.to_owned();
    }
    let mut summary = totals.summary();
    if (n_rows as u64) < totals.n_messages {
        let which = if oldest_first { "oldest" } else { "newest" };
        summary += &format!(" (the {n_rows} {which} are shown: --limit shows more)");
    }
    summary
}

/// One dead letter per line, so that the output can be read both as JSON and line by line.
fn json_array(letters: &[DeadLetterHead]) -> Vec<u8> {
    let rows: Vec<_> = letters.iter().map(|letter| letter_row(letter).to_string()).collect();
    if rows.is_empty() { b"[]\n".to_vec() } else { format!("[\n{}\n]\n", rows.join(",\n")).into_bytes() }
}

/// Longer details are cut; `show` and JSON have them in full.
const DETAIL_CHARS: usize = 100;

/// Returns a table, or nothing if there are no dead letters.
pub(super) fn table(letters: &[DeadLetterHead]) -> String {
    if letters.is_empty() {
        return String::new();
    }
    let cells = |letter: &DeadLetterHead| {
        let place = letter.stream.as_ref().map_or_else(String::new, |stream| {
            format!("{stream}:{}:{}", number(letter.stream_sequence), number(letter.index))
        });
        vec![
            letter.sequence.to_string(),
            escape::short_time(letter.kept_at),
            safe(&letter.reason),
            safe(letter.subject.as_deref().unwrap_or("-")),
            safe(&place),
            letter.part.map_or_else(String::new, |part| format!("{}/{}", part.number, part.of)),
            letter.n_replays.to_string(),
            letter.size_bytes.to_string(),
            escape::shortened(&safe(&letter.detail), DETAIL_CHARS),
        ]
    };
    let header = ["seq", "time", "reason", "subject", "stream:seq:index", "part", "replays", "bytes", "detail"];
    output::table(&header, letters.iter().map(cells).collect())
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}
