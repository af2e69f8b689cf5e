//! Replaying and dropping dead letters over HTTP. Each sequence gets an outcome of its own; only if nothing at all could
//! be done is the response an error.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use futures::FutureExt;
use serde_json::{Map, Value, json};
use spindle_bus::{BusError, BusErrorKind, DeadLetterHead};
use tokio::time::{Instant, timeout};
use tracing::info;

use super::{DeadLetters, Failed};
use crate::dead_letter_service::{DeadLetterService, LetterAction, LetterOutcome, SelectedLetters, for_each_letter};
use crate::logging::chain;
use crate::metrics::WEB_DEAD_LETTERS;
use crate::web::changes::receive_fields;
use crate::web::connections::Peer;

/// Dead letters of one request.
const MAX_SEQUENCES: usize = 1000;
/// Length of the name of an operator, for the log.
const MAX_NAME_CHARS: usize = 256;
/// Time in which new dead letters are begun, below that of a request.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Longest wait for an action of another request.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Action that a request asks for.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Replay,
    Drop,
}

/// Fields of a request.
struct Wanted {
    sequences: Vec<u64>,
    /// Name of the operator, as claimed.
    by: Option<String>,
}

/// State of a running action.
struct Run<'a> {
    service: &'a DeadLetterService,
    action: LetterAction,
    deadline: Instant,
    /// First error that concerns not one dead letter alone: no further one is begun.
    halted: Mutex<Option<(BusErrorKind, String)>>,
}

impl DeadLetters {
    pub(super) async fn act(&self, request: Request, act: Act) -> Result<Value, Failed> {
        let from = request.extensions().get::<Peer>().map(|peer| peer.0.to_string());
        let Wanted { sequences, by } = Wanted::read(&receive_fields(request, act.fields()).await?, act)?;
        self.rate.count("requests to replay or drop")?;
        self.require_connection()?;
        let Ok(turn) = timeout(MAX_WAIT, self.turn.clone().lock_owned()).await else { return Err(Failed::Busy) };
        let service = self.service.clone();
        // A task of its own: a client that leaves must not keep what was done out of the log.
        let work = async move {
            let _turn = turn;
            run_and_log(&service, act, &sequences, by, from).await
        };
        tokio::spawn(work)
            .await
            .map_err(|error| Failed::Status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
    }
}

async fn run_and_log(
    service: &DeadLetterService,
    act: Act,
    sequences: &[u64],
    by: Option<String>,
    from: Option<String>,
) -> Result<Value, Failed> {
    let outcomes = run(service, act, sequences).await?;
    let mut counts = BTreeMap::<&str, u64>::new();
    for outcome in outcomes.values() {
        *counts.entry(word(outcome)).or_default() += 1;
    }
    for (word, count) in &counts {
        WEB_DEAD_LETTERS.with_label_values(&[word]).inc_by(*count);
    }
    let summary = json!(counts);
    info!(action = act.word(), outcomes = %summary, by, from, "dead letters changed over HTTP");
    let rows: Vec<Value> = sequences.iter().map(|sequence| row(*sequence, outcomes.get(sequence))).collect();
    Ok(json!({ "status": "success", "data": rows, "summary": summary }))
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Drop => "drop",
        }
    }

    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Replay => &["sequences", "by"],
            Self::Drop => &["sequences", "confirm", "by"],
        }
    }
}

impl Wanted {
    /// Reads the fields; none is guessed.
    fn read(fields: &Map<String, Value>, act: Act) -> Result<Self, Failed> {
        let refused = |status, name: &str, problem: String| Failed::Status(status, format!("field '{name}' {problem}"));
        let wrong = |name: &str, problem: String| refused(StatusCode::BAD_REQUEST, name, problem);
        let expected = format!("expected 1 to {MAX_SEQUENCES} sequences of dead letters");
        let Some(list) = fields.get("sequences").and_then(Value::as_array) else {
            return Err(wrong("sequences", format!("is missing or not an array: {expected}")));
        };
        if list.is_empty() || list.len() > MAX_SEQUENCES {
            return Err(wrong("sequences", format!("has {} elements: {expected}", list.len())));
        }
        let Some(sequences) = list.iter().map(natural).collect::<Option<Vec<u64>>>() else {
            return Err(wrong("sequences", "has an element that is not a whole number from 1".to_owned()));
        };
        if sequences.iter().collect::<BTreeSet<_>>().len() < sequences.len() {
            return Err(wrong("sequences", "names a dead letter twice".to_owned()));
        }
        if matches!(act, Act::Drop) {
            let problem = format!("is not {}, the number of sequences: dropping is permanent", sequences.len());
            match fields.get("confirm").filter(|confirmed| confirmed.is_number()) {
                Some(confirmed) if natural(confirmed) == Some(sequences.len() as u64) => {}
                // As the schema has it, but not about these dead letters.
                Some(_) => return Err(refused(StatusCode::CONFLICT, "confirm", problem)),
                None => return Err(wrong("confirm", problem)),
            }
        }
        let by = match fields.get("by") {
            None | Some(Value::Null) => None,
            Some(Value::String(by)) if (1..=MAX_NAME_CHARS).contains(&by.chars().count()) => Some(by.clone()),
            Some(_) => {
                let problem = format!("is not a text of 1 to {MAX_NAME_CHARS} characters: name the operator");
                return Err(wrong("by", problem));
            }
        };
        Ok(Self { sequences, by })
    }
}

/// Returns a whole number from 1; JSON knows no difference between 1 and 1.0.
fn natural(value: &Value) -> Option<u64> {
    /// Largest float that is an `u64`.
    const MAX: f64 = 18_446_744_073_709_549_568.0;
    let whole = |float: f64| (float.fract() == 0.0 && (1.0..=MAX).contains(&float)).then_some(float as u64);
    value.as_u64().filter(|number| *number > 0).or_else(|| value.as_f64().and_then(whole))
}

/// Acts on all dead letters; an error means that nothing was done.
async fn run(service: &DeadLetterService, act: Act, sequences: &[u64]) -> Result<BTreeMap<u64, LetterOutcome>, Failed> {
    let deadline = Instant::now() + MAX_TIME;
    let action = match act {
        Act::Replay => service.replay().await?,
        Act::Drop => LetterAction::Drop,
    };
    let SelectedLetters { letters, other_parts, missing } = service.select(sequences).await?;
    let run = Run { service, action, deadline, halted: Mutex::default() };
    let mut outcomes: BTreeMap<u64, LetterOutcome> =
        missing.into_iter().map(|sequence| (sequence, LetterOutcome::Gone)).collect();
    let one = |letter| run.one(letter).map(Ok::<_, Infallible>).boxed();
    let Ok(()) = for_each_letter(letters, one, |(sequence, outcome)| drop(outcomes.insert(sequence, outcome))).await;
    let parts: Vec<_> =
        other_parts.into_iter().filter_map(|(part, first)| Some((part, outcomes.get(&first)?.clone()))).collect();
    outcomes.extend(parts);
    let is_refused = |outcome: &LetterOutcome| matches!(outcome, LetterOutcome::Refused(_));
    match run.halted.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((kind, problem)) if outcomes.values().all(is_refused) => {
            Err(Failed::from_bus(kind, with_doubt(kind, problem)))
        }
        _ => Ok(outcomes),
    }
}

impl Run<'_> {
    async fn one(&self, letter: DeadLetterHead) -> (u64, LetterOutcome) {
        let sequence = letter.sequence;
        let outcome = match self.obstacle() {
            Some(problem) => LetterOutcome::Refused(format!("not begun: {problem}")),
            None => match self.service.act(&self.action, letter).await {
                Ok(outcome) => outcome,
                Err(error) => self.halt(error),
            },
        };
        (sequence, outcome)
    }

    /// Returns the reason why no further dead letter is begun.
    fn obstacle(&self) -> Option<String> {
        let halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = || Instant::now() >= self.deadline;
        halted
            .as_ref()
            .map(|(_, problem)| problem.clone())
            .or_else(|| is_late().then(|| format!("the {} s of a request are over; repeat it", MAX_TIME.as_secs())))
    }

    fn halt(&self, error: BusError) -> LetterOutcome {
        let (kind, problem) = (error.kind(), chain(error));
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((kind, problem.clone()));
        LetterOutcome::Refused(with_doubt(kind, problem))
    }
}

fn with_doubt(kind: BusErrorKind, problem: String) -> String {
    if kind != BusErrorKind::Transient {
        return problem;
    }
    format!("{problem}; it is not certain that nothing was done: repeat it, which stores nothing twice")
}

fn word(outcome: &LetterOutcome) -> &'static str {
    match outcome {
        LetterOutcome::Replayed | LetterOutcome::ReplayedBefore => "replayed",
        LetterOutcome::Dropped => "dropped",
        LetterOutcome::Gone => "gone",
        LetterOutcome::Refused(_) => "refused",
    }
}

fn row(sequence: u64, outcome: Option<&LetterOutcome>) -> Value {
    let outcome = outcome.unwrap_or(&LetterOutcome::Gone);
    let mut row = json!({ "sequence": sequence, "outcome": word(outcome) });
    if let LetterOutcome::Refused(reason) = outcome {
        row["reason"] = json!(reason);
    }
    row
}
