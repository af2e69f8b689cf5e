//! NVMe drives: the health log, each field of which is a metric `nvme_<field>`.

use serde_json::Value;

use super::SmartReport;
use super::fields::{number, numbers, rows};

const LOG: &str = "/nvme_smart_health_information_log";
/// Bits of the critical warning, from the lowest.
const WARNINGS: [&str; 6] = [
    "the spare is below its threshold",
    "a temperature is outside its limits",
    "the reliability is degraded by media or internal errors",
    "the medium is read-only",
    "the backup of the volatile memory has failed",
    "the persistent memory region is unreliable",
];

const ERROR_LOG: &str = "/nvme_error_information_log";
/// Type of status codes: errors of media and of data integrity.
const MEDIA_ERRORS: u64 = 2;

/// Adds the errors of media and data among the entries of the error log, most of which are requests that the host got
/// wrong, and the fields of the health log, also those that this version does not know.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    if let Some(log) = document.pointer(ERROR_LOG) {
        let kind = |row: &Value| row.pointer("/status_field/status_code_type").and_then(Value::as_u64);
        let n_media = rows(log, "/table").filter(|row| kind(row) == Some(MEDIA_ERRORS)).count();
        report.add("nvme_logged_media_errors", n_media as f64);
    }
    let Some(log) = document.pointer(LOG) else { return };
    for (name, value) in numbers(log) {
        report.add(&format!("nvme_{name}"), value);
    }
    for (sensor, value) in (1..).zip(rows(log, "/temperature_sensors")) {
        if let Some(celsius) = number(value) {
            report.add(&format!("nvme_temperature_sensor_{sensor}"), celsius);
        }
    }
    report.add_at("smart_error_log_entries", log, "/num_err_log_entries");
}

/// Describes the bits of the critical warning; `None` if none is set.
pub(super) fn warnings(document: &Value) -> Option<String> {
    let places = ["/nvme_smart_health_information_log/critical_warning", "/smart_status/nvme/value"];
    let bits = places.iter().find_map(|pointer| document.pointer(pointer)?.as_u64()).filter(|bits| *bits != 0)?;
    let set = WARNINGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, warning)| *warning);
    let known: Vec<_> = set.collect();
    Some(if known.is_empty() { format!("critical warning {bits:#x}") } else { known.join(", ") })
}
