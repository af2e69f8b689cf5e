//! Logs beside the health log, of invented drives in the form of smartctl 7.4 and newer.

use serde_json::json;

use super::*;

fn values(sections: Value) -> SmartReport {
    let mut document = json!({"smartctl": {"exit_status": 0}, "device": {}});
    document.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
    parse(document.to_string().as_bytes()).unwrap()
}

fn check(report: &SmartReport, expected: &[(&str, Option<f64>)]) {
    for (metric_type, value) in expected {
        assert_eq!(report.value(metric_type), *value, "{metric_type}");
    }
}

#[test]
fn device_statistics_are_read_by_page_and_offset() {
    let row = |offset: u64, value: i64, valid: bool| json!({"offset": offset, "name": "of any version", "size": 4, "value": value, "flags": {"valid": valid}});
    let report = values(json!({"ata_device_statistics": {"pages": [
        {"number": 1, "name": "General Statistics", "table": [row(0x10, 5, true), row(0x40, 8, true)]},
        {"number": 3, "table": [row(8, 40_000, true), row(0x20, 12, true), row(0x28, 7, false), row(0x38, 3, true)]},
        {"number": 4, "table": [row(8, 2, true), row(0x10, 9, true)]},
        {"number": 5, "table": [row(0x50, 90, true)]},
        {"number": 7, "table": [row(8, 104, true)]},
        {"number": 255, "table": [row(8, 1, true), {"offset": "x"}, 7]},
        7,
    ]}}));
    check(
        &report,
        &[
            ("smart_stat_pending_errors", Some(8.0)),
            ("smart_stat_spindle_hours", Some(40_000.0)),
            ("smart_stat_reallocated_sectors", Some(12.0)),
            ("smart_stat_reallocation_candidates", Some(3.0)),
            ("smart_stat_read_recoveries", None),
            ("smart_stat_reported_uncorrectable", Some(2.0)),
            ("smart_stat_minutes_too_hot", Some(90.0)),
            ("smart_stat_percentage_used", Some(104.0)),
        ],
    );
    assert_eq!(report.values.len(), 7);
}

#[test]
fn the_farm_log_is_read_from_ata_and_sas_drives() {
    let ata = values(json!({"seagate_farm_log": {
        "supported": true,
        "page_1_drive_information": {"poh": 30_001, "spoh": 30_000, "head_flight_hours": 29_000, "heads": 10},
        "page_3_error_statistics": {
            "number_of_unrecoverable_read_errors": 2, "number_of_reallocated_sectors": 8,
            "number_of_reallocated_candidate_sectors": 1, "command_time_out_count_total": 4,
        },
        "page_4_environment_statistics": {"curent_temp": 31, "highest_temp": 47, "max_temp": 60},
        "page_5_reliability_statistics": {"helium_presure_trip": 0},
    }}));
    check(
        &ata,
        &[
            ("smart_farm_power_on_hours", Some(30_001.0)),
            ("smart_farm_spindle_hours", Some(30_000.0)),
            ("smart_farm_unrecoverable_reads", Some(2.0)),
            ("smart_farm_reallocated_sectors", Some(8.0)),
            ("smart_farm_reallocation_candidates", Some(1.0)),
            ("smart_farm_command_timeouts", Some(4.0)),
            ("smart_farm_helium_low", Some(0.0)),
            ("smart_farm_unrecoverable_writes", None),
            ("DiskTempHighest", Some(47.0)),
            ("DiskTempWarning", Some(60.0)),
        ],
    );
    let sas = values(json!({"seagate_farm_log": {
        "drive_information": {"power_on_hour": 700},
        "error_statistics": {"unrecoverable_read_errors": 0, "number_of_mechanical_start_failures": 1},
        "environment_statistics": {"highest_temperature": 44, "specified_max_operating_temperature": 60},
        "reliability_statistics": {"helium_pressure_threshold_tripped": 1},
        "actuator_reallocation_information_50":
            {"number_of_reallocated_sectors": 3, "number_of_reallocated_candidate_sectors": 0},
        "actuator_reallocation_information_51": {"number_of_reallocated_sectors": 4},
    }}));
    check(
        &sas,
        &[
            ("smart_farm_power_on_hours", Some(700.0)),
            ("smart_farm_reallocated_sectors", Some(7.0)),
            ("smart_farm_reallocation_candidates", Some(0.0)),
            ("smart_farm_start_failures", Some(1.0)),
            ("smart_farm_helium_low", Some(1.0)),
            ("DiskTempHighest", Some(44.0)),
            ("DiskTempWarning", Some(60.0)),
        ],
    );
    assert!(values(json!({"seagate_farm_log": {"supported": false}})).values.is_empty());
}

#[test]
fn media_errors_are_told_from_requests_that_were_wrong() {
    let entry = |kind: u64| json!({"error_count": 1, "status_field": {"value": 1, "status_code_type": kind}});
    let logged = |table: Value| values(json!({"nvme_error_information_log": {"size": 64, "read": 16, "table": table}}));
    let report = logged(json!([entry(0), entry(2), entry(1), entry(2), {"error_count": 3}, null]));
    assert_eq!(report.value("nvme_logged_media_errors"), Some(2.0));
    assert_eq!(
        values(json!({"nvme_error_information_log": {"size": 64}})).value("nvme_logged_media_errors"),
        Some(0.0)
    );
}

#[test]
fn a_background_scan_says_what_it_found_and_whether_it_goes_on() {
    let scan = |state: u64, results: &[u64]| {
        let mut section = json!({"status": {"value": state, "string": "…", "number_scans_performed": 31}});
        for (index, state) in results.iter().enumerate() {
            section[format!("result_{}", index + 1)] = json!({"lba": 7, "reassign_status": {"value": state}});
        }
        let report = values(json!({"scsi_background_scan": section}));
        ["scans", "scan_halted", "scan_defects", "scan_unresolved"]
            .map(|name| report.value(&format!("scsi_background_{name}")).unwrap())
    };
    assert_eq!(scan(1, &[]), [31.0, 0.0, 0.0, 0.0]);
    assert_eq!(scan(3, &[1, 2, 4, 5]), [31.0, 1.0, 4.0, 2.0]);
    assert_eq!(scan(7, &[8]), [31.0, 0.0, 1.0, 1.0], "too hot for now");
}
