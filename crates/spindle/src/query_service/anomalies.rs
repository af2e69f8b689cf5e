//! `anomalies`: what the detector found odd, value by value, and what agrees.

use anyhow::Result;
use spindle_core::judge::events::{
    ANOMALIES_AGREE, ANOMALIES_ENDED, LATENCY_RAISED, LATENCY_RAISED_ENDED, METRIC_ANOMALY,
};
use spindle_core::query::AnomaliesQuery;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis};
use spindle_core::response::{AnomalyRow, Basis, Listing};
use spindle_core::{Criticality, EventType};
use spindle_store::Store;

use super::fit::{Page, bytes_of_rows, json_bytes};
use super::listings::next_rows;

/// Most events of one type read to find those of one metric, which is in no index.
const MAX_SEARCHED: usize = 20_000;

/// Returns the anomalies of a window, newest first.
pub(super) async fn anomalies(store: &Store, query: AnomaliesQuery) -> Result<Listing<AnomalyRow>> {
    let AnomaliesQuery { window, source_device, metric_type, limit, offset } = query;
    let n_wanted = offset.saturating_add(limit).saturating_add(1);
    let n_read = if metric_type.is_some() { n_wanted.max(MAX_SEARCHED) } else { n_wanted };
    let mut records: Vec<EventRecord> = Vec::new();
    for name in [METRIC_ANOMALY, ANOMALIES_AGREE, ANOMALIES_ENDED, LATENCY_RAISED, LATENCY_RAISED_ENDED] {
        let filter = EventFilter {
            window,
            basis: TimeBasis::Happened,
            source_device: source_device.clone(),
            event_type: Some(EventType::new(name)?),
            min_criticality: Criticality::MIN,
            limit: n_read,
            offset: 0,
        };
        records.append(&mut store.events(filter).await?);
    }
    records.sort_by(|one, other| {
        let key = |record: &EventRecord| (record.event.timestamp, record.event.id.clone());
        key(other).cmp(&key(one)).then_with(|| one.event.source_device.cmp(&other.event.source_device))
    });
    let n_points = records.len() as u64;
    let mut rows: Vec<AnomalyRow> = records.into_iter().map(AnomalyRow::from).collect();
    if let Some(metric) = metric_type {
        let is_of_metric = |names: &str| names.split([',', ' ']).any(|name| name == metric.as_str());
        rows.retain(|row| row.metric.as_deref().is_some_and(is_of_metric));
    }
    let has_more = rows.len() > offset.saturating_add(limit);
    let data: Vec<AnomalyRow> = rows.into_iter().skip(offset).take(limit).collect();
    let basis = Basis::of(window, n_points);
    let mut listing = Listing { data, summary: None, next: None, basis, offset: offset as u64 };
    if has_more {
        listing.next = Some(next_rows(&listing.basis, listing.offset + listing.data.len() as u64));
    }
    Ok(listing)
}

impl Page for Listing<AnomalyRow> {
    fn row_bytes(&self) -> Vec<usize> {
        bytes_of_rows(self.data.iter())
    }

    fn truncate(&mut self, n_rows: usize) {
        self.data.truncate(n_rows);
        self.next = Some(next_rows(&self.basis, self.offset + n_rows as u64));
    }

    fn frame_bytes(&self) -> usize {
        json_bytes(&self.next)
    }
}
