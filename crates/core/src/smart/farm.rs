//! FARM log of Seagate drives: the drive's own bookkeeping, which a reset of the SMART attributes leaves as it is.

use serde_json::Value;

use super::SmartReport;
use super::fields::number;

const LOG: &str = "/seagate_farm_log";
/// Field of an ATA drive, field of a SAS drive (empty if it has none), and metric.
const FIELDS: [(&str, &str, &str); 16] = [
    ("page_1_drive_information/poh", "drive_information/power_on_hour", "smart_farm_power_on_hours"),
    ("page_1_drive_information/spoh", "", "smart_farm_spindle_hours"),
    ("page_1_drive_information/head_flight_hours", "", "smart_farm_head_flying_hours"),
    ("page_1_drive_information/head_load_events", "", "smart_farm_head_loads"),
    (
        "page_3_error_statistics/number_of_unrecoverable_read_errors",
        "error_statistics/unrecoverable_read_errors",
        "smart_farm_unrecoverable_reads",
    ),
    (
        "page_3_error_statistics/number_of_unrecoverable_write_errors",
        "error_statistics/unrecoverable_write_errors",
        "smart_farm_unrecoverable_writes",
    ),
    ("page_3_error_statistics/number_of_reallocated_sectors", "", "smart_farm_reallocated_sectors"),
    ("page_3_error_statistics/number_of_reallocated_candidate_sectors", "", "smart_farm_reallocation_candidates"),
    ("page_3_error_statistics/number_of_read_recovery_attempts", "", "smart_farm_read_recoveries"),
    (
        "page_3_error_statistics/number_of_mechanical_start_failures",
        "error_statistics/number_of_mechanical_start_failures",
        "smart_farm_start_failures",
    ),
    ("page_3_error_statistics/attr_spin_retry_count", "", "smart_farm_spin_retries"),
    ("page_3_error_statistics/number_of_ioedc_errors", "", "smart_farm_end_to_end_errors"),
    ("page_3_error_statistics/command_time_out_count_total", "", "smart_farm_command_timeouts"),
    ("page_3_error_statistics/total_crc_errors", "", "smart_farm_crc_errors"),
    ("page_3_error_statistics/total_flash_led_errors", "", "smart_farm_firmware_asserts"),
    (
        "page_5_reliability_statistics/helium_presure_trip",
        "reliability_statistics/helium_pressure_threshold_tripped",
        "smart_farm_helium_low",
    ),
];
/// Sections of a SAS drive, one for each actuator, and their fields.
const ACTUATOR: &str = "actuator_reallocation_information_";
const BY_ACTUATOR: [(&str, &str); 2] = [
    ("number_of_reallocated_sectors", "smart_farm_reallocated_sectors"),
    ("number_of_reallocated_candidate_sectors", "smart_farm_reallocation_candidates"),
];

/// Adds the fields about the state of a drive.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    let Some(log) = document.pointer(LOG) else { return };
    for (of_ata, of_sas, metric_type) in FIELDS {
        let found = [of_ata, of_sas].iter().find_map(|path| log.pointer(&format!("/{path}")).and_then(number));
        if let Some(value) = found {
            report.add(metric_type, value);
        }
    }
    let actuators = || log.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with(ACTUATOR));
    for (field, metric_type) in BY_ACTUATOR {
        let counts: Vec<f64> = actuators().filter_map(|(_, section)| number(section.get(field)?)).collect();
        if !counts.is_empty() {
            report.add(metric_type, counts.iter().sum());
        }
    }
}
