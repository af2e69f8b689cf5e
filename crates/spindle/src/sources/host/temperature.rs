//! Temperatures of the disks, from the hwmon sensors of `drivetemp` (SATA, SAS) and `nvme`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::disks::Disk;
use super::problems::{Problem, Problems};

/// Drivers whose `temp1` is the temperature of a disk.
const DRIVERS: [&str; 2] = ["drivetemp", "nvme"];

/// Reads the temperature in °C of each disk with a sensor, by the kernel's name of the disk.
pub(super) fn of_disks(sys: &Path, disks: &[Disk], problems: &mut Problems) -> BTreeMap<String, f64> {
    let mut temperatures = BTreeMap::new();
    // Absent on machines without sensors, such as virtual ones.
    let Ok(entries) = fs::read_dir(sys.join("class/hwmon")) else { return temperatures };
    for sensor in entries.flatten().map(|entry| entry.path()).filter(|path| is_disk_sensor(path)) {
        let Ok(device) = sensor.join("device").canonicalize() else { continue };
        let measured: Vec<&Disk> = disks.iter().filter(|disk| belongs(disk, &device)).collect();
        if measured.is_empty() {
            continue;
        }
        match read(&sensor.join("temp1_input")) {
            Ok(celsius) => temperatures.extend(measured.iter().map(|disk| (disk.name.clone(), celsius))),
            Err(problem) => problems.note(problem),
        }
    }
    temperatures
}

fn is_disk_sensor(sensor: &Path) -> bool {
    fs::read_to_string(sensor.join("name")).is_ok_and(|name| DRIVERS.contains(&name.trim()))
}

/// Returns true if the sensor's device is the disk's device, the controller above it, or (NVMe with multipath) one of
/// the controllers that the disk's subsystem lists.
fn belongs(disk: &Disk, sensor_device: &Path) -> bool {
    let Ok(device) = disk.path.join("device").canonicalize() else { return false };
    let listed = |name| -> Option<PathBuf> { device.join(name).canonicalize().ok() };
    device.starts_with(sensor_device)
        || sensor_device.file_name().and_then(listed).is_some_and(|path| path == sensor_device)
}

/// Reads a sensor; hwmon counts in millidegrees.
fn read(path: &Path) -> Result<f64, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::unreadable(path, error))?;
    match text.trim().parse::<i64>() {
        Ok(millidegrees) => Ok(millidegrees as f64 / 1e3),
        Err(_) => Err(Problem::unparsable(path, &text, "millidegrees")),
    }
}
