//! Temperature of a drive, and the limits that the drive itself states.

use serde_json::Value;

use super::SmartReport;
use super::fields::number;
use crate::metric;

/// Temperature sensors report these where they have no reading.
const NO_TEMPERATURE: [f64; 2] = [0.0, 255.0];
/// Highest temperature of continuous operation: of ATA drives by SCT or device statistics, of NVMe drives WCTEMP, of
/// Seagate drives by FARM.
const WARNING: [&str; 4] = [
    "/temperature/op_limit_max",
    "/nvme_composite_temperature_threshold/warning",
    "/seagate_farm_log/page_4_environment_statistics/max_temp",
    "/seagate_farm_log/environment_statistics/specified_max_operating_temperature",
];
/// Highest temperature at all: of ATA drives by SCT, of NVMe drives CCTEMP, of SCSI drives the reference temperature.
const CRITICAL: [&str; 4] = [
    "/temperature/limit_max",
    "/temperature/critical_limit_max",
    "/nvme_composite_temperature_threshold/critical",
    "/temperature/drive_trip",
];

/// Highest temperature that the drive has had.
const HIGHEST: [&str; 3] = [
    "/temperature/lifetime_max",
    "/seagate_farm_log/page_4_environment_statistics/highest_temp",
    "/seagate_farm_log/environment_statistics/highest_temperature",
];

/// Adds the temperature and the highest one, the drive's own limits, and its kind, on which the limits of drives that state none depend.
pub(super) fn add(report: &mut SmartReport, document: &Value) {
    let celsius = document.pointer("/temperature/current").and_then(number);
    if let Some(celsius) = celsius.filter(|celsius| !NO_TEMPERATURE.contains(celsius)) {
        report.add("DiskTemp", celsius);
    }
    let stated = [("DiskTempWarning", &WARNING[..]), ("DiskTempCritical", &CRITICAL), ("DiskTempHighest", &HIGHEST)];
    for (metric_type, places) in stated {
        // Firmware fills what it does not know with 0, -1 or 127.
        let is_possible =
            |celsius: &f64| metric::lookup(metric_type).is_some_and(|kind| (kind.min..=kind.max).contains(celsius));
        let mut stated = places.iter().filter_map(|place| document.pointer(place).and_then(number));
        if let Some(celsius) = stated.find(is_possible) {
            report.add(metric_type, celsius);
        }
    }
    if let Some(rotational) = report.identity.labels.get("rotational") {
        let is_flash = rotational == "false";
        report.add("IsFlash", f64::from(u8::from(is_flash)));
    }
}
