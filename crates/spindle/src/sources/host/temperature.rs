//! Temperatures of the drives, from the hwmon sensors of `drivetemp` (SATA, SAS) and `nvme`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use spindle_core::metric;

use super::drives::Drive;
use super::patience::{Asked, Patience};
use super::problems::{Problem, ProblemKind, Problems};
use super::sysfs::{attribute, names};

/// Drivers whose `temp1` is the temperature of a disk.
const DRIVERS: [&str; 2] = ["drivetemp", "nvme"];
/// Readings at or beyond these are a sensor's word for "none": 0 K of NVMe, -128, 127 and 255 °C of a byte.
const NO_READING_BELOW: f64 = -60.0;
const NO_READING_FROM: f64 = 127.0;

/// Temperature of a drive in °C, and its own limits if they were read and it states them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DriveTemperature {
    pub(super) current: f64,
    pub(super) warning: Option<f64>,
    pub(super) critical: Option<f64>,
}

/// Result of reading one sensor.
pub(super) type SensorReading = Result<DriveTemperature, Problem>;

/// Reads the temperature of each drive with a sensor, by device. A sensor is a command to the drive, which a failing one
/// may never answer; so may be the limits, which are read only if asked for.
pub(super) fn of_drives(
    sys: &Path,
    drives: &[Drive],
    with_limits: bool,
    patience: &mut Patience<SensorReading>,
    problems: &mut Problems,
) -> BTreeMap<String, DriveTemperature> {
    let mut temperatures = BTreeMap::new();
    patience.renew();
    // Absent on machines without sensors, such as virtual ones.
    let directory = sys.join("class/hwmon");
    for sensor in names(&directory).into_iter().map(|name| directory.join(name)).filter(|path| is_disk_sensor(path)) {
        let Ok(device) = sensor.join("device").canonicalize() else { continue };
        let measured: Vec<&Drive> = drives.iter().filter(|drive| belongs(drive, &device)).collect();
        let Some(first) = measured.first() else { continue };
        let subject = sensor.join("temp1_input").display().to_string();
        let outcome = patience.ask(&subject, move || read(&sensor, with_limits));
        match outcome {
            Asked::Answer(Ok(temperature)) if is_reading(temperature.current) => {
                for drive in measured {
                    temperatures.entry(drive.device.clone()).or_insert(temperature);
                }
            }
            Asked::Answer(Ok(DriveTemperature { current: celsius, .. })) => {
                let message = format!("DiskTemp of {} left out: {celsius} °C means no reading", first.device);
                problems.note_once(Problem::new(ProblemKind::NotKept, subject, message));
            }
            Asked::Answer(Err(problem)) => problems.note(problem),
            Asked::Hangs => {
                problems.note(Problem::unreadable(Path::new(&subject), "no answer; left out until it comes"))
            }
            Asked::NoTime => {}
        }
    }
    temperatures
}

fn is_reading(celsius: f64) -> bool {
    celsius > NO_READING_BELOW && celsius < NO_READING_FROM
}

fn is_disk_sensor(sensor: &Path) -> bool {
    attribute(sensor, "name").is_some_and(|name| DRIVERS.contains(&name.as_str()))
}

/// Returns true if the sensor's device is that of a path to the drive, the controller above it, or (NVMe with
/// multipath) one of the controllers that the disk's subsystem lists.
fn belongs(drive: &Drive, sensor_device: &Path) -> bool {
    drive.paths.iter().any(|disk| {
        let Ok(device) = disk.path.join("device").canonicalize() else { return false };
        let listed = |name| -> Option<PathBuf> { device.join(name).canonicalize().ok() };
        device.starts_with(sensor_device)
            || sensor_device.file_name().and_then(listed).is_some_and(|path| path == sensor_device)
    })
}

/// Reads a sensor, and the limits of its drive: WCTEMP and CCTEMP of NVMe, those of SCT of others.
fn read(sensor: &Path, with_limits: bool) -> SensorReading {
    let limit = |name: &str, metric_type: &str| {
        let celsius = if with_limits { celsius(&sensor.join(name)).ok() } else { None };
        // Drives without a limit report 0 K, -1 or 127 °C.
        celsius
            .filter(|celsius| metric::lookup(metric_type).is_some_and(|kind| (kind.min..=kind.max).contains(celsius)))
    };
    Ok(DriveTemperature {
        current: celsius(&sensor.join("temp1_input"))?,
        warning: limit("temp1_max", "DiskTempWarning"),
        critical: limit("temp1_crit", "DiskTempCritical"),
    })
}

/// Reads a value in °C; hwmon counts in millidegrees.
fn celsius(path: &Path) -> Result<f64, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::unreadable(path, error))?;
    match text.trim().parse::<i64>() {
        Ok(millidegrees) => Ok(millidegrees as f64 / 1e3),
        Err(_) => Err(Problem::unparsable(path, &text, "millidegrees")),
    }
}
