//! Responses on the wire, byte for byte. Legacy fields keep their names and types; others may be added beside them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spindle_core::audit::{Duplicate, EpochFindings, Missing, PointKind, Points, Tally};
use spindle_core::health::{Health, HealthReason, Verdict};
use spindle_core::records::{Bucket, Window};
use spindle_core::response::{
    AuditedDevice, Basis, Data, DeviceCount, DeviceHealth, DeviceRow, EventRow, GapAudit, GapRow, Listing, MetricRow,
    Response, TemperatureAnomaly,
};
use spindle_core::{Criticality, DeviceName, EventType, Labels, MetricType, Timestamp};
use uuid::Uuid;

const T0: Timestamp = Timestamp::from_seconds(1_749_211_200);
const T1: Timestamp = Timestamp::from_seconds(1_749_212_100);
const BASIS: &str = r#"{"from":"2025-06-06T12:00:00Z","until":"2025-06-06T12:15:00Z","n_points":7}"#;

#[track_caller]
fn check(answer: &Response, expected: &str) {
    assert_eq!(serde_json::to_string(answer).unwrap(), expected.replace("BASIS", BASIS));
}

fn basis() -> Basis {
    Basis::of(Window { from: T0, until: T1 }, 7)
}

fn device() -> DeviceName {
    DeviceName::new("DiskUnit").unwrap()
}

fn event(message: Option<&str>) -> EventRow {
    EventRow {
        time: T0,
        event_id: Uuid::from_u128(0xe4d5_f6a7_8b9c_0d1e_2f3a_4b5c_6d7e_8f90).into(),
        source_device: device(),
        event_type: EventType::new("FanFailure").unwrap(),
        criticality: Criticality::new(9).unwrap(),
        event_message: message.map(str::to_owned),
        labels: None,
        received: T1,
    }
}

#[test]
fn alerts_critical() {
    let answer = Response::Success(Data::AlertsCritical(Listing {
        data: vec![event(None)],
        summary: Some(vec![DeviceCount { source_device: device(), critical_event_count: 3 }]),
        next: None,
        basis: Basis { by: Some("any"), ..basis() },
        offset: 4,
    }));
    check(
        &answer,
        r#"{"status":"success","data":[{"time":"2025-06-06T12:00:00Z","event_id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","source_device":"DiskUnit","event_type":"FanFailure","criticality":9,"event_message":null,"received":"2025-06-06T12:15:00Z"}],"summary":[{"source_device":"DiskUnit","critical_event_count":3}],"next":null,"basis":{"from":"2025-06-06T12:00:00Z","until":"2025-06-06T12:15:00Z","n_points":7,"by":"any"}}"#,
    );
}

#[test]
fn events() {
    let next = BTreeMap::from([("offset", json!(200)), ("until", json!("2025-06-06T12:15:00Z"))]);
    let answer = Response::Success(Data::Events(Listing {
        data: vec![event(Some("fan 2"))],
        summary: None,
        next: Some(next),
        basis: basis(),
        offset: 0,
    }));
    check(
        &answer,
        r#"{"status":"success","data":[{"time":"2025-06-06T12:00:00Z","event_id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","source_device":"DiskUnit","event_type":"FanFailure","criticality":9,"event_message":"fan 2","received":"2025-06-06T12:15:00Z"}],"next":{"offset":200,"until":"2025-06-06T12:15:00Z"},"basis":BASIS}"#,
    );
}

#[test]
fn devices() {
    let value = |name: &str, value: f64| {
        let metric_type = MetricType::new(name).unwrap();
        let row = MetricRow::new(&metric_type, value, T1);
        (metric_type, row)
    };
    let answer = Response::Success(Data::Devices(Listing {
        data: vec![DeviceRow {
            source_device: device(),
            first_seen: T0,
            last_seen: T1,
            last_received: Some(T0),
            clock_offset_seconds: Some(900.0),
            labels: Labels::from([("model".to_owned(), "M".to_owned())]),
            metrics: BTreeMap::from([
                value("DiskTemp", 41.5),
                value("FanSpeed", 7200.0),
                value("smart_194_raw", 8481.0),
            ]),
        }],
        summary: None,
        next: None,
        basis: Basis { from: None, ..basis() },
        offset: 0,
    }));
    check(
        &answer,
        r#"{"status":"success","data":[{"source_device":"DiskUnit","first_seen":"2025-06-06T12:00:00Z","last_seen":"2025-06-06T12:15:00Z","last_received":"2025-06-06T12:00:00Z","clock_offset_seconds":900.0,"labels":{"model":"M"},"metrics":{"DiskTemp":{"value":41.5,"unit":"°C","time":"2025-06-06T12:15:00Z"},"FanSpeed":{"value":7200.0,"time":"2025-06-06T12:15:00Z"},"smart_194_raw":{"value":33.0,"raw":8481.0,"unit":"°C","time":"2025-06-06T12:15:00Z"}}}],"next":null,"basis":{"from":null,"until":"2025-06-06T12:15:00Z","n_points":7}}"#,
    );
}

#[test]
fn device_health() {
    let health = |verdict, last_seen| {
        Response::Success(Data::DeviceHealth {
            data: Box::new(DeviceHealth {
                device: device(),
                verdict,
                since: last_seen,
                detector_seen: None,
                last_seen,
                last_received: last_seen,
                clock_offset_seconds: None,
                acknowledged: None,
                accepted: Vec::new(),
                decisions_not_understood: Vec::new(),
                cut_off: Vec::new(),
            }),
            basis: basis(),
        })
    };
    let reason = HealthReason {
        metric: "DiskTemp".to_owned(),
        health: Health::Warning,
        value: Some(58.2),
        raw: None,
        limit: Some(55.0),
        time: Some(T1),
        why: "hot".to_owned(),
        expected: Some("below 55 °C".to_owned()),
        trend: Some("rose by 3 °C in 24 h".to_owned()),
        since: Some(T0),
        advice: Some("Check it.".into()),
        accepted: None,
    };
    check(
        &health(Verdict { health: Health::Warning, score: Some(61), reasons: vec![reason] }, Some(T1)),
        r#"{"status":"success","data":{"device":"DiskUnit","health":"warning","score":61,"reasons":[{"metric":"DiskTemp","health":"warning","value":58.2,"limit":55.0,"time":"2025-06-06T12:15:00Z","why":"hot","expected":"below 55 °C","trend":"rose by 3 °C in 24 h","since":"2025-06-06T12:00:00Z","advice":"Check it."}],"since":"2025-06-06T12:15:00Z","detector_seen":null,"last_seen":"2025-06-06T12:15:00Z","last_received":"2025-06-06T12:15:00Z"},"basis":BASIS}"#,
    );
    check(
        &health(Verdict { health: Health::Unknown, score: None, reasons: vec![] }, None),
        r#"{"status":"success","data":{"device":"DiskUnit","health":"unknown","score":null,"reasons":[],"since":null,"detector_seen":null,"last_seen":null,"last_received":null},"basis":BASIS}"#,
    );
    let words = [Health::Unknown, Health::Ok, Health::Warning, Health::Critical].map(|health| json!(health));
    assert_eq!(words, ["unknown", "ok", "warning", "critical"].map(Value::from));
}

#[test]
fn anomaly_temperature() {
    let anomaly = |initial_temp, latest_temp, ratio, anomaly, note: Option<&str>| {
        let note = note.map(str::to_owned);
        let data =
            TemperatureAnomaly { device: device(), initial_temp, latest_temp, ratio, anomaly, threshold: 1.3, note };
        Response::Success(Data::AnomalyTemperature { data, basis: basis() })
    };
    check(
        &anomaly(Some(40.0), Some(58.0), Some(1.45), true, None),
        r#"{"status":"success","data":{"device":"DiskUnit","initial_temp":40.0,"latest_temp":58.0,"ratio":1.45,"anomaly":true,"threshold":1.3},"basis":BASIS}"#,
    );
    check(
        &anomaly(None, None, None, false, Some("no data")),
        r#"{"status":"success","data":{"device":"DiskUnit","initial_temp":null,"latest_temp":null,"ratio":null,"anomaly":false,"threshold":1.3,"note":"no data"},"basis":BASIS}"#,
    );
}

#[test]
fn series() {
    let bucket = Bucket { time: T0, min: 40.0, mean: 41.25, max: 42.5, count: 6 };
    let answer = Response::Success(Data::Series {
        data: vec![bucket],
        unit: Some("°C"),
        n_not_understood: 0,
        judged: None,
        bucket_seconds: 60.0,
        basis: basis(),
    });
    check(
        &answer,
        r#"{"status":"success","data":[{"time":"2025-06-06T12:00:00Z","min":40.0,"mean":41.25,"max":42.5,"count":6}],"unit":"°C","bucket_seconds":60.0,"basis":BASIS}"#,
    );
}

#[test]
fn audit_gaps() {
    let findings = EpochFindings {
        epoch: 0,
        points: Points::Both,
        first: 1,
        last: 4,
        n_seen: 3,
        n_missing: 1,
        n_duplicates: 1,
        missing: vec![Missing { from: 3, to: 3, after: Some(T0), before: None }],
        duplicates: vec![Duplicate { sequence: 4, times: vec![T0, T1] }],
    };
    let mut tally = Tally::default();
    for seq in [Some(1), Some(2), Some(4), Some(4), None] {
        tally.see(PointKind::Metric, seq);
    }
    let answer =
        |data, summary, next| Response::Success(Data::AuditGaps(GapAudit { data, summary, next, basis: basis() }));
    check(
        &answer(
            vec![GapRow { source_device: device(), findings }],
            vec![AuditedDevice::new(device(), &tally)],
            Some(BTreeMap::from([("after", json!("DiskUnit"))])),
        ),
        r#"{"status":"success","data":[{"source_device":"DiskUnit","run":0,"points":"both","first":1,"last":4,"n_seen":3,"n_missing":1,"n_doubled":1,"missing":[{"from":3,"to":3,"after":"2025-06-06T12:00:00Z","before":null}],"doubled":[{"number":4,"times":["2025-06-06T12:00:00Z","2025-06-06T12:15:00Z"]}]}],"summary":[{"source_device":"DiskUnit","state":"gaps","n_points":5,"n_without_number":1,"n_runs":1,"n_numbers":3,"n_missing":1,"n_doubled":1}],"next":{"after":"DiskUnit"},"basis":BASIS}"#,
    );
    check(
        &answer(vec![], vec![AuditedDevice::new(device(), &Tally::default())], None),
        r#"{"status":"success","data":[],"summary":[{"source_device":"DiskUnit","state":"no_data","n_points":0,"n_without_number":0,"n_runs":0,"n_numbers":0,"n_missing":0,"n_doubled":0}],"next":null,"basis":BASIS}"#,
    );
    let state = |seqs: &[Option<u64>]| {
        let mut tally = Tally::default();
        seqs.iter().for_each(|seq| tally.see(PointKind::Event, *seq));
        json!(AuditedDevice::new(device(), &tally).state)
    };
    assert_eq!(state(&[None, None]), "no_numbers");
    assert_eq!(state(&[Some(7), Some(8), None]), "complete");
    assert_eq!(state(&[Some(7), Some(7)]), "gaps");
    let hashes: Vec<_> = (0..10_000_u64).map(|number| Some(number << 40)).collect();
    assert_eq!(state(&hashes), "not_counted");
}

#[test]
fn error() {
    let answer = Response::Error { message: "unknown query_type 'x': expected one of …".to_owned() };
    check(&answer, r#"{"status":"error","message":"unknown query_type 'x': expected one of …"}"#);
}
