//! Verdict on the points that were refused: whose fault it is.
//!
//! A point is at fault only if InfluxDB itself refused it and took another one of the same write. If it took none, a
//! probe point decides: a server (or a proxy) that refuses that one too has a problem that an operator must solve, and
//! everything is kept. If it takes the probe point, a point that was alone is at fault, unless its type conflicts with
//! the schema: all of Spindle's points have the same types, so that is the schema's fault. Whatever remains is not
//! proven, and is tried again.
//!
//! The same holds for a point at which the server fails, as by a panic: only failures that InfluxDB itself reports,
//! again and again, while a probe point of the same time goes in, speak against the point.

use spindle_core::schema::PROBE;

use super::session::Influx;
use super::write_outcome::WriteOutcome;
use crate::{Refusal, Refused, StoreError};

/// The probe point's time is a multiple of this: it overwrites itself.
const PROBE_STEP_NS: i64 = 600_000_000_000;

/// What became of the lines of a write, apart from those stored.
pub(super) struct Sent<T> {
    pub(super) n_lines: usize,
    pub(super) is_any_stored: bool,
    /// Lines with a verdict.
    pub(super) refused: Vec<Refused<T>>,
    pub(super) suspects: Vec<Suspect<T>>,
}

impl<T> Default for Sent<T> {
    fn default() -> Self {
        Self { n_lines: 0, is_any_stored: false, refused: Vec::new(), suspects: Vec::new() }
    }
}

/// Refused line without a verdict.
pub(super) struct Suspect<T> {
    pub(super) item: T,
    pub(super) message: String,
    /// InfluxDB itself refused it.
    pub(super) is_own: bool,
}

impl<T> Sent<T> {
    pub(super) fn add(&mut self, other: Self) {
        self.n_lines += other.n_lines;
        self.is_any_stored |= other.is_any_stored;
        self.refused.extend(other.refused);
        self.suspects.extend(other.suspects);
    }

    /// Returns the refused lines, each with the verdict on it.
    pub(super) async fn judge(self, influx: &Influx) -> Result<Vec<Refused<T>>, StoreError> {
        let Self { n_lines, is_any_stored, mut refused, suspects } = self;
        let Some(first) = suspects.first() else { return Ok(refused) };
        if !is_any_stored && !takes_points(influx).await? {
            return Err(influx.client.misconfigured(&first.message));
        }
        refused.extend(suspects.into_iter().map(|Suspect { item, message, is_own }| {
            let is_proven = is_own && (is_any_stored || (n_lines == 1 && !blames_schema(&message)));
            let reason = if is_proven { Refusal::Invalid } else { Refusal::Unproven };
            Refused { item, reason, message }
        }));
        Ok(refused)
    }
}

/// Returns whether the server takes a point that nothing speaks against, at this moment.
pub(super) async fn takes_points(influx: &Influx) -> Result<bool, StoreError> {
    let time = influx.now().as_ns().div_euclid(PROBE_STEP_NS).saturating_mul(PROBE_STEP_NS);
    takes_point_at(influx, time).await
}

/// Returns whether the server takes a point of this time that nothing speaks against. Points of one time share a file:
/// a damaged one fails them all.
pub(super) async fn takes_point_at(influx: &Influx, time: i64) -> Result<bool, StoreError> {
    let version = influx.ready().await?;
    let line = format!("{} ok=1i {time}", PROBE.name);
    let response = influx.client.write(version, &line, false).await?;
    match response.outcome(&[&line]) {
        // It judges points, and this one is new to it or too old.
        WriteOutcome::Stored
        | WriteOutcome::BeyondRetention { .. }
        | WriteOutcome::StoredExcept { is_limit: true, .. } => Ok(true),
        WriteOutcome::Retry { after, message, .. } => Err(influx.client.unavailable(message, after)),
        WriteOutcome::StoredExcept { .. }
        | WriteOutcome::Split { .. }
        | WriteOutcome::Bisect { .. }
        | WriteOutcome::RetryUncompressed { .. }
        | WriteOutcome::DatabaseMissing { .. }
        | WriteOutcome::Misconfigured { .. }
        | WriteOutcome::Foreign { .. } => Ok(false),
    }
}

/// Returns whether a message is about the type of a field or column.
fn blames_schema(message: &str) -> bool {
    let message = message.to_lowercase();
    ["field type conflict", "column type"].iter().any(|text| message.contains(text))
}
