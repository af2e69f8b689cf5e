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
    for name in ["scsi_pending_defects", "scsi_nonmedium_error"] {
        report.add_at(name, document, &format!("/{name}/count"));
    }
}

/// Returns the drive's own description of its failure.
pub(super) fn failure(document: &Value) -> Option<String> {
    let status = document.pointer("/smart_status/scsi")?;
    let said = status.get("ie_string").and_then(text);
    let code = |name: &str| status.get(name).and_then(number);
    said.or_else(|| Some(format!("additional sense code {}, qualifier {}", code("asc")?, code("ascq")?)))
}
