//! Local file systems of a machine, and their usage.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spindle_core::Labels;
use spindle_core::wire::MAX_LABEL_BYTES;

use super::mounts::{self, Mount};
use super::problems::{Problem, ProblemKind, Problems};
use super::roots::Roots;

/// Maximum number of device-mapper layers followed down to the disk.
const MAX_LAYERS: usize = 8;

/// A mounted file system on a block device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Its mount point.
    pub(super) mount_point: String,
    /// Its type, such as `ext4`.
    kind: String,
    /// The kernel's name of the disk it is on, if it is one disk.
    disk: Option<String>,
}

impl FileSystem {
    /// Describes the file system.
    pub(super) fn labels(&self, hostname: &str) -> Labels {
        let known = [
            ("host", Some(hostname)),
            ("class", Some("FileSystem")),
            ("mount", Some(self.mount_point.as_str())),
            ("fs", Some(self.kind.as_str())),
            ("disk", self.disk.as_deref()),
        ];
        let fits = |value: &&str| value.len() <= MAX_LABEL_BYTES;
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.filter(fits)?.to_owned()))).collect()
    }
}

/// Lists each file system on a block device of this machine once, at its first mount point. Bind mounts and
/// subvolumes share its space and add nothing.
pub(super) fn discover(roots: &Roots, problems: &mut Problems) -> Vec<FileSystem> {
    let path = roots.proc.join("self/mounts");
    let table = match fs::read(&path) {
        Ok(table) => table,
        Err(error) => {
            problems.note(Problem::unreadable(&path, error));
            return Vec::new();
        }
    };
    let mounts = mounts::parse(&table, &path, problems);
    let mut seen = BTreeSet::new();
    let mut file_systems = Vec::new();
    for mount in mounts::candidates(&mounts, problems) {
        let Some(device) = block_device(roots, mount) else { continue };
        // In containers, single files are bind-mounted from the host's disk.
        if seen.contains(&device) || fs::metadata(&mount.target).is_ok_and(|metadata| !metadata.is_dir()) {
            continue;
        }
        let Some(mount_point) = mount.target.to_str() else {
            let message = format!("mount point {} is not UTF-8", mount.target.display());
            problems.note(Problem::new(ProblemKind::BadName, message));
            continue;
        };
        let disk = disk_beneath(&roots.sys, &device);
        file_systems.push(FileSystem { mount_point: mount_point.to_owned(), kind: mount.kind.clone(), disk });
        seen.insert(device);
    }
    file_systems
}

/// Returns the used space in percent, as `df` does: space reserved for root counts neither as used nor as available.
/// `None` for a file system without blocks.
pub(super) fn used_percent(file_system: &FileSystem) -> Result<Option<f64>, Problem> {
    let path = Path::new(&file_system.mount_point);
    let status = rustix::fs::statvfs(path).map_err(|error| Problem::unreadable(path, error))?;
    let used = status.f_blocks.saturating_sub(status.f_bfree) as f64;
    let available = status.f_bavail as f64;
    Ok((used + available > 0.0).then(|| used / (used + available) * 100.0))
}

/// Returns the kernel's name of the mounted block device, if the source is one of this machine.
fn block_device(roots: &Roots, mount: &Mount) -> Option<String> {
    let node = match mount.source.to_str() {
        // The source if the kernel mounted the root itself; there is no such node.
        Some("/dev/root") => {
            let device = fs::metadata(&mount.target).ok()?.dev();
            let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
            roots.sys.join("dev/block").join(number).canonicalize().ok()?
        }
        _ => roots.dev.join(mount.source.strip_prefix("/dev").ok()?).canonicalize().ok()?,
    };
    let name = node.file_name()?.to_str()?;
    class_directory(&roots.sys, name).is_some().then(|| name.to_owned())
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
        let mut slaves = fs::read_dir(directory.join("slaves")).ok()?.flatten();
        let slave = slaves.next()?.file_name().into_string().ok()?;
        if slaves.next().is_some() {
            return None;
        }
        name = slave;
    }
    None
}
