//! `health_history`: the verdicts on a device over time, as the detector stated them.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;
use spindle_core::health::Statement;
use spindle_core::judge::events::HEALTH_CHANGED;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{Basis, HealthHistory};
use spindle_core::{Criticality, DeviceName, EventType, health};
use spindle_store::Store;

use super::fit::{Page, bytes_of_rows, json_bytes};

/// Most statements of one answer: more than five years of one a day.
const MAX_STATEMENTS: usize = 2_000;

/// Returns the segments of a window. If there are more statements than fit, it begins later.
pub(super) async fn history(store: &Store, device: DeviceName, window: Window) -> Result<HealthHistory> {
    let statements = async |window, limit| -> Result<Vec<EventRecord>> {
        let filter = EventFilter {
            window,
            basis: TimeBasis::Happened,
            source_device: Some(device.clone()),
            event_type: Some(EventType::new(HEALTH_CHANGED)?),
            min_criticality: Criticality::MIN,
            limit,
            offset: 0,
        };
        Ok(store.events(filter).await?)
    };
    let mut found = statements(window, MAX_STATEMENTS + 1).await?;
    let is_cut_off = found.len() > MAX_STATEMENTS;
    let mut told = window;
    if is_cut_off {
        // The verdict at the start is that of the last statement before the limit; the one after it bounds its start.
        let kept = found.iter().take(MAX_STATEMENTS).filter_map(Statement::of).next_back();
        let before = found.last().and_then(Statement::of);
        told.from = kept.map_or(window.from, |kept| kept.start(before.as_ref()).max(window.from));
    } else {
        found.append(&mut statements(Window::ending_at(window.from, health::MAX_STATEMENT_AGE), 1).await?);
    }
    let mut history =
        HealthHistory { data: health::segments(&found, told), next: None, basis: Basis::of(told, found.len() as u64) };
    if is_cut_off {
        history.next = next(&history);
    }
    Ok(history)
}

/// Returns the parameters that request the time before the first segment.
fn next(history: &HealthHistory) -> Option<BTreeMap<&'static str, Value>> {
    let first = history.data.first()?;
    Some(BTreeMap::from([("until", Value::from(first.from.to_string()))]))
}

impl Page for HealthHistory {
    fn row_bytes(&self) -> Vec<usize> {
        // The newest are kept.
        bytes_of_rows(self.data.iter().rev())
    }

    fn truncate(&mut self, n_rows: usize) {
        self.data.drain(..self.data.len() - n_rows);
        self.basis.from = self.data.first().map(|first| first.from);
        self.next = next(self);
    }

    fn frame_bytes(&self) -> usize {
        json_bytes(&self.next) + json_bytes(&self.basis)
    }
}
