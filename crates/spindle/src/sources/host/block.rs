//! Disks among the block devices of a machine.
//!
//! A disk is a whole device with a medium that holds data of its own. The rule, by the device's nature:
//!
//! - hardware (sysfs links to a `device`), software RAID (`md`) and network block devices (`nbd`) are disks;
//! - optical drives (SCSI type 5), floppies, raw flash (`mtdblock`, `ubiblock`) and the boot, replay-protected and
//!   general-purpose areas of an MMC are not;
//! - devices on top of others (`slaves`: device-mapper, bcache) are not: their activity shows on the disks beneath;
//! - other virtual devices (loop, ram, zram, null_blk, drbd, ZFS volumes) are backed by memory, files or other disks;
//! - hidden devices are the paths of a multipath NVMe disk and belong to it;
//! - a device of size 0 has no medium, or is not connected.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::problems::{Problem, ProblemKind, Problems};
use super::sysfs::{attribute, names};

/// SCSI peripheral device type of CD and DVD drives.
const SCSI_OPTICAL: &str = "5";
/// Drivers of hardware that is not a disk, by the name without its number.
const NOT_DISKS: [&str; 5] = ["fd", "sr", "mtdblock", "ubiblock", "ram"];
/// Virtual devices that are disks all the same, by the beginning of the name.
const VIRTUAL_DISKS: [&str; 2] = ["md", "nbd"];

/// A whole device with a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// The kernel's name, such as `sda`.
    pub(super) name: String,
    /// Its directory in sysfs.
    pub(super) path: PathBuf,
    /// More than 0.
    pub(super) capacity_bytes: u64,
    /// Directories of the hidden devices that its requests pass through (multipath NVMe).
    pub(super) hidden_paths: Vec<PathBuf>,
}

impl Disk {
    /// Returns the usual name: sysfs writes a `/` inside a name as `!`.
    pub(super) fn display_name(&self) -> String {
        self.name.replace('!', "/")
    }
}

/// Reason why a block device is not a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NotADisk {
    Hidden,
    NotStorage,
    PartOfAnother,
    OnTopOfOthers,
    BackedByMemoryOrFiles,
    NoMedium,
}

impl NotADisk {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "paths of a multipath disk",
            Self::NotStorage => "optical drives, floppies and raw flash",
            Self::PartOfAnother => "areas of another disk",
            Self::OnTopOfOthers => "on top of other disks",
            Self::BackedByMemoryOrFiles => "backed by memory, files or other disks",
            Self::NoMedium => "without a medium",
        }
    }
}

/// Lists the disks of the machine by name. Notes once what was left out; `None` if the list cannot be read.
pub(super) fn discover(sys: &Path, problems: &mut Problems) -> Option<Vec<Disk>> {
    let directory = sys.join("block");
    if let Err(error) = fs::read_dir(&directory) {
        problems.note(Problem::unreadable(&directory, error));
        return None;
    }
    let all = names(&directory);
    let mut disks = Vec::new();
    let mut left_out: BTreeMap<NotADisk, Vec<&str>> = BTreeMap::new();
    for name in &all {
        let path = directory.join(name);
        match examine(name, &path) {
            Ok(Ok(capacity_bytes)) => {
                let hidden_paths = hidden_paths(&directory, name, &all);
                disks.push(Disk { name: name.clone(), path, capacity_bytes, hidden_paths });
            }
            Ok(Err(reason)) => left_out.entry(reason).or_default().push(name),
            Err(problem) => problems.note(problem),
        }
    }
    for (reason, names) in left_out {
        let message = format!("block devices that are not disks: {} ({})", names.join(", "), reason.as_str());
        problems.note_once(Problem::new(ProblemKind::LeftOut, format!("block {}", reason.as_str()), message));
    }
    Some(disks)
}

/// Returns the capacity of a disk in bytes, or the reason why a block device is not one.
fn examine(name: &str, path: &Path) -> Result<Result<u64, NotADisk>, Problem> {
    if let Some(reason) = nature(name, path) {
        return Ok(Err(reason));
    }
    Ok(match capacity_bytes(path)? {
        0 => Err(NotADisk::NoMedium),
        capacity_bytes => Ok(capacity_bytes),
    })
}

fn nature(name: &str, path: &Path) -> Option<NotADisk> {
    let kind = name.trim_end_matches(|ch: char| ch.is_ascii_digit());
    let is_virtual_disk = VIRTUAL_DISKS.iter().any(|prefix| name.starts_with(prefix));
    if attribute(path, "hidden").is_some_and(|hidden| hidden != "0") {
        return Some(NotADisk::Hidden);
    }
    if path.join("partition").exists() || is_mmc_area(name) || is_inside_another(path) {
        return Some(NotADisk::PartOfAnother);
    }
    if is_virtual_disk {
        return None;
    }
    if path.join("dm").exists() || !names(&path.join("slaves")).is_empty() {
        return Some(NotADisk::OnTopOfOthers);
    }
    if NOT_DISKS.contains(&kind) || attribute(path, "device/type").as_deref() == Some(SCSI_OPTICAL) {
        return Some(NotADisk::NotStorage);
    }
    (!path.join("device").exists()).then_some(NotADisk::BackedByMemoryOrFiles)
}

/// Returns true for `mmcblk0boot0`, `mmcblk0rpmb` and `mmcblk0gp1`.
fn is_mmc_area(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("mmcblk") else { return false };
    let area = rest.trim_start_matches(|ch: char| ch.is_ascii_digit());
    ["boot", "rpmb", "gp"].iter().any(|kind| area.starts_with(kind))
}

/// Returns true if the device's parent is a block device.
fn is_inside_another(path: &Path) -> bool {
    let Ok(parent) = path.join("device").canonicalize() else { return false };
    parent.join("queue").is_dir() && parent.join("stat").is_file()
}

fn capacity_bytes(path: &Path) -> Result<u64, Problem> {
    let path = path.join("size");
    let text = fs::read_to_string(&path).map_err(|error| Problem::unreadable(&path, error))?;
    let sectors: Option<u64> = text.trim().parse().ok();
    sectors
        .and_then(|sectors| sectors.checked_mul(512))
        .ok_or_else(|| Problem::unparsable(&path, &text, "a number of sectors"))
}

/// Finds the hidden paths of a multipath NVMe disk: `nvme0n1` has `nvme0c0n1`, `nvme0c1n1` and so on.
fn hidden_paths(directory: &Path, name: &str, all: &[String]) -> Vec<PathBuf> {
    let Some((subsystem, namespace)) = name.strip_prefix("nvme").and_then(|rest| rest.split_once('n')) else {
        return Vec::new();
    };
    let is_path = |candidate: &&String| {
        let parts = candidate.strip_prefix("nvme").and_then(|rest| rest.split_once('c'));
        let Some((of_subsystem, rest)) = parts else { return false };
        rest.split_once('n').is_some_and(|(_, of_namespace)| (of_subsystem, of_namespace) == (subsystem, namespace))
    };
    all.iter().filter(is_path).map(|path| directory.join(path)).collect()
}
