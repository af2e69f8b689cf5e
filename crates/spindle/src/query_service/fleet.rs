//! `fleet_health`: the verdict on every device, by the evidence and the judgement of `device_health`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spindle_core::Timestamp;
use spindle_core::query::{FleetCursor, FleetQuery};
use spindle_core::response::{Basis, FleetHealth, FleetRow, FleetSummary};
use spindle_store::Store;

use super::arrivals;
use super::bounded_events::ReadLimits;
use super::fit::{FirstRows, Next, page_of, rows_in_data};
use super::judged_fleet::{self, JudgedFleet};

/// Judges all devices, and lists those with the wanted verdicts.
pub(super) async fn fleet_health(store: &Store, query: FleetQuery) -> Result<FleetHealth> {
    within(store, query, ReadLimits::DEFAULT).await
}

async fn within(store: &Store, query: FleetQuery, limits: ReadLimits) -> Result<FleetHealth> {
    let FleetQuery { window, present, health, group_by, after, limit } = query;
    let is_past = !present && arrivals::is_past(window.until);
    let JudgedFleet { devices, gone, n_points, cut_off, calls_cut_off } =
        judged_fleet::judge(store, window, is_past, limits).await?;
    let mut rows: Vec<FleetRow> = devices.into_iter().map(|device| device.row).collect();
    rows.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let summary = FleetSummary { cut_off, calls_cut_off, ..FleetSummary::of(&rows, &group_by, gone) };
    let after = after.as_ref().map(|after| (Reverse(after.health), after.score, &after.device));
    rows.retain(|row| health.contains(row.health) && after.is_none_or(|after| row.rank() > after));
    let basis = Basis::of(window, n_points);
    Ok(page_of(FleetHealth { data: rows, summary, next: None, basis, present: !is_past }, limit))
}

impl FirstRows for FleetHealth {
    rows_in_data!(FleetRow);

    /// As of the same instant, by the same evidence.
    fn following(&self) -> Next {
        let FleetRow { health, score, source_device, .. } = self.data.last()?;
        let after = FleetCursor { health: *health, score: *score, device: source_device.clone() };
        let at: Timestamp = self.basis.until.minus(Duration::from_nanos(1));
        let mut next = BTreeMap::from([("after", Value::from(after.to_string())), ("at", Value::from(at.to_string()))]);
        next.extend(self.present.then(|| ("present", Value::from("yes"))));
        Some(next)
    }
}

#[cfg(test)]
mod tests;
