//! Outputs of invented drives.

use super::*;

const ATA: &str = include_str!("../../tests/golden/smartctl/ata.json");
const NVME: &str = include_str!("../../tests/golden/smartctl/nvme.json");
const SAS: &str = include_str!("../../tests/golden/smartctl/sas.json");

fn parsed(text: &str) -> SmartReport {
    parse(text.as_bytes()).unwrap()
}

/// The output with one field replaced.
fn changed(text: &str, pointer: &str, value: serde_json::Value) -> SmartReport {
    let mut document: Value = serde_json::from_str(text).unwrap();
    *document.pointer_mut(pointer).unwrap() = value;
    parsed(&document.to_string())
}

#[test]
fn an_ata_drive_reports_every_attribute() {
    let report = parsed(ATA);
    assert_eq!(report.identity.name().as_deref(), Some("ACME_HD9000-1ABC_ZQ10047B"));
    assert_eq!(report.identity.wwn.as_deref(), Some("0x5000c500a1b2c3d4"));
    assert_eq!(report.identity.labels["rotational"], "true");
    for (metric, value) in [
        ("smart_5_raw", 16.0),
        ("smart_5_normalized", 98.0),
        ("smart_194_raw", 163_210_330_144.0),
        ("smart_194_normalized", 68.0),
        ("DiskTemp", 32.0),
        ("PowerOnHours", 1730.5),
        ("PowerCycles", 9.0),
        ("smart_failed", 0.0),
        ("smart_error_log_entries", 2.0),
        ("smart_self_tests_failed", 1.0),
        ("smart_usage_at_threshold", 0.0),
    ] {
        assert_eq!(report.value(metric), Some(value), "{metric}");
    }
    // The later short test does not clear the extended one.
    assert_eq!(report.failed_self_test.as_deref(), Some("Extended offline: Completed: read failure at 1700 h"));
    assert_eq!((report.is_failed, report.failure.as_str()), (Some(false), ""));
}

#[test]
fn an_nvme_drive_reports_its_log_and_fields_of_a_newer_smartctl() {
    let report = parsed(NVME);
    assert_eq!(report.identity.name().as_deref(), Some("ACME_NV_1TB_S4XY0047123"));
    assert_eq!(report.identity.wwn.as_deref(), Some("eui.0025385b71b00a2d"));
    for (metric, value) in [
        ("nvme_percentage_used", 4.0),
        ("nvme_media_errors", 0.0),
        ("nvme_data_units_read", 9_511_859.0),
        ("nvme_temperature_sensor_2", 47.0),
        ("nvme_field_of_tomorrow", 7.0),
        ("smart_failed", 0.0),
    ] {
        assert_eq!(report.value(metric), Some(value), "{metric}");
    }
    assert_eq!(report.value("nvme_data_units_read_s"), None);
    let failing = changed(NVME, "/nvme_smart_health_information_log/critical_warning", 0x14.into());
    assert_eq!(failing.failure, "");
    let failing = changed(NVME, "/smart_status", serde_json::json!({"passed": false, "nvme": {"value": 9}}));
    assert_eq!(failing.is_failed, Some(true));
}

#[test]
fn the_reason_of_a_failure_names_the_bits() {
    let mut document: Value = serde_json::from_str(NVME).unwrap();
    document["smart_status"]["passed"] = false.into();
    document["nvme_smart_health_information_log"]["critical_warning"] = 0x14.into();
    let report = parsed(&document.to_string());
    assert!(report.failure.contains("reliability is degraded"), "{}", report.failure);
    assert!(report.failure.contains("backup of the volatile memory"), "{}", report.failure);
    assert_eq!(report.value("smart_failed"), Some(1.0));
}

#[test]
fn a_sas_drive_reports_its_counters() {
    let report = parsed(SAS);
    assert_eq!(report.identity.name().as_deref(), Some("EXOS47_WX10047B0000"));
    assert_eq!(report.identity.wwn.as_deref(), Some("0x5000c500d0e0f0a0"));
    for (metric, value) in [
        ("scsi_grown_defects", 3.0),
        ("scsi_read_total_uncorrected_errors", 1.0),
        ("scsi_read_gigabytes_processed", 1769.332),
        ("scsi_accumulated_start_stop_cycles", 45.0),
        ("smart_self_tests_failed", 0.0),
    ] {
        assert_eq!(report.value(metric), Some(value), "{metric}");
    }
    assert_eq!((report.value("scsi_version"), report.value("scsi_revision")), (None, None));
    assert_eq!(report.value("DiskTemp"), None, "0 °C is no reading");
}

#[test]
fn a_drive_states_its_own_limits_of_temperature() {
    let limits = |text: &str| {
        let report = parsed(text);
        ["DiskTempWarning", "DiskTempCritical", "IsFlash"].map(|name| report.value(name))
    };
    let drive = |fields: &str| limits(&format!(r#"{{"smartctl":{{}},"device":{{}},{fields}}}"#));
    // SCT of ATA drives, WCTEMP and CCTEMP of NVMe drives in both places, the reference temperature of SCSI drives.
    assert_eq!(
        drive(r#""rotation_rate":7200,"temperature":{"current":31,"op_limit_max":55,"limit_max":60}"#),
        [Some(55.0), Some(60.0), Some(0.0)]
    );
    assert_eq!(
        drive(r#""temperature":{"op_limit_max":82,"critical_limit_max":85},"rotation_rate":0"#),
        [Some(82.0), Some(85.0), Some(1.0)]
    );
    assert_eq!(
        drive(r#""nvme_composite_temperature_threshold":{"warning":82,"critical":85}"#),
        [Some(82.0), Some(85.0), None]
    );
    assert_eq!(drive(r#""temperature":{"current":34,"drive_trip":68}"#), [None, Some(68.0), None]);
    assert_eq!(drive(r#""temperature":{"op_limit_max":-1,"limit_max":127,"drive_trip":0}"#), [None, None, None]);
    assert_eq!(limits(NVME)[2], Some(1.0));
    assert_eq!(limits(ATA)[2], Some(0.0));
}

#[test]
fn the_exit_status_is_a_mask() {
    let with = |bits: u64| changed(ATA, "/smartctl/exit_status", bits.into());
    for bits in [0, 4, 32, 64, 128, 4 | 32 | 64 | 128] {
        assert_eq!(with(bits).is_failed, Some(false), "{bits}");
    }
    for bits in [8, 16, 8 | 16 | 64] {
        assert_eq!((with(bits).is_failed, with(bits).value("smart_failed")), (Some(true), Some(1.0)), "{bits}");
    }
    assert!(with(4).exit_status.is_incomplete() && with(2).exit_status.is_device_closed());
    assert!(with(1).exit_status.is_usage_error());
}

#[test]
fn an_attribute_at_its_threshold_fails_a_drive_that_claims_to_be_well() {
    let report = changed(ATA, "/ata_smart_attributes/table/1/when_failed", "now".into());
    assert_eq!(
        report.failure,
        "pre-failure attributes at their threshold: 5 Reallocated_Sector_Ct is 98, threshold 10"
    );
    let past = changed(ATA, "/ata_smart_attributes/table/1/when_failed", "past".into());
    assert_eq!(past.is_failed, Some(false));
    let usage = changed(ATA, "/ata_smart_attributes/table/2/when_failed", "now".into());
    assert_eq!((usage.is_failed, usage.value("smart_usage_at_threshold")), (Some(false), Some(1.0)));
}

#[test]
fn what_is_missing_or_of_another_type_is_absent() {
    let report = parsed(
        r#"{"smartctl":{"exit_status":"x"},"device":{"name":7},"ata_smart_attributes":{"table":[
        {"id":0,"raw":{"value":1}},{"id":300,"value":1},{"id":"5","value":1},7,null,
        {"id":9,"value":[],"raw":{"string":"1234h+05m"}},{"id":9,"raw":{"value":1}},
        {"id":12,"raw":{"value":"77"}}]},"temperature":{"current":"hot"},"serial_number":"\u0000"}"#,
    );
    let values: Vec<_> = report.values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(values, [("smart_9_raw", 1234.0), ("smart_12_raw", 77.0), ("smart_usage_at_threshold", 0.0)]);
    assert_eq!((report.identity.name(), report.is_failed), (None, None));
    for (text, error) in [("", "not JSON"), ("[1,", "not JSON"), ("{}", "not the output"), ("[]", "not the output")] {
        assert!(parse(text.as_bytes()).unwrap_err().to_string().contains(error), "{text}");
    }
}

#[test]
fn a_byte_that_is_not_utf_8_costs_no_value() {
    let mut bytes = ATA.replace("ACME HD9000-1ABC", "ACME @").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'@').unwrap();
    bytes[at] = 0xFF;
    let report = parse(&bytes).unwrap();
    assert_eq!(
        (report.identity.model.as_deref(), report.values.len()),
        (Some("ACME \u{fffd}"), parsed(ATA).values.len())
    );
}

#[test]
fn a_drive_in_standby_is_told_from_one_that_cannot_be_opened() {
    let said = |text: &str| {
        parsed(&format!(r#"{{"smartctl":{{"exit_status":2,"messages":[{{"string":"{text}"}}]}},"device":{{}}}}"#))
    };
    assert!(said("Device is in STANDBY mode, exit(2)").is_asleep());
    assert!(said("Device is in SLEEP mode, exit(2)").is_asleep());
    assert!(!said("Smartctl open device: /dev/sda failed: Permission denied").is_asleep());
}

#[test]
fn a_scan_lists_devices_with_their_types() {
    let scan =
        br#"{"smartctl":{},"devices":[{"name":"/dev/sda","type":"sat"},{"name":"/dev/bus/0","type":"megaraid,3"},
        {"name":"--all","type":"sat"},{"name":"/dev/sda","type":"sat"},{"name":"/dev/nvme0"}]}"#;
    let targets = parse_scan(scan).unwrap();
    let shown: Vec<_> = targets.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["/dev/sda (sat)", "/dev/bus/0 (megaraid,3)", "/dev/nvme0"]);
    assert_eq!(targets.iter().map(SmartTarget::is_behind_raid).collect::<Vec<_>>(), [false, true, false]);
}
