//! The counted size against the serialised one, for every kind of list and every limit that matters.

use std::collections::BTreeMap;

use spindle_core::audit::{PointKind, Tally};
use spindle_core::health::{Health, HealthSegment};
use spindle_core::incidents::{Incident, IncidentState};
use spindle_core::records::Window;
use spindle_core::response::{
    AnomalyRow, AuditedDevice, Basis, DeviceCount, DeviceRow, EventRow, FleetHealth, FleetRow, FleetSummary, GapAudit,
    GapRow, HealthHistory, IncidentCounts, IncidentList, Listing, MetricRow,
};
use spindle_core::{Criticality, DeviceName, EventType, MetricType, Timestamp};
use uuid::Uuid;

use super::*;

fn basis(n_points: u64) -> Basis {
    let window = Window { from: Timestamp::from_ns(1), until: Timestamp::from_seconds(1_750_000_000) };
    Basis::of(window, n_points)
}

fn device(index: usize) -> DeviceName {
    DeviceName::new(&format!("device-{}", "x".repeat(index * 7 % 11))).unwrap()
}

fn listing<Row>(data: Vec<Row>) -> Listing<Row> {
    Listing { basis: basis(data.len() as u64), data, summary: None, next: None, offset: 95 }
}

fn events(n_rows: usize) -> Listing<EventRow> {
    let row = |index: usize| EventRow {
        time: Timestamp::from_ns(index as i64 * 1_001),
        event_id: Uuid::from_u64_pair(1, index as u64).into(),
        source_device: device(index),
        event_type: EventType::new("DriveFailure").unwrap(),
        criticality: Criticality::new(1 + index as u64 % 10).unwrap(),
        event_message: (!index.is_multiple_of(3)).then(|| "\u{1b}\"ü\n".repeat(index)),
        labels: None,
        received: Timestamp::from_seconds(index as i64),
    };
    listing((0..n_rows).map(row).collect())
}

fn devices(n_rows: usize) -> Listing<DeviceRow> {
    let metric = |index: usize| {
        let metric_type = MetricType::new(&format!("Metric{index}")).unwrap();
        let row = MetricRow::new(&metric_type, index as f64 / 3.0, Timestamp::from_seconds(index as i64));
        (metric_type, row)
    };
    let row = |index: usize| DeviceRow {
        source_device: device(index),
        first_seen: Timestamp::from_ns(index as i64),
        last_seen: Timestamp::from_seconds(index as i64),
        last_received: None,
        clock_offset_seconds: None,
        labels: [("model".to_owned(), "M".repeat(index))].into_iter().collect(),
        metrics: (0..index % 4).map(metric).collect(),
    };
    listing((0..n_rows).map(row).collect())
}

fn audit(n_devices: usize) -> GapAudit {
    let mut audit = GapAudit { data: Vec::new(), summary: Vec::new(), next: None, basis: basis(1_000) };
    for index in 0..n_devices {
        let device = DeviceName::new(&format!("device-{index:0width$}", width = 2 + index % 5)).unwrap();
        let mut tally = Tally::default();
        // Each third device has a gap.
        for seq in [1, 2 + u64::from(index % 3 == 1)] {
            tally.see(PointKind::Metric, Some(seq));
        }
        audit.summary.push(AuditedDevice::new(device.clone(), &tally));
        if index % 3 == 1 {
            let row = |findings| GapRow { source_device: device.clone(), findings };
            audit.data.extend(tally.findings().into_iter().map(row));
        }
    }
    audit
}

fn history(n_segments: usize) -> HealthHistory {
    let at = |index: usize| Timestamp::from_seconds(index as i64 * 1_000);
    let segment = |index: usize| HealthSegment {
        from: at(index),
        until: at(index + 1),
        health: Health::Warning,
        score: Some(75),
        why: (!index.is_multiple_of(3)).then(|| "x".repeat(index)),
    };
    let data: Vec<HealthSegment> = (0..n_segments).map(segment).collect();
    HealthHistory { data, next: None, basis: Basis { from: Some(at(0)), ..basis(3) } }
}

fn fleet(n_rows: usize) -> FleetHealth {
    let row = |index: usize| FleetRow {
        source_device: device(index),
        health: Health::Unknown,
        score: None,
        asleep: index.is_multiple_of(2),
        since: None,
        reason: None,
        n_reasons: index,
        labels: [("model".to_owned(), "M".repeat(index))].into_iter().collect(),
        last_seen: Timestamp::from_ns(1),
        last_received: None,
        detector_seen: None,
        acknowledged: None,
    };
    let rows: Vec<FleetRow> = (0..n_rows).map(row).collect();
    let summary = FleetSummary::of(&rows, "model", Vec::new());
    FleetHealth { data: rows, summary, next: None, basis: basis(n_rows as u64), present: true }
}

fn incidents(n_rows: usize) -> IncidentList {
    let row = |index: usize| Incident {
        id: index.to_string(),
        state: IncidentState::Open,
        cause: "x".repeat(index),
        health: Health::Critical,
        criticality: 9,
        source_device: device(index),
        devices: (0..index % 4).map(device).collect(),
        place: [("bay".to_owned(), "7".repeat(index))].into_iter().collect(),
        since: Timestamp::from_ns(1),
        until: None,
        changed: Timestamp::from_seconds(index as i64),
        advice: None,
        reasons: Vec::new(),
        n_reasons: index,
        acknowledged: None,
    };
    let (data, summary) = ((0..n_rows).map(row).collect(), IncidentCounts::default());
    IncidentList { data, summary, next: None, basis: basis(3), offset: 95, present: n_rows.is_multiple_of(2) }
}

fn anomalies(n_rows: usize) -> Listing<AnomalyRow> {
    let row = |index: usize| AnomalyRow {
        time: Timestamp::from_ns(index as i64),
        source_device: device(index),
        event_type: EventType::new("MetricAnomaly").unwrap(),
        criticality: Criticality::MIN,
        metric: Some("m".repeat(index)),
        value: Some(index as f64 / 3.0),
        expected_low: None,
        expected_high: None,
        score: None,
        event_message: None,
    };
    listing((0..n_rows).map(row).collect())
}

/// Halves and serialises the whole response until it fits.
fn by_serialising(mut data: Data, max_bytes: usize) -> Result<Vec<u8>, usize> {
    loop {
        let json = to_json(&Response::Success(data.clone()));
        if json.len() <= max_bytes {
            return Ok(json);
        }
        let (n_rows, page): (usize, &mut dyn Page) = match &mut data {
            Data::AlertsCritical(page) | Data::Events(page) => (page.data.len(), page),
            Data::Devices(page) => (page.data.len(), page),
            Data::AuditGaps(page) => (page.summary.len(), page),
            Data::FleetHealth(page) => (page.data.len(), &mut **page),
            Data::Incidents(page) => (page.data.len(), page),
            Data::HealthHistory(page) => (page.data.len(), page),
            Data::Anomalies(page) => (page.data.len(), page),
            Data::Fleet(_)
            | Data::FleetHistory { .. }
            | Data::FleetSeries { .. }
            | Data::Pipeline { .. }
            | Data::DeviceHealth { .. }
            | Data::AnomalyTemperature { .. }
            | Data::Series { .. } => {
                return Err(json.len());
            }
        };
        if n_rows < 2 {
            return Err(json.len());
        }
        page.truncate(n_rows / 2);
    }
}

#[test]
fn counting_gives_what_serialising_every_attempt_gives() {
    for n_rows in [0, 1, 2, 3, 7, 16] {
        let mut alerts = events(n_rows);
        let count = |index| DeviceCount { source_device: device(index), critical_event_count: index as u64 };
        alerts.summary = Some((0..n_rows).map(count).collect());
        let mut middle = events(n_rows);
        middle.next = Some(BTreeMap::from([("offset", 1.into())]));
        let series = Data::Series {
            data: Vec::new(),
            unit: Some("°C"),
            bucket_seconds: 1.5,
            n_not_understood: 0,
            judged: None,
            basis: basis(0),
        };
        let all = [
            Data::AlertsCritical(alerts),
            Data::Events(middle),
            Data::Devices(devices(n_rows)),
            Data::AuditGaps(audit(n_rows)),
            Data::FleetHealth(Box::new(fleet(n_rows))),
            Data::Incidents(incidents(n_rows)),
            Data::HealthHistory(history(n_rows)),
            Data::Anomalies(anomalies(n_rows)),
            series,
        ];
        for data in all {
            let n_bytes = to_json(&Response::Success(data.clone())).len();
            let attempts: Vec<_> = (0..=4).map(|halvings| n_bytes >> halvings).collect();
            for max_bytes in attempts.into_iter().flat_map(|n_bytes| n_bytes.saturating_sub(12)..=n_bytes + 12) {
                let fitted = to_json_within(data.clone(), max_bytes);
                assert_eq!(fitted, by_serialising(data.clone(), max_bytes), "{n_rows} rows, {max_bytes} bytes");
                assert!(fitted.is_ok_and(|json| json.len() <= max_bytes) || max_bytes < n_bytes);
            }
        }
    }
}

#[test]
fn one_row_is_never_cut() {
    let n_bytes = to_json(&Response::Success(Data::AuditGaps(audit(1)))).len();
    assert_eq!(to_json_within(Data::AuditGaps(audit(1)), n_bytes - 1), Err(n_bytes));
}
