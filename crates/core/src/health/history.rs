//! History of verdicts, from the statements of the detector ([`HEALTH_CHANGED`]). It states each change, and each verdict
//! once a day, so a verdict without a statement for more than a day is not known.

use std::time::Duration;

use serde::Serialize;

use super::{Evidence, Health, Verdict};
use crate::event_types::{HEALTH_CHANGED, is_own};
use crate::records::{EventRecord, Window};
use crate::timestamp::Timestamp;

/// Age up to which a statement holds: a day, and time to arrive.
pub const MAX_STATEMENT_AGE: Duration = Duration::from_secs(25 * 3_600);

const NOTHING_ON_RECORD: &str = "no verdict on record";

/// Verdict that the detector has stated.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Time of the statement.
    pub at: Timestamp,
    /// Verdict.
    pub health: Health,
    /// Time of the last change.
    pub since: Timestamp,
    /// Score, if there is one.
    pub score: Option<u8>,
    /// Metric or event type of the first reason.
    pub why: Option<String>,
}

/// Time with one verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthSegment {
    /// Start, inclusive.
    pub from: Timestamp,
    /// End, exclusive.
    pub until: Timestamp,
    /// Verdict.
    pub health: Health,
    /// Score, if there is one.
    pub score: Option<u8>,
    /// Metric or event type of the first reason, or the reason for the lack of a verdict.
    pub why: Option<String>,
}

impl HealthSegment {
    /// Returns `true` if nothing was stated about this time.
    pub fn is_without_verdict(&self) -> bool {
        self.health == Health::Unknown && self.why.as_deref() == Some(NOTHING_ON_RECORD)
    }
}

impl Statement {
    /// Reads a statement; `None` if the event is none, or not understood.
    pub fn of(record: &EventRecord) -> Option<Self> {
        let event = &record.event;
        let labels = event.labels.as_ref().filter(|_| event.event_type.as_str() == HEALTH_CHANGED)?;
        let health = Health::of_name(labels.get("to")?)?;
        let at = event.timestamp;
        let since = labels.get("since").and_then(|text| Timestamp::parse(text).ok());
        Some(Self {
            at,
            health,
            since: since.filter(|since| *since <= at).unwrap_or(at),
            score: labels.get("score").and_then(|text| text.parse().ok()).filter(|score| *score <= 100),
            why: labels.get("why").filter(|why| !why.is_empty()).cloned(),
        })
    }

    /// Returns the time from which the statement holds: the change of the verdict, if it came after the statement
    /// before. A change of more than a day ago has been stated since, or nobody was there to tell.
    pub fn start(&self, before: Option<&Self>) -> Timestamp {
        let is_new = before.is_none_or(|before| before.at < self.since);
        let is_recent = self.since >= self.at.minus(MAX_STATEMENT_AGE);
        if is_new && is_recent { self.since } else { self.at }
    }
}

/// Returns the statement that holds at `now`, if there is one.
pub fn standing(events: &[EventRecord], now: Timestamp) -> Option<Statement> {
    let statements = events.iter().filter_map(Statement::of).filter(|statement| statement.at <= now);
    let newest = statements.max_by_key(|statement| (statement.at, statement.since, statement.health));
    newest.filter(|statement| now < statement.at.plus(MAX_STATEMENT_AGE))
}

/// Returns the start of a verdict; `None` if the detector states another one, or none.
pub fn since(verdict: &Verdict, events: &[EventRecord], now: Timestamp) -> Option<Timestamp> {
    standing(events, now).filter(|standing| standing.health == verdict.health).map(|standing| standing.since)
}

/// Returns the time of the newest event of the detector.
pub fn detector_seen(events: &[EventRecord]) -> Option<Timestamp> {
    let made = events.iter().filter(|record| is_own(&record.event.event_type));
    made.map(|record| record.event.timestamp).max()
}

/// Returns the verdicts on one device in a window without gaps, oldest first. `events` are those of the window and of
/// [`MAX_STATEMENT_AGE`] before it, in any order; others are ignored. A segment begins with the change of the verdict,
/// which is stated a while later.
pub fn segments(events: &[EventRecord], window: Window) -> Vec<HealthSegment> {
    let mut statements: Vec<Statement> = events.iter().filter_map(Statement::of).collect();
    statements.retain(|statement| statement.at < window.until);
    statements.sort_by_key(|statement| (statement.at, statement.since, statement.health));
    let mut segments = Vec::new();
    let mut known_until = window.from;
    for (index, statement) in statements.iter().enumerate() {
        let next = statements.get(index + 1).map_or(window.until, |next| next.start(Some(statement)));
        let until = next.min(statement.at.plus(MAX_STATEMENT_AGE)).min(window.until);
        let before = index.checked_sub(1).map(|index| &statements[index]);
        let from = statement.start(before).max(window.from);
        if from >= until {
            continue;
        }
        push(&mut segments, unknown(known_until, from));
        let Statement { health, score, why, .. } = statement.clone();
        push(&mut segments, HealthSegment { from, until, health, score, why });
        known_until = until;
    }
    push(&mut segments, unknown(known_until, window.until));
    segments
}

fn unknown(from: Timestamp, until: Timestamp) -> HealthSegment {
    HealthSegment { from, until, health: Health::Unknown, score: None, why: Some(NOTHING_ON_RECORD.to_owned()) }
}

/// Appends a segment that is not empty; one that says the same as the last lengthens it.
fn push(segments: &mut Vec<HealthSegment>, segment: HealthSegment) {
    if segment.from >= segment.until {
        return;
    }
    match segments.last_mut() {
        Some(last) if (last.health, last.score, &last.why) == (segment.health, segment.score, &segment.why) => {
            last.until = segment.until;
        }
        _ => segments.push(segment),
    }
}

/// Dates the reason that the detector named, if it states the same verdict: a value alone does not tell how long ago it
/// reached its limit.
pub(super) fn date(mut verdict: Verdict, evidence: &Evidence<'_>) -> Verdict {
    let standing = standing(evidence.events, evidence.window.until);
    if let Some(standing) = standing.filter(|standing| standing.health == verdict.health)
        && let Some(first) = verdict.reasons.first_mut().filter(|first| Some(&first.metric) == standing.why.as_ref())
    {
        first.since = first.since.or(Some(standing.since));
    }
    verdict
}
