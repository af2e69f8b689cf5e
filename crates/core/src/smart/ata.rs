//! ATA drives: the attribute table and the error log.

use serde_json::Value;

use super::SmartReport;
use super::fields::{number, rows, text};

const TABLE: &str = "/ata_smart_attributes/table";

/// Adds raw and normalized value of each attribute, attributes at their threshold, and the number of logged errors.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    for row in rows(document, TABLE) {
        let Some(id) = id(row) else { continue };
        if let Some(raw) = raw(row) {
            report.add(&format!("smart_{id}_raw"), raw);
        }
        report.add_at(&format!("smart_{id}_normalized"), row, "/value");
    }
    if document.pointer(TABLE).is_some() {
        let n_worn = rows(document, TABLE).filter(|row| is_failing(row) && !is_prefailure(row)).count();
        report.add("smart_usage_at_threshold", n_worn as f64);
    }
    let log = ["/ata_smart_error_log/extended/count", "/ata_smart_error_log/summary/count"];
    if let Some(count) = log.iter().find_map(|pointer| document.pointer(pointer).and_then(number)) {
        report.add("smart_error_log_entries", count);
    }
}

/// Describes the pre-failure attributes that are at or below their threshold now.
pub(super) fn failing_now(document: &Value) -> Vec<String> {
    let failing = rows(document, TABLE).filter(|row| is_failing(row) && is_prefailure(row));
    let described = failing.filter_map(|row| {
        let name = row.get("name").and_then(text).unwrap_or_else(|| "unnamed".to_owned());
        let (value, threshold) = (number(row.get("value")?)?, number(row.get("thresh")?)?);
        Some(format!("{} {name} is {value}, threshold {threshold}", id(row)?))
    });
    described.collect()
}

fn id(row: &Value) -> Option<u64> {
    row.get("id")?.as_u64().filter(|id| (1..=255).contains(id))
}

/// Returns the raw value; from the text, which may explain it, if the number is missing.
fn raw(row: &Value) -> Option<f64> {
    row.pointer("/raw/value").and_then(number).or_else(|| {
        let text = row.pointer("/raw/string")?.as_str()?.trim_start();
        let digits = text.find(|ch: char| !ch.is_ascii_digit()).map_or(text, |end| &text[..end]);
        digits.parse().ok()
    })
}

fn is_failing(row: &Value) -> bool {
    row.get("when_failed").and_then(Value::as_str) == Some("now")
}

fn is_prefailure(row: &Value) -> bool {
    row.pointer("/flags/prefailure").and_then(Value::as_bool) == Some(true)
}
