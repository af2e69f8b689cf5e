//! `anomalies`: what the detector found odd, value by value, and what agrees.

use std::time::Duration;

use anyhow::Result;
use spindle_core::judge::events::{
    ANOMALIES_AGREE, ANOMALIES_ENDED, LATENCY_RAISED, LATENCY_RAISED_ENDED, METRIC_ANOMALY,
};
use spindle_core::query::AnomaliesQuery;
use spindle_core::records::{EventFilter, EventRecord, TimeBasis, Window};
use spindle_core::response::{AnomalyRow, Basis, Listing};
use spindle_core::{Criticality, EventType, Timestamp};
use spindle_store::Store;

use super::fit::{FirstRows, Next, page_of, rows_in_data};
use super::listings::next_rows;

/// Events of one type read at a time to find those of one metric, which is in no index.
const MAX_SEARCHED: usize = 20_000;

/// Returns the anomalies of a window, newest first.
pub(super) async fn anomalies(store: &Store, query: AnomaliesQuery) -> Result<Listing<AnomalyRow>> {
    within(store, query, MAX_SEARCHED).await
}

async fn within(store: &Store, query: AnomaliesQuery, max_searched: usize) -> Result<Listing<AnomalyRow>> {
    let AnomaliesQuery { window, limit, offset, .. } = query;
    let Newest { records, complete_from } = newest(store, &query, max_searched).await?;
    let n_points = records.len() as u64;
    let mut rows: Vec<AnomalyRow> = records.into_iter().map(AnomalyRow::from).collect();
    if let Some(metric) = &query.metric_type {
        let is_of_metric = |names: &str| names.split([',', ' ']).any(|name| name == metric.as_str());
        rows.retain(|row| row.metric.as_deref().is_some_and(is_of_metric));
    }
    let n_rows = rows.len();
    let data = rows.into_iter().skip(offset).collect();
    let basis = Basis::of(window, n_points);
    let mut listing = Listing { data, summary: None, next: None, basis, offset: offset as u64 };
    if complete_from > window.from {
        // What is older has not been searched yet.
        let rest = Basis::of(Window { until: complete_from, ..window }, 0);
        listing.next = Some(next_rows(&rest, offset.saturating_sub(n_rows) as u64));
    }
    Ok(page_of(listing, limit))
}

/// Newest events of a window, in the order of the answer.
struct Newest {
    records: Vec<EventRecord>,
    /// Time from which on these are all.
    complete_from: Timestamp,
}

/// Reads one event more than a page needs, or as many as are searched for a metric.
async fn newest(store: &Store, query: &AnomaliesQuery, max_searched: usize) -> Result<Newest> {
    let n_wanted = query.offset.saturating_add(query.limit).saturating_add(1);
    let (mut records, mut complete_from) = (Vec::new(), query.window.from);
    for name in [METRIC_ANOMALY, ANOMALIES_AGREE, ANOMALIES_ENDED, LATENCY_RAISED, LATENCY_RAISED_ENDED] {
        let mut filter = EventFilter {
            window: query.window,
            basis: TimeBasis::Happened,
            source_device: query.source_device.clone(),
            event_type: Some(EventType::new(name)?),
            min_criticality: Criticality::MIN,
            limit: if query.metric_type.is_some() { max_searched } else { n_wanted },
            offset: 0,
        };
        let mut found = store.events(filter.clone()).await?;
        while query.metric_type.is_some() && found.len() == filter.limit {
            // There may be more of the instant of the last one.
            let from = found[found.len() - 1].event.timestamp.plus(Duration::from_nanos(1));
            if from < query.window.until {
                complete_from = complete_from.max(from);
                break;
            }
            filter.limit = filter.limit.saturating_mul(2);
            found = store.events(filter.clone()).await?;
        }
        records.append(&mut found);
    }
    records.retain(|record| record.event.timestamp >= complete_from);
    records.sort_by(|one, other| {
        let key = |record: &EventRecord| (record.event.timestamp, record.event.id.clone());
        key(other).cmp(&key(one)).then_with(|| one.event.source_device.cmp(&other.event.source_device))
    });
    Ok(Newest { records, complete_from })
}

impl FirstRows for Listing<AnomalyRow> {
    rows_in_data!(AnomalyRow);

    fn following(&self) -> Next {
        Some(next_rows(&self.basis, self.offset + self.data.len() as u64))
    }
}

#[cfg(test)]
mod tests;
