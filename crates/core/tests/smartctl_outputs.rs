//! Outputs of `smartctl --json` from real drives: each parses, no attribute is lost, a drive that reports its failure is
//! critical and no other is. The outputs are not ours, so they lie beside the workspace (`../shared/data/smartctl`) or
//! are absent; the test then reports that and checks nothing. The unit tests of `smart` check invented outputs.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use spindle_core::Timestamp;
use spindle_core::health::{Evidence, Health, judge};
use spindle_core::records::{Arrival, LatestSample, Window};
use spindle_core::smart::{SmartReport, parse, parse_scan};

/// Invented outputs.
const GOLDEN: [&str; 3] = [
    include_str!("golden/smartctl/ata.json"),
    include_str!("golden/smartctl/nvme.json"),
    include_str!("golden/smartctl/sas.json"),
];
const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

#[test]
fn real_outputs_lose_nothing_and_are_judged_as_the_drives_say() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/smartctl");
    let files = match fs::read_dir(&data) {
        Ok(files) => files,
        Err(error) => {
            return eprintln!("NOT CHECKED: outputs of real drives, {} is absent: {error}", data.display());
        }
    };
    let (mut n_files, mut n_critical) = (0, 0);
    for path in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|ext| ext == "json"))
    {
        let bytes = fs::read(&path).unwrap();
        let place = path.display();
        n_files += 1;
        if serde_json::from_slice::<Value>(&bytes).unwrap().get("devices").is_some() {
            assert!(!parse_scan(&bytes).unwrap().is_empty(), "{place}");
            continue;
        }
        let report = parse(&bytes).unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(lost(&document, &report), Vec::<String>::new(), "{place}");
        let passed = document.pointer("/smart_status/passed").and_then(Value::as_bool);
        let health = health(&report);
        assert_eq!(health == Health::Critical, passed == Some(false), "{place}: {health:?}, {}", report.failure);
        assert!(heat(&report).is_none(), "{place}: {:?}", heat(&report));
        is_judged_by_its_own_limits(document, &report);
        n_critical += usize::from(health == Health::Critical);
    }
    assert!(n_files >= 90 && n_critical >= 2, "{n_files} files, {n_critical} critical");
}

/// Checks that the drive, as hot as it may be, is not called hot, and that it is critical beyond its own limit.
fn is_judged_by_its_own_limits(mut document: Value, report: &SmartReport) {
    let stated = |name| report.value(name);
    let at = |document: &mut Value, celsius: f64| {
        document["temperature"]["current"] = celsius.into();
        // Attributes hold the temperature at another time.
        document["ata_smart_attributes"] = Value::Null;
        heat(&parse(&serde_json::to_vec(document).unwrap()).unwrap())
    };
    if report.value("DiskTemp").is_none() {
        return;
    }
    let usual = if stated("IsFlash") == Some(1.0) { 66.0 } else { 50.0 };
    let allowed = stated("DiskTempWarning").map_or(usual, |own| own - 1.0);
    assert_eq!(at(&mut document, allowed), None, "{document}");
    if let Some(own) = stated("DiskTempCritical") {
        assert_eq!(at(&mut document, own), Some(Health::Critical), "{document}");
    }
}

/// The verdict on a drive of which only its temperature and its limits are known, unless it is `ok`.
fn heat(report: &SmartReport) -> Option<Health> {
    let is_heat =
        |name: &str| name.starts_with("DiskTemp") || ["IsFlash", "smart_190_raw", "smart_194_raw"].contains(&name);
    let mut report = SmartReport { values: report.values.clone(), ..SmartReport::default() };
    report.values.retain(|(name, _)| is_heat(name));
    if !report.values.iter().any(|(name, _)| name.as_str() == "DiskTemp") {
        return None;
    }
    Some(health(&report)).filter(|health| *health != Health::Ok)
}

/// The attributes that a document prints and a report lacks, found independently of the parser.
fn lost(document: &Value, report: &SmartReport) -> Vec<String> {
    let mut expected = Vec::new();
    for row in document.pointer("/ata_smart_attributes/table").and_then(Value::as_array).into_iter().flatten() {
        let id = &row["id"];
        expected.push((format!("smart_{id}_raw"), row["raw"]["value"].as_f64().unwrap()));
        expected.push((format!("smart_{id}_normalized"), row["value"].as_f64().unwrap()));
    }
    for (name, value) in document["nvme_smart_health_information_log"].as_object().into_iter().flatten() {
        match value {
            Value::Array(sensors) => {
                expected.extend(
                    (1..)
                        .zip(sensors)
                        .map(|(index, sensor)| (format!("nvme_temperature_sensor_{index}"), sensor.as_f64().unwrap())),
                );
            }
            value => expected.push((format!("nvme_{name}"), value.as_f64().unwrap())),
        }
    }
    for (direction, counters) in document["scsi_error_counter_log"].as_object().into_iter().flatten() {
        for (name, value) in counters.as_object().unwrap() {
            let value = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            expected.push((format!("scsi_{direction}_{name}"), value.unwrap()));
        }
    }
    if let Some(defects) = document["scsi_grown_defect_list"].as_f64() {
        expected.push(("scsi_grown_defects".to_owned(), defects));
    }
    let is_lost = |(name, value): &(String, f64)| report.value(name) != Some(*value);
    expected.into_iter().filter(is_lost).map(|(name, value)| format!("{name} = {value}")).collect()
}

fn health(report: &SmartReport) -> Health {
    let sample = |(metric_type, value): &(_, f64)| LatestSample {
        metric_type: Clone::clone(metric_type),
        time: NOW,
        value: *value,
    };
    let latest: Vec<_> = report.values.iter().map(sample).collect();
    let window = Window::ending_at(NOW, std::time::Duration::from_secs(3600));
    let arrival = Some(Arrival { received: NOW, measured: NOW });
    let evidence = Evidence {
        window,
        latest: &latest,
        earlier: &[],
        events: &[],
        events_cut_off: false,
        last_seen: Some(NOW),
        arrival,
        rhythm: None,
        decisions: &[],
    };
    judge(&evidence).health
}

/// JSON of any shape, with the names that the parser looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let name = prop_oneof![
            proptest::sample::select(
                &[
                    "id",
                    "value",
                    "raw",
                    "string",
                    "table",
                    "status",
                    "type",
                    "flags",
                    "when_failed",
                    "thresh",
                    "count",
                    "hours",
                    "oui",
                    "naa",
                    "passed",
                    "name",
                    "temperature_sensors",
                    "result",
                    "code",
                    "pages",
                    "number",
                    "offset",
                    "result_1",
                    "reassign_status",
                    "status_field",
                    "page_3_error_statistics",
                    "actuator_reallocation_information_50",
                ][..]
            )
            .prop_map(str::to_owned),
            "[a-z_]{1,8}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..6).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_section_of_any_shape_neither_panics_nor_yields_nonsense(
        section in proptest::sample::select(&[
            "smartctl", "device", "devices", "smart_status", "ata_smart_attributes", "ata_smart_self_test_log",
            "ata_smart_error_log", "nvme_smart_health_information_log", "nvme_self_test_log", "nvme_namespaces",
            "ata_device_statistics", "seagate_farm_log", "nvme_error_information_log", "scsi_background_scan",
            "scsi_error_counter_log", "scsi_self_test_0", "scsi_grown_defect_list", "temperature", "power_on_time",
            "wwn", "user_capacity", "rotation_rate", "serial_number", "model_name",
        ][..]),
        value in any_json(),
        exit_status in any::<u8>(),
    ) {
        let mut document = serde_json::json!({"smartctl": {"exit_status": exit_status}, "device": {}});
        document[section] = value;
        let bytes = serde_json::to_vec(&document).unwrap();
        let _ = parse_scan(&bytes);
        if let Ok(report) = parse(&bytes) {
            prop_assert!(report.values.iter().all(|(_, value)| value.is_finite()));
            let _ = (report.identity.name(), report.is_asleep(), health(&report));
        }
    }

    #[test]
    fn a_damaged_output_is_parsed_or_refused(
        output in proptest::sample::select(&GOLDEN[..]),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        end in any::<proptest::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = output.as_bytes().to_vec();
        for (index, byte) in damage {
            *index.get_mut(&mut bytes) = byte;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(report) = parse(&bytes) {
            prop_assert!(report.values.iter().all(|(_, value)| value.is_finite()));
            let _ = (report.identity.name(), report.is_asleep(), health(&report));
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (parse(&bytes), parse_scan(&bytes));
    }
}
