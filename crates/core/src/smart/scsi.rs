//! SCSI and SAS drives: error counters, defects and cycles, as metrics `scsi_<field>`.

use serde_json::Value;

use super::SmartReport;
use super::fields::{number, numbers, text};

const COUNTERS: &str = "/scsi_error_counter_log";
const CYCLES: &str = "/scsi_start_stop_cycle_counter";
/// Numbers that describe the drive and never change.
const CONSTANT: [&str; 4] = [
    "scsi_version",
    "scsi_protection_type",
    "scsi_protection_interval_bytes_per_lb",
    "scsi_extended_self_test_seconds",
];
const BACKGROUND_SCAN: &str = "/scsi_background_scan";
/// States of a scan that was halted: a fatal error, a pattern of errors, no list of defects, or a cause of the vendor.
/// Halts because of the temperature end on their own.
const HALTED: std::ops::RangeInclusive<u64> = 3..=6;
/// States of a defect that is still there: to be written or reassigned, or not reassigned by drive or application.
const UNRESOLVED: [u64; 3] = [1, 4, 8];
/// Metric of the grown defect list.
const GROWN_DEFECTS: &str = "scsi_grown_defects";

/// Adds counters of SCSI, also those that this version does not know.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    report.add_at(GROWN_DEFECTS, document, "/scsi_grown_defect_list");
    for direction in ["read", "write", "verify"] {
        let Some(counters) = document.pointer(COUNTERS).and_then(|log| log.get(direction)) else { continue };
        for (name, value) in numbers(counters) {
            report.add(&format!("scsi_{direction}_{name}"), value);
        }
    }
    if let Some(cycles) = document.pointer(CYCLES) {
        let counted = numbers(cycles).filter(|(name, _)| name.starts_with("accumulated_"));
        counted.for_each(|(name, value)| report.add(&format!("scsi_{name}"), value));
    }
    // Revisions and versions are texts, even if they consist of digits.
    for (name, value) in numbers(document).filter(|(name, _)| document.get(name).is_some_and(Value::is_number)) {
        if name.starts_with("scsi_") && name != "scsi_grown_defect_list" && !CONSTANT.contains(&name) {
            report.add(name, value);
        }
    }
    add_background_scan(report, document);
    for name in ["scsi_pending_defects", "scsi_nonmedium_error"] {
        report.add_at(name, document, &format!("/{name}/count"));
    }
}

/// Adds the results of the scan that the drive makes of itself in the background.
fn add_background_scan(report: &mut SmartReport, document: &Value) {
    let Some(scan) = document.pointer(BACKGROUND_SCAN).and_then(Value::as_object) else { return };
    if let Some(status) = scan.get("status") {
        report.add_at("scsi_background_scans", status, "/number_scans_performed");
        if let Some(state) = status.get("value").and_then(Value::as_u64) {
            report.add("scsi_background_scan_halted", f64::from(u8::from(HALTED.contains(&state))));
        }
    }
    let found: Vec<&Value> = scan.iter().filter(|(name, _)| name.starts_with("result_")).map(|(_, row)| row).collect();
    let is_open = |row: &&&Value| {
        let state = row.pointer("/reassign_status/value").and_then(Value::as_u64);
        state.is_some_and(|state| UNRESOLVED.contains(&state))
    };
    report.add("scsi_background_scan_defects", found.len() as f64);
    report.add("scsi_background_scan_unresolved", found.iter().filter(is_open).count() as f64);
}

/// Returns the drive's own description of its failure.
pub(super) fn failure(document: &Value) -> Option<String> {
    let status = document.pointer("/smart_status/scsi")?;
    let said = status.get("ie_string").and_then(text);
    let code = |name: &str| status.get(name).and_then(number);
    said.or_else(|| Some(format!("additional sense code {}, qualifier {}", code("asc")?, code("ascq")?)))
}
