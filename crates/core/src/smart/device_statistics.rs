//! Device statistics of ATA drives (log 04h): counts of the standard, alike for all vendors. Found by page and offset of
//! ACS-4, since names differ between versions of smartctl.

use serde_json::Value;

use super::SmartReport;
use super::fields::{number, rows};

const PAGES: &str = "/ata_device_statistics/pages";
/// Page, offset and metric of each statistic about the state of a drive.
const STATISTICS: [(u64, u64, &str); 14] = [
    (1, 0x40, "smart_stat_pending_errors"),
    (3, 0x08, "smart_stat_spindle_hours"),
    (3, 0x10, "smart_stat_head_flying_hours"),
    (3, 0x18, "smart_stat_head_loads"),
    (3, 0x20, "smart_stat_reallocated_sectors"),
    (3, 0x28, "smart_stat_read_recoveries"),
    (3, 0x30, "smart_stat_start_failures"),
    (3, 0x38, "smart_stat_reallocation_candidates"),
    (4, 0x08, "smart_stat_reported_uncorrectable"),
    (4, 0x18, "smart_stat_elements_changed"),
    (5, 0x50, "smart_stat_minutes_too_hot"),
    (6, 0x10, "smart_stat_link_recoveries"),
    (6, 0x18, "smart_stat_crc_errors"),
    (7, 0x08, "smart_stat_percentage_used"),
];

/// Adds the statistics that the drive keeps.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    for page in rows(document, PAGES) {
        let Some(page_number) = page.get("number").and_then(Value::as_u64) else { continue };
        for row in rows(page, "/table") {
            // The drive supports the statistic, but has no value yet.
            let is_valid = row.pointer("/flags/valid").and_then(Value::as_bool) != Some(false);
            let Some(offset) = row.get("offset").and_then(Value::as_u64).filter(|_| is_valid) else { continue };
            let known = STATISTICS.iter().find(|(page, place, _)| (*page, *place) == (page_number, offset));
            if let (Some((_, _, metric_type)), Some(value)) = (known, row.get("value").and_then(number)) {
                report.add(metric_type, value);
            }
        }
    }
}
