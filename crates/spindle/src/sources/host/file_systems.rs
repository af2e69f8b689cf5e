//! File systems of a machine, and their usage. Each is asked by its mount point, so that no device node is needed: ZFS
//! datasets have none, and a container does not have those of its volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use spindle_core::Labels;
use spindle_core::wire::MAX_LABEL_BYTES;

use super::mounts::{self, Mount};
use super::patience::{Asked, Patience};
use super::problems::{Problem, ProblemKind, Problems};
use super::roots::Roots;
use super::sysfs::{attribute, names};

/// Maximum number of device-mapper layers followed down to the disk.
const MAX_LAYERS: usize = 8;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Its mount point.
    pub(super) mount_point: String,
    /// Its type, such as `ext4`.
    kind: String,
    /// The kernel's name of the disk it is on, if it is one disk of this machine.
    disk: Option<String>,
    /// Dataset or server, if it is not a device.
    origin: Option<String>,
}

/// Usage of a file system.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Usage {
    /// Used space in percent, as `df` does: space reserved for root counts neither as used nor as available.
    UsedPercent(f64),
    /// The file system has no blocks of its own.
    NoBlocks,
    /// The mount point is a single file.
    File,
    /// An automount point that is not mounted any more.
    Changed,
    /// No answer in time.
    Hangs,
}

/// Result of asking one file system.
pub(super) type UsageReading = Result<Usage, String>;

impl FileSystem {
    /// Describes the file system.
    pub(super) fn labels(&self, hostname: &str) -> Labels {
        let known = [
            ("host", Some(hostname)),
            ("class", Some("FileSystem")),
            ("mount", Some(self.mount_point.as_str())),
            ("fs", Some(self.kind.as_str())),
            ("disk", self.disk.as_deref()),
            ("origin", self.origin.as_deref()),
        ];
        let fits = |value: &&str| value.len() <= MAX_LABEL_BYTES;
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.filter(fits)?.to_owned()))).collect()
    }
}

/// Measures each file system that is storage once, at its first mount point that is a directory and not hidden. Bind
/// mounts and subvolumes share its space and add nothing. Notes once what was left out.
pub(super) fn measure(
    roots: &Roots,
    patience: &mut Patience<UsageReading>,
    problems: &mut Problems,
) -> Vec<(FileSystem, f64)> {
    let path = roots.proc.join("self/mountinfo");
    let table = match fs::read(&path) {
        Ok(table) => table,
        Err(error) => {
            problems.note(Problem::unreadable(&path, error));
            return Vec::new();
        }
    };
    let mounts = mounts::parse(&table, &path, problems);
    let (mut storage, others): (Vec<&Mount>, Vec<&Mount>) =
        mounts.iter().partition(|mount| mount.not_storage().is_none());
    note_left_out(&others, problems);
    storage.retain(|mount| mounts::is_visible(&mounts, mount));
    storage.sort_by_key(|mount| mount.is_remote());
    patience.renew();
    let (mut settled, mut files) = (BTreeSet::new(), BTreeMap::new());
    let mut measured = Vec::new();
    for mount in storage {
        if settled.contains(&mount.number) {
            continue;
        }
        match ask(mount, patience, problems) {
            Some(Usage::UsedPercent(percent)) => {
                measured.extend(file_system(roots, mount, problems).map(|file_system| (file_system, percent)));
            }
            Some(Usage::NoBlocks) => note_one_left_out(mount, "it has no blocks", problems),
            Some(Usage::Hangs) => {}
            // Containers bind single files from the host's disk; another mount point may be a directory.
            Some(Usage::File) => {
                files.entry(&mount.number).or_insert(mount);
                continue;
            }
            Some(Usage::Changed) | None => continue,
        }
        settled.insert(&mount.number);
    }
    for (_, mount) in files.into_iter().filter(|(number, _)| !settled.contains(number)) {
        note_one_left_out(mount, "only single files of it are mounted", problems);
    }
    measured
}

fn note_one_left_out(mount: &Mount, cause: &str, problems: &mut Problems) {
    let target = mount.target.display().to_string();
    let message = format!("file system at {target} ({}) left out: {cause}", mount.kind);
    problems.note_once(Problem::new(ProblemKind::LeftOut, target, message));
}

fn note_left_out(others: &[&Mount], problems: &mut Problems) {
    let mut left_out: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for mount in others {
        left_out.entry(mount.not_storage().unwrap_or_default()).or_default().insert(&mount.kind);
    }
    for (reason, kinds) in left_out {
        let kinds: Vec<_> = kinds.into_iter().collect();
        let message = format!("mounts that are not storage: {} ({reason})", kinds.join(", "));
        problems.note_once(Problem::new(ProblemKind::LeftOut, format!("mounts {reason}"), message));
    }
}

/// Asks for the usage of a mount; `None` if there is no answer, which is noted.
fn ask(mount: &Mount, patience: &mut Patience<UsageReading>, problems: &mut Problems) -> Option<Usage> {
    let target = mount.target.clone();
    let subject = target.display().to_string();
    let (answer, error) = match patience.ask(&subject, move || usage(&target)) {
        Asked::Answer(Ok(usage)) => return Some(usage),
        Asked::Answer(Err(error)) => (None, error),
        Asked::Hangs => {
            let error = format!("no answer from {} ({}); left out until it comes", mount.source, mount.kind);
            (Some(Usage::Hangs), error)
        }
        Asked::NoTime => return None,
    };
    problems.note(Problem::unreadable(&mount.target, error));
    answer
}

/// Reads the usage of what is mounted on `target`. An automount point that is not mounted stays so: opening a path
/// without access to the file, unlike `statvfs`, does not mount it.
fn usage(target: &Path) -> UsageReading {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::open(target, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let kind = rustix::fs::fstatfs(&file).map_err(|error| error.to_string())?.f_type;
    if kind == AUTOFS_MAGIC {
        return Ok(Usage::Changed);
    }
    let status = rustix::fs::fstat(&file).map_err(|error| error.to_string())?;
    if !rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir() {
        return Ok(Usage::File);
    }
    let space = rustix::fs::fstatvfs(&file).map_err(|error| error.to_string())?;
    used(space.f_blocks, space.f_bfree, space.f_bavail)
}

/// Computes the usage from all blocks, those that are free, and those that users may still take.
fn used(blocks: u64, free: u64, available: u64) -> UsageReading {
    if free > blocks {
        return Err(format!("says that {free} of {blocks} blocks are free"));
    }
    // Some servers let users take less than nothing, which arrives as a huge number.
    let available = if available > free { 0 } else { available };
    let (used, available) = ((blocks - free) as f64, available as f64);
    let total = used + available;
    Ok(if total > 0.0 { Usage::UsedPercent(used / total * 100.0) } else { Usage::NoBlocks })
}

/// `AUTOFS_SUPER_MAGIC` of Linux.
const AUTOFS_MAGIC: rustix::fs::FsWord = 0x0187;

fn file_system(roots: &Roots, mount: &Mount, problems: &mut Problems) -> Option<FileSystem> {
    let Some(mount_point) = mount.target.to_str() else {
        let place = mount.target.display().to_string();
        problems.note(Problem::new(ProblemKind::BadName, place.clone(), format!("mount point {place} is not UTF-8")));
        return None;
    };
    let device = block_device(&roots.sys, mount);
    let disk = device.as_deref().and_then(|device| disk_beneath(&roots.sys, device));
    let origin = device.is_none().then(|| mount.source.clone()).filter(|source| !source.is_empty());
    Some(FileSystem { mount_point: mount_point.to_owned(), kind: mount.kind.clone(), disk, origin })
}

/// Returns the kernel's name of the mounted block device: by its number, or (btrfs has one of its own) by its node.
fn block_device(sys: &Path, mount: &Mount) -> Option<String> {
    let by_number = sys.join("dev/block").join(&mount.number).canonicalize().ok();
    if let Some(name) = by_number.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()) {
        return Some(name.to_owned());
    }
    let node = mount.source.strip_prefix("/dev/")?;
    if let Some(volume) = node.strip_prefix("mapper/") {
        let class = sys.join("class/block");
        return names(&class)
            .into_iter()
            .find(|name| attribute(&class.join(name), "dm/name").as_deref() == Some(volume));
    }
    class_directory(sys, node).map(|_| node.to_owned())
}

fn class_directory(sys: &Path, name: &str) -> Option<PathBuf> {
    sys.join("class/block").join(name).canonicalize().ok()
}

/// Finds the disk of a block device: the device, the disk it is a partition of, or the only one beneath a
/// device-mapper volume.
fn disk_beneath(sys: &Path, name: &str) -> Option<String> {
    let mut name = name.to_owned();
    for _ in 0..MAX_LAYERS {
        let directory = class_directory(sys, &name)?;
        if directory.join("partition").exists() {
            return Some(directory.parent()?.file_name()?.to_str()?.to_owned());
        }
        if !name.starts_with("dm-") {
            return Some(name);
        }
        let slaves = names(&directory.join("slaves"));
        let [slave] = slaves.as_slice() else { return None };
        name.clone_from(slave);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_is_that_of_df_and_nonsense_is_none() {
        for (space, percent) in [
            ((100, 50, 45), 50.0 / 95.0 * 100.0),
            ((100, 5, 0), 100.0),
            ((100, 5, u64::MAX - 4), 100.0),
            ((100, 100, 100), 0.0),
            ((u64::MAX, 0, 0), 100.0),
        ] {
            assert_eq!(used(space.0, space.1, space.2), Ok(Usage::UsedPercent(percent)), "{space:?}");
        }
        assert_eq!(used(0, 0, 0), Ok(Usage::NoBlocks));
        assert_eq!(used(100, u64::MAX, 0), Err(format!("says that {} of 100 blocks are free", u64::MAX)));
    }
}
