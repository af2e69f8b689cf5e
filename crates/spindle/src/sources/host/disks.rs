//! Disks among the block devices of a machine, and their description.

use std::fs;
use std::path::{Path, PathBuf};

use spindle_core::Labels;
use spindle_core::wire::MAX_LABEL_BYTES;

use super::problems::{Problem, Problems};

/// Name prefixes of block devices that are backed by memory or files, and floppies.
const NOT_DISKS: [&str; 4] = ["loop", "ram", "zram", "fd"];

/// A disk: a whole device, not a partition, with a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// The kernel's name, such as `sda`.
    pub(super) name: String,
    /// Its directory in sysfs.
    pub(super) path: PathBuf,
    /// More than 0.
    pub(super) capacity_bytes: u64,
}

/// Lists the disks of the machine by name: devices backed by hardware, and software RAID. Leaves out device-mapper
/// devices, since their activity shows on the disks beneath, the hidden paths of a multipath NVMe disk, and drives
/// without a medium.
pub(super) fn discover(sys: &Path, problems: &mut Problems) -> Vec<Disk> {
    let directory = sys.join("block");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) => {
            problems.note(Problem::unreadable(&directory, error));
            return Vec::new();
        }
    };
    let mut disks = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_disk(&name, &entry.path()) {
            continue;
        }
        match capacity_bytes(&entry.path()) {
            Ok(0) => {}
            Ok(capacity_bytes) => disks.push(Disk { name, path: entry.path(), capacity_bytes }),
            Err(problem) => problems.note(problem),
        }
    }
    disks.sort_by(|one, other| one.name.cmp(&other.name));
    disks
}

fn is_disk(name: &str, path: &Path) -> bool {
    let kind = name.trim_end_matches(|ch: char| ch.is_ascii_digit());
    let is_hidden = attribute(path, "hidden").is_some_and(|hidden| hidden == "1");
    let is_raid = name.starts_with("md");
    !NOT_DISKS.contains(&kind) && !is_hidden && (is_raid || path.join("device").exists())
}

fn capacity_bytes(path: &Path) -> Result<u64, Problem> {
    let path = path.join("size");
    let text = fs::read_to_string(&path).map_err(|error| Problem::unreadable(&path, error))?;
    let sectors: Option<u64> = text.trim().parse().ok();
    sectors
        .and_then(|sectors| sectors.checked_mul(512))
        .ok_or_else(|| Problem::unparsable(&path, &text, "a number of sectors"))
}

impl Disk {
    /// Returns the usual name: sysfs writes a `/` inside a name as `!`.
    pub(super) fn display_name(&self) -> String {
        self.name.replace('!', "/")
    }

    /// Describes the disk, as far as sysfs does so without root.
    pub(super) fn labels(&self, hostname: &str) -> Labels {
        let rotational = attribute(&self.path, "queue/rotational").and_then(|text| match text.as_str() {
            "0" => Some("false".to_owned()),
            "1" => Some("true".to_owned()),
            _ => None,
        });
        let known = [
            ("host", Some(hostname.to_owned())),
            ("class", Some("BlockDevice".to_owned())),
            ("capacity_bytes", Some(self.capacity_bytes.to_string())),
            ("model", attribute(&self.path, "device/model").or_else(|| attribute(&self.path, "device/name"))),
            ("serial", self.serial()),
            ("rotational", rotational),
        ];
        known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Reads the serial number: virtio keeps it with the disk, NVMe and MMC with the device, SCSI in page 0x80 of the
    /// vital product data, after a header of four bytes.
    fn serial(&self) -> Option<String> {
        attribute(&self.path, "serial").or_else(|| attribute(&self.path, "device/serial")).or_else(|| {
            let page = fs::read(self.path.join("device/vpd_pg80")).ok()?;
            printable(page.get(4..)?)
        })
    }
}

/// Reads the text of a sysfs file; `None` if it is absent or empty.
fn attribute(path: &Path, name: &str) -> Option<String> {
    printable(&fs::read(path.join(name)).ok()?)
}

/// Turns the arbitrary bytes that drives report about themselves into text that fits a label, if any is left.
fn printable(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    for ch in String::from_utf8_lossy(bytes).trim_matches(|ch: char| ch.is_whitespace() || ch == '\0').chars() {
        if text.len() + ch.len_utf8() > MAX_LABEL_BYTES {
            break;
        }
        if !ch.is_control() {
            text.push(ch);
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_drive_says_of_itself_becomes_a_label() {
        assert_eq!(printable(b"  ST8000NM0055-1RM   \n"), Some("ST8000NM0055-1RM".into()));
        assert_eq!(printable(b"\0\0  \n"), None);
        assert_eq!(printable(b"a\x1b[2Jb\xff").as_deref(), Some("a[2Jb\u{fffd}"));
        assert_eq!(printable("ü".repeat(200).as_bytes()).map(|text| text.len()), Some(256));
    }
}
