//! Control of the notes of one series: one per incident.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::RowScore;
use crate::timestamp::Timestamp;

/// Time after a note in which its series makes no other, unless it gets clearly stronger.
const QUIET: Duration = Duration::from_secs(6 * 3600);
/// Score by which an alarm is clearly stronger than the one noted.
const STRONGER: f32 = 0.2;
/// An incident is over once the score falls below this, or below half of the noted one.
const OVER: f32 = 0.3;
/// Longest time for which a score that stays up is the same incident.
const LONGEST_INCIDENT: Duration = Duration::from_secs(24 * 3600);

/// Control of the notes of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct NoteControl {
    rows: u32,
    n_alarms: u32,
    noted: Option<Timestamp>,
    noted_score: f32,
    is_open: bool,
    /// Alarms since the last note that made none.
    pub(in crate::judge) n_suppressed: u32,
}

impl NoteControl {
    /// Takes the score of a row; returns `true` for an alarm that deserves a note.
    pub(in crate::judge) fn admits(&mut self, at: Timestamp, score: &RowScore) -> bool {
        self.rows = self.rows.saturating_add(1);
        let strength = score.anomaly_score as f32;
        let age = self.noted.map(|noted| at.seconds_since(noted));
        if strength < OVER.max(self.noted_score / 2.0) || age.is_some_and(|age| age > LONGEST_INCIDENT.as_secs_f64()) {
            self.is_open = false;
        }
        if !score.alarm {
            return false;
        }
        self.n_alarms = self.n_alarms.saturating_add(1);
        let is_free = !self.is_open && age.is_none_or(|age| age >= QUIET.as_secs_f64());
        is_free || strength >= self.noted_score + STRONGER
    }

    /// Returns the alarms suppressed since the last note.
    pub(in crate::judge) fn note(&mut self, at: Timestamp, score: f64) -> u32 {
        (self.noted, self.noted_score, self.is_open) = (Some(at), score as f32, true);
        std::mem::take(&mut self.n_suppressed)
    }

    /// Returns the rows for each alarm so far.
    pub(in crate::judge) fn rows_per_alarm(&self) -> u32 {
        self.rows / self.n_alarms.max(1)
    }
}
