//! `spindle dlq show`: everything about a dead letter, or its bytes only.

use anyhow::Result;
use spindle_bus::DeadLetter;

use super::escape;
use crate::dead_letter_service::DeadLetterService;
use crate::outcome::Outcome;
use crate::output::{data, message, safe};

pub(super) async fn run(dlq: &DeadLetterService, sequences: &[u64], raw: bool) -> Result<Outcome> {
    let mut outcome = Outcome::Good;
    for (number, sequence) in sequences.iter().enumerate() {
        let Some(whole) = dlq.read(*sequence).await? else {
            message(&format!("no dead letter {sequence}: list them with `spindle dlq ls`"));
            outcome = Outcome::NotGood;
            continue;
        };
        if raw {
            data(&whole.bytes)?;
            continue;
        }
        let gap = if number > 0 { "\n" } else { "" };
        data(format!("{gap}{}\n{}", head(*sequence, &whole), escape::payload(&whole.bytes)).as_bytes())?;
    }
    Ok(outcome)
}

fn head(sequence: u64, whole: &DeadLetter) -> String {
    let letter = &whole.head;
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let number = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let messages: Vec<_> = whole.sequences.iter().map(u64::to_string).collect();
    let in_parts = if messages.len() > 1 { format!(", in messages {}", messages.join(", ")) } else { String::new() };
    let mut rows = vec![
        ("dead letter", sequence.to_string()),
        ("kept", letter.kept_at.to_string()),
        ("reason", letter.reason.clone()),
        ("detail", letter.detail.clone()),
        ("subject", or_unknown(&letter.subject)),
        ("stream", or_unknown(&letter.stream)),
        ("sequence", number(letter.stream_sequence)),
        ("index", number(letter.index)),
        ("published", or_unknown(&letter.published)),
    ];
    rows.extend(letter.message_id.clone().map(|id| ("message id", id)));
    match letter.n_replays {
        0 => {}
        1 => rows.push(("replayed", "once before".to_owned())),
        n_replays => rows.push(("replayed", format!("{n_replays} times before"))),
    }
    rows.push(("size", format!("{} bytes{in_parts}", whole.bytes.len())));
    rows.into_iter().map(|(name, value)| format!("{name:<12} {}\n", safe(&value))).collect()
}
