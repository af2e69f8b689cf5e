//! Mount table, `/proc/self/mounts` (fstab(5), with octal escapes).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::problems::{Problem, ProblemKind, Problems};

/// File systems whose server may be gone; a call to one then hangs.
const NETWORK: [&str; 13] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "afs", "lustre", "glusterfs", "beegfs", "gfs2", "ocfs2"];

/// Read-only images, which are always full.
const IMAGES: [&str; 5] = ["squashfs", "iso9660", "udf", "erofs", "cramfs"];

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Mounted object: a device node, a server, or any word.
    pub(super) source: PathBuf,
    /// Mount point.
    pub(super) target: PathBuf,
    /// Type of file system, such as `ext4`.
    pub(super) kind: String,
}

impl Mount {
    fn is_network(&self) -> bool {
        NETWORK.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.")
    }

    fn is_candidate(&self) -> bool {
        self.source.starts_with("/dev") && !self.is_network() && !IMAGES.contains(&self.kind.as_str())
    }
}

/// Parses the table; counts malformed lines.
pub(super) fn parse(table: &[u8], path: &Path, problems: &mut Problems) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for line in table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse_line(line) {
            Some(mount) => mounts.push(mount),
            None => problems.note(Problem::unparsable(
                path,
                &String::from_utf8_lossy(line),
                "source, target and type of a mount",
            )),
        }
    }
    mounts
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').map(unescape);
    let (source, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let complete = !source.is_empty() && target.starts_with(b"/") && !kind.is_empty();
    complete.then(|| Mount {
        source: OsString::from_vec(source).into(),
        target: OsString::from_vec(target).into(),
        kind: String::from_utf8_lossy(&kind).into_owned(),
    })
}

/// Decodes escapes: three octal digits after a backslash are one byte (`\040` is a space). Anything else is kept.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// Selects the mounts whose usage can be read: of a device node, not an image, not hidden beneath a later mount on the
/// same target, and not reached through a network file system, where resolving the path may hang.
pub(super) fn candidates<'a>(mounts: &'a [Mount], problems: &mut Problems) -> Vec<&'a Mount> {
    let mut candidates = Vec::new();
    for (index, mount) in mounts.iter().enumerate().filter(|(_, mount)| mount.is_candidate()) {
        let is_hidden = mounts[index + 1..].iter().any(|later| later.target == mount.target);
        let network = mounts.iter().find(|other| other.is_network() && mount.target.starts_with(&other.target));
        match network {
            _ if is_hidden => {}
            None => candidates.push(mount),
            Some(network) => {
                let message = format!(
                    "{} left out: it is reached through {} ({}), which may hang",
                    mount.target.display(),
                    network.target.display(),
                    network.kind
                );
                problems.note(Problem::new(ProblemKind::Unreadable, message));
            }
        }
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(table: &str) -> (Vec<String>, u64) {
        let mut problems = Problems::default();
        let mounts = parse(table.as_bytes(), Path::new("mounts"), &mut problems);
        let targets =
            candidates(&mounts, &mut problems).iter().map(|mount| mount.target.display().to_string()).collect();
        (targets, problems.n_total())
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"/my\040disk\134x\011"), b"/my disk\\x\t");
        assert_eq!(unescape(br"\999\04\"), br"\999\04\");
        assert_eq!(unescape(br"\303\274"), "ü".as_bytes());
    }

    #[test]
    fn only_local_devices_are_asked() {
        let table = "proc /proc proc rw 0 0\n\
            /dev/vda1 / ext4 rw 0 0\n\
            /dev/loop3 /snap/core squashfs ro 0 0\n\
            /dev/sr0 /media/cd iso9660 ro 0 0\n\
            server:/export /net nfs4 rw 0 0\n\
            /dev/sdb1 /net/scratch xfs rw 0 0\n\
            user@host:/ /ssh fuse.sshfs rw 0 0\n\
            //server/share /smb cifs rw 0 0\n\
            /dev/drbd0 /cluster gfs2 rw 0 0\n\
            /dev/sdc1 /hidden ext4 rw 0 0\n\
            tmpfs /hidden tmpfs rw 0 0\n\
            /devices /odd ext4 rw 0 0\n\
            /dev/sdd1 /my\\040data ext4 rw 0 0\n\
            nonsense\n\n";
        assert_eq!(targets(table), (vec!["/".to_owned(), "/my data".to_owned()], 2));
    }
}
