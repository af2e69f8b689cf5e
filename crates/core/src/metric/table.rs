//! Rows of the metric table.

use super::{Limits, MetricKind, Unit};

const fn kind(name: &'static str, unit: Unit, min: f64, max: f64, help: &'static str) -> MetricKind {
    MetricKind { name, unit, min, max, limits: None, help }
}

const fn limited(kind: MetricKind, warning: f64, critical: f64, meaning: &'static str) -> MetricKind {
    MetricKind { limits: Some(Limits { warning, critical, meaning }), ..kind }
}

/// Largest count that a 64-bit float holds exactly.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

/// Largest value of a 128-bit counter, as NVMe has them.
const MAX_128: f64 = 3.5e38;

const fn count(name: &'static str, help: &'static str) -> MetricKind {
    kind(name, Unit::Count, 0.0, MAX_128, help)
}

/// Row of a raw SMART attribute without limits. Senders may store signed numbers.
const fn raw(name: &'static str, help: &'static str) -> MetricKind {
    kind(name, Unit::Count, -MAX_128, MAX_128, help)
}

/// All known metric types, sorted by name. Ranges are the possible values of a sensor, not the healthy ones.
/// Temperature limits follow drive data sheets (operating range up to 60 °C for disks, 70 °C for flash); the limits for
/// reallocated and pending sectors exclude the 9 % of a running fleet that has a few (Backblaze, 2013-04-10).
///
/// `smart_<id>_raw` are the names of Backblaze for raw SMART attributes. Only those with the same meaning for all vendors have
/// limits, which apply to the decoded value (see [`crate::reading`]).
pub const METRICS: &[MetricKind] = &[
    limited(
        kind("CapacityUsed", Unit::Percent, 0.0, 100.0, "share of the capacity in use"),
        85.0,
        95.0,
        "capacity is running out",
    ),
    limited(
        kind("DiskTemp", Unit::Celsius, -60.0, 200.0, "temperature of the device"),
        55.0,
        65.0,
        "hotter than the drive is specified for",
    ),
    kind("IOPs", Unit::PerSecond, 0.0, 1e12, "reads and writes completed per second"),
    limited(
        kind(
            "Latency",
            Unit::Milliseconds,
            0.0,
            86_400_000.0,
            "mean time of a completed read or write, queueing included",
        ),
        100.0,
        500.0,
        "requests wait too long",
    ),
    limited(
        kind("PendingSectors", Unit::Count, 0.0, MAX_COUNT, "sectors that could not be read and wait to be remapped"),
        1.0,
        100.0,
        "unreadable sectors",
    ),
    count("PowerCycles", "times that the device was switched on"),
    kind("PowerOnHours", Unit::Hours, 0.0, 1e7, "time in operation"),
    kind("QueueDepth", Unit::Count, 0.0, 1e9, "mean number of requests in flight"),
    kind("ReadThroughput", Unit::BytesPerSecond, 0.0, 1e15, "bytes read per second"),
    limited(
        kind("ReallocatedSectors", Unit::Count, 0.0, MAX_COUNT, "sectors replaced by spares since the drive was new"),
        50.0,
        1000.0,
        "the drive is using up its spare sectors",
    ),
    kind("Utilization", Unit::Percent, 0.0, 100.0, "share of the time the device was busy"),
    kind("WriteThroughput", Unit::BytesPerSecond, 0.0, 1e15, "bytes written per second"),
    kind("nvme_available_spare", Unit::Percent, 0.0, 255.0, "remaining spare capacity"),
    kind("nvme_available_spare_threshold", Unit::Percent, 0.0, 255.0, "spare capacity below which the drive warns"),
    count("nvme_controller_busy_time", "minutes in which the controller was busy"),
    count("nvme_critical_comp_time", "minutes at or above the critical temperature"),
    count("nvme_critical_warning", "bits of the critical warning, 0 if there is none"),
    count("nvme_data_units_read", "units of 512,000 bytes read"),
    count("nvme_data_units_written", "units of 512,000 bytes written"),
    count("nvme_host_reads", "read commands"),
    count("nvme_host_writes", "write commands"),
    limited(
        count("nvme_media_errors", "data that could not be read or written intact"),
        1.0,
        1000.0,
        "data errors of the medium",
    ),
    count("nvme_num_err_log_entries", "entries in the error log, requests that the host got wrong among them"),
    limited(
        kind("nvme_percentage_used", Unit::Percent, 0.0, 255.0, "used share of the rated endurance"),
        100.0,
        255.0,
        "the rated endurance is used up",
    ),
    count("nvme_power_cycles", "power cycles"),
    kind("nvme_power_on_hours", Unit::Hours, 0.0, MAX_128, "time in operation"),
    kind("nvme_temperature", Unit::Celsius, -300.0, 65_535.0, "composite temperature"),
    kind("nvme_temperature_sensor_1", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 1"),
    kind("nvme_temperature_sensor_2", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 2"),
    kind("nvme_temperature_sensor_3", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 3"),
    kind("nvme_temperature_sensor_4", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 4"),
    kind("nvme_temperature_sensor_5", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 5"),
    kind("nvme_temperature_sensor_6", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 6"),
    kind("nvme_temperature_sensor_7", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 7"),
    kind("nvme_temperature_sensor_8", Unit::Celsius, -300.0, 65_535.0, "temperature sensor 8"),
    count("nvme_unsafe_shutdowns", "shutdowns without notice"),
    count("nvme_warning_temp_time", "minutes at or above the warning temperature"),
    count("scsi_accumulated_load_unload_cycles", "load cycles"),
    count("scsi_accumulated_start_stop_cycles", "starts and stops"),
    limited(
        count("scsi_grown_defects", "sectors replaced by spares since the drive was new"),
        100.0,
        2000.0,
        "the drive is using up its spare sectors",
    ),
    count("scsi_nonmedium_error", "errors that are not of the medium"),
    limited(
        count("scsi_pending_defects", "sectors that could not be read and wait to be remapped"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    limited(
        kind(
            "scsi_percentage_used_endurance_indicator",
            Unit::Percent,
            0.0,
            255.0,
            "used share of the rated endurance",
        ),
        100.0,
        255.0,
        "the rated endurance is used up",
    ),
    count("scsi_read_correction_algorithm_invocations", "read: runs of the correction"),
    count("scsi_read_errors_corrected_by_eccdelayed", "read: errors corrected with delay"),
    count("scsi_read_errors_corrected_by_eccfast", "read: errors corrected without delay"),
    count("scsi_read_errors_corrected_by_rereads_rewrites", "read: errors corrected by repetition"),
    count("scsi_read_gigabytes_processed", "read: processed data in gigabytes"),
    count("scsi_read_total_errors_corrected", "read: corrected errors"),
    limited(
        count("scsi_read_total_uncorrected_errors", "read: errors that could not be corrected"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    count("scsi_verify_correction_algorithm_invocations", "verify: runs of the correction"),
    count("scsi_verify_errors_corrected_by_eccdelayed", "verify: errors corrected with delay"),
    count("scsi_verify_errors_corrected_by_eccfast", "verify: errors corrected without delay"),
    count("scsi_verify_errors_corrected_by_rereads_rewrites", "verify: errors corrected by repetition"),
    count("scsi_verify_gigabytes_processed", "verify: processed data in gigabytes"),
    count("scsi_verify_total_errors_corrected", "verify: corrected errors"),
    limited(
        count("scsi_verify_total_uncorrected_errors", "verify: errors that could not be corrected"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    count("scsi_write_correction_algorithm_invocations", "write: runs of the correction"),
    count("scsi_write_errors_corrected_by_eccdelayed", "write: errors corrected with delay"),
    count("scsi_write_errors_corrected_by_eccfast", "write: errors corrected without delay"),
    count("scsi_write_errors_corrected_by_rereads_rewrites", "write: errors corrected by repetition"),
    count("scsi_write_gigabytes_processed", "write: processed data in gigabytes"),
    count("scsi_write_total_errors_corrected", "write: corrected errors"),
    limited(
        count("scsi_write_total_uncorrected_errors", "write: errors that could not be corrected"),
        10.0,
        500.0,
        "unwritable sectors",
    ),
    raw("smart_10_raw", "SMART 10, spin-up retries"),
    raw("smart_11_raw", "SMART 11, recalibration retries"),
    raw("smart_12_raw", "SMART 12, power cycles"),
    raw("smart_160_raw", "SMART 160, uncorrectable sectors on reading and writing"),
    raw("smart_161_raw", "SMART 161, valid spare blocks"),
    raw("smart_163_raw", "SMART 163, initial bad blocks"),
    raw("smart_164_raw", "SMART 164, total erases"),
    raw("smart_165_raw", "SMART 165, most erases of a block"),
    raw("smart_166_raw", "SMART 166, fewest erases of a block"),
    raw("smart_167_raw", "SMART 167, average erases of a block"),
    raw("smart_168_raw", "SMART 168, rated erases of a block, or SATA link errors"),
    raw("smart_169_raw", "SMART 169, remaining life, or bad blocks"),
    raw("smart_170_raw", "SMART 170, reserved blocks in use"),
    raw("smart_171_raw", "SMART 171, program failures"),
    raw("smart_172_raw", "SMART 172, erase failures"),
    raw("smart_173_raw", "SMART 173, wear leveling"),
    raw("smart_174_raw", "SMART 174, unexpected power losses"),
    raw("smart_175_raw", "SMART 175, power loss protection"),
    raw("smart_177_raw", "SMART 177, wear leveling"),
    raw("smart_178_raw", "SMART 178, used reserve blocks of a chip"),
    raw("smart_179_raw", "SMART 179, used reserve blocks"),
    raw("smart_180_raw", "SMART 180, unused reserve blocks"),
    raw("smart_181_raw", "SMART 181, program failures, or unaligned accesses"),
    raw("smart_182_raw", "SMART 182, erase failures"),
    raw("smart_183_raw", "SMART 183, SATA downshifts, or runtime bad blocks"),
    raw("smart_184_raw", "SMART 184, end-to-end errors"),
    raw("smart_187_raw", "SMART 187, reported uncorrectable errors"),
    raw("smart_188_raw", "SMART 188, command timeouts"),
    raw("smart_189_raw", "SMART 189, high fly writes"),
    limited(
        kind("smart_190_raw", Unit::Celsius, -60.0, MAX_COUNT, "SMART 190, airflow temperature"),
        55.0,
        65.0,
        "hotter than the drive is specified for",
    ),
    raw("smart_191_raw", "SMART 191, shock"),
    raw("smart_192_raw", "SMART 192, emergency head retracts, or unsafe shutdowns"),
    raw("smart_193_raw", "SMART 193, load cycles"),
    limited(
        kind("smart_194_raw", Unit::Celsius, -60.0, MAX_COUNT, "SMART 194, temperature"),
        55.0,
        65.0,
        "hotter than the drive is specified for",
    ),
    raw("smart_195_raw", "SMART 195, errors corrected by ECC"),
    raw("smart_196_raw", "SMART 196, reallocation events"),
    limited(
        kind("smart_197_raw", Unit::Count, 0.0, MAX_COUNT, "SMART 197, current pending sectors"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    limited(
        kind("smart_198_raw", Unit::Count, 0.0, MAX_COUNT, "SMART 198, offline uncorrectable sectors"),
        10.0,
        500.0,
        "unreadable sectors",
    ),
    raw("smart_199_raw", "SMART 199, CRC errors of the interface"),
    raw("smart_1_raw", "SMART 1, read error rate"),
    raw("smart_200_raw", "SMART 200, write error rate"),
    raw("smart_201_raw", "SMART 201, soft read errors"),
    raw("smart_202_raw", "SMART 202, remaining life, or data address mark errors"),
    raw("smart_220_raw", "SMART 220, disk shift"),
    kind("smart_222_raw", Unit::Hours, -MAX_128, MAX_128, "SMART 222, loaded hours"),
    raw("smart_223_raw", "SMART 223, load retries"),
    raw("smart_224_raw", "SMART 224, load friction"),
    raw("smart_225_raw", "SMART 225, load cycles, or written data"),
    raw("smart_226_raw", "SMART 226, load-in time"),
    raw("smart_22_raw", "SMART 22, helium level"),
    raw("smart_231_raw", "SMART 231, remaining life, or temperature"),
    raw("smart_232_raw", "SMART 232, available reserved space"),
    raw("smart_233_raw", "SMART 233, media wearout"),
    raw("smart_234_raw", "SMART 234, average erases"),
    raw("smart_235_raw", "SMART 235, power loss protection, or good blocks"),
    kind("smart_240_raw", Unit::Hours, -MAX_128, MAX_128, "SMART 240, head flying hours"),
    raw("smart_241_raw", "SMART 241, sectors written"),
    raw("smart_242_raw", "SMART 242, sectors read"),
    raw("smart_246_raw", "SMART 246, sectors written"),
    raw("smart_247_raw", "SMART 247, program pages of the host"),
    raw("smart_248_raw", "SMART 248, program pages of the controller"),
    raw("smart_249_raw", "SMART 249, written data"),
    raw("smart_254_raw", "SMART 254, free fall events"),
    raw("smart_2_raw", "SMART 2, throughput performance"),
    raw("smart_3_raw", "SMART 3, spin-up time"),
    raw("smart_4_raw", "SMART 4, starts and stops"),
    limited(
        kind("smart_5_raw", Unit::Count, 0.0, MAX_COUNT, "SMART 5, reallocated sectors"),
        50.0,
        2000.0,
        "the drive is using up its spare sectors",
    ),
    raw("smart_7_raw", "SMART 7, seek error rate"),
    raw("smart_8_raw", "SMART 8, seek time performance"),
    kind("smart_9_raw", Unit::Hours, -MAX_128, MAX_128, "SMART 9, time in operation"),
    count("smart_error_log_entries", "errors that the drive has logged"),
    limited(
        kind("smart_failed", Unit::Count, 0.0, 1.0, "1 if the drive reports that it fails"),
        0.5,
        1.0,
        "the drive reports that it fails",
    ),
    limited(
        kind("smart_self_tests_failed", Unit::Count, 0.0, 1000.0, "failed self-tests that no later one clears"),
        1.0,
        1000.0,
        "a self-test has failed",
    ),
    kind("smart_standby", Unit::Count, 0.0, 1.0, "1 if the drive was asleep and therefore not read"),
    limited(
        kind("smart_usage_at_threshold", Unit::Count, 0.0, 255.0, "usage attributes at their threshold"),
        1.0,
        255.0,
        "an attribute of usage or age is at its threshold",
    ),
];
