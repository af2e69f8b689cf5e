//! Mount table, `/proc/self/mountinfo` (proc(5), with octal escapes): the mounts that can be seen at their mount point,
//! and which of them are storage.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::problems::{Problem, Problems};

/// File systems that are not storage, by the reason.
const NOT_STORAGE: [(&str, &[&str]); 3] = [
    (
        "views of the kernel",
        &[
            "proc",
            "sysfs",
            "cgroup",
            "cgroup2",
            "cpuset",
            "debugfs",
            "tracefs",
            "securityfs",
            "configfs",
            "pstore",
            "efivarfs",
            "bpf",
            "mqueue",
            "devpts",
            "binfmt_misc",
            "fusectl",
            "selinuxfs",
            "smackfs",
            "nsfs",
            "pidfs",
            "sockfs",
            "pipefs",
            "rpc_pipefs",
            "nfsd",
            "autofs",
            "resctrl",
            "xenfs",
            "functionfs",
            "fuse.lxcfs",
            "fuse.portal",
            "fuse.gvfsd-fuse",
        ],
    ),
    ("memory", &["tmpfs", "ramfs", "devtmpfs", "hugetlbfs", "rootfs"]),
    (
        "views of other file systems",
        &[
            "overlay",
            "aufs",
            "unionfs",
            "ecryptfs",
            "shiftfs",
            "fuse.mergerfs",
            "fuse.overlayfs",
            "fuse-overlayfs",
            "fuse.fuse-overlayfs",
            "fuse.unionfs",
            "fuse.unionfs-fuse",
            "fuse.bindfs",
            "fuse.encfs",
            "fuse.gocryptfs",
        ],
    ),
];
/// Read-only images, which are always full.
const IMAGES: [&str; 8] =
    ["squashfs", "iso9660", "erofs", "cramfs", "romfs", "fuse.squashfuse", "fuse.squashfuse_ll", "fuse.snapfuse"];
/// End of the type of a program's image, which has the name of the program's file.
const APP_IMAGE: &str = ".appimage";
/// File systems of another machine or a user's program, asked last.
const REMOTE: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "9p",
    "afs",
    "lustre",
    "glusterfs",
    "beegfs",
    "gfs2",
    "ocfs2",
    "virtiofs",
];

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    id: u64,
    parent: u64,
    /// Number of the file system, `major:minor`; one for all its bind mounts and subvolumes.
    pub(super) number: String,
    /// Mount point.
    pub(super) target: PathBuf,
    /// Type of file system, such as `ext4`.
    pub(super) kind: String,
    /// Mounted object: a device node, a server, a dataset, or any word.
    pub(super) source: String,
    is_read_only: bool,
}

impl Mount {
    /// Returns true if a server or a program answers for the file system.
    pub(super) fn is_remote(&self) -> bool {
        REMOTE.contains(&self.kind.as_str()) || self.kind.starts_with("fuse.")
    }

    /// Returns the reason why the file system is not storage; `None` if it is.
    pub(super) fn not_storage(&self) -> Option<&'static str> {
        let is_app_image = self.kind.to_ascii_lowercase().ends_with(APP_IMAGE);
        if IMAGES.contains(&self.kind.as_str()) || is_app_image || (self.kind == "udf" && self.is_read_only) {
            return Some("read-only images");
        }
        if self.kind == "zfs" && self.source.contains('@') {
            return Some("snapshots");
        }
        NOT_STORAGE.iter().find(|(_, kinds)| kinds.contains(&self.kind.as_str())).map(|(reason, _)| *reason)
    }
}

/// Parses the table; counts malformed lines.
pub(super) fn parse(table: &[u8], path: &Path, problems: &mut Problems) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for line in table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse_line(line) {
            Some(mount) => mounts.push(mount),
            None => problems.note(Problem::unparsable(path, &String::from_utf8_lossy(line), "the fields of a mount")),
        }
    }
    mounts
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = || Some(std::str::from_utf8(fields.next()?).ok()?.to_owned());
    let (id, parent, number) = (text()?.parse().ok()?, text()?.parse().ok()?, text()?);
    let _root = fields.next()?;
    let target = unescape(fields.next()?);
    // Options, then any number of optional fields up to a hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let source = String::from_utf8_lossy(&unescape(fields.next()?)).into_owned();
    let options = fields.next().unwrap_or_default();
    let is_read_only = options.split(|byte| *byte == b',').any(|option| option == b"ro");
    let complete = number.contains(':') && target.starts_with(b"/") && !kind.is_empty();
    let target = OsString::from_vec(target).into();
    complete.then_some(Mount { id, parent, number, target, kind, source, is_read_only })
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

/// Returns true if a path reaches the mount: any other mount at or above its mount point must be one that it is mounted
/// on, otherwise that one hides it.
pub(super) fn is_visible(mounts: &[Mount], mount: &Mount) -> bool {
    let above = ancestors(mounts, mount);
    let covers = |other: &Mount| mount.target.starts_with(&other.target);
    mounts.iter().all(|other| other.id == mount.id || above.contains(&other.id) || !covers(other))
}

/// Returns the ids of the mounts that a mount is mounted on, directly or not.
fn ancestors(mounts: &[Mount], mount: &Mount) -> Vec<u64> {
    let mut found = Vec::new();
    let mut parent = mount.parent;
    while let Some(above) = mounts.iter().find(|other| other.id == parent && !found.contains(&other.id)) {
        found.push(above.id);
        parent = above.parent;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(table: &str) -> (Vec<Mount>, u64) {
        let mut problems = Problems::default();
        (parse(table.as_bytes(), Path::new("mountinfo"), &mut problems), problems.n_total())
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"/my\040disk\134x\011"), b"/my disk\\x\t");
        assert_eq!(unescape(br"\999\04\"), br"\999\04\");
        assert_eq!(unescape(br"\303\274"), "ü".as_bytes());
    }

    #[test]
    fn lines_with_any_number_of_optional_fields_are_read() {
        let (mounts, n_bad) = parsed(
            "36 35 98:0 /a /my\\040data rw,noatime master:1 shared:2 - ext3 /dev/root ro,errors=continue\n\
             37 35 0:47 / /tank/data rw - zfs tank/data rw,xattr\n\
             torn\n38 35 0:48 / /x rw shared:1 ext4 no hyphen\n",
        );
        assert_eq!(n_bad, 2);
        assert_eq!((mounts[0].target.to_str(), mounts[0].number.as_str()), (Some("/my data"), "98:0"));
        assert!(mounts[0].is_read_only);
        assert_eq!((mounts[1].kind.as_str(), mounts[1].source.as_str()), ("zfs", "tank/data"));
    }

    #[test]
    fn mounts_hidden_by_others_are_not_seen() {
        let (mounts, _) = parsed(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
             2 1 8:2 / /srv rw - ext4 /dev/sda2 rw\n\
             3 2 8:3 / /srv/a rw - ext4 /dev/sda3 rw\n\
             4 2 8:4 / /srv rw - ext4 /dev/sda4 rw\n\
             5 4 8:5 / /srv/b rw - ext4 /dev/sda5 rw\n\
             6 1 0:9 / /auto rw - autofs systemd-1 rw\n\
             7 6 8:6 / /auto rw - ext4 /dev/sda6 rw\n",
        );
        let seen: Vec<_> = mounts.iter().filter(|mount| is_visible(&mounts, mount)).map(|mount| mount.id).collect();
        assert_eq!(seen, [1, 4, 5, 7]);
    }

    #[test]
    fn types_tell_what_is_storage() {
        let (mounts, _) = parsed(
            "1 0 0:1 / /a rw - zfs tank/data rw\n2 0 0:2 / /b rw - tmpfs tmpfs rw\n3 0 0:3 / /c rw - overlay o rw\n\
             4 0 0:4 / /d rw - udf /dev/sr0 ro\n5 0 0:5 / /e rw - udf /dev/sdb rw\n6 0 0:6 / /f rw - nfs4 s:/x rw\n\
             7 0 0:7 / /g rw - newfs whatever rw\n8 0 0:8 / /h rw - fuse.sshfs u@h:/ rw\n\
             9 0 0:9 / /a/.zfs/snapshot/x rw - zfs tank/data@x ro\n\
             10 0 0:10 / /i rw - fuse.nvim-0.9.AppImage nvim ro\n11 0 0:11 / /j rw - fuse.fuse-overlayfs o rw\n",
        );
        let storage: Vec<_> =
            mounts.iter().filter(|mount| mount.not_storage().is_none()).map(|mount| mount.id).collect();
        assert_eq!(storage, [1, 5, 6, 7, 8]);
        let remote: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.is_remote() && mount.not_storage().is_none())
            .map(|mount| mount.id)
            .collect();
        assert_eq!(remote, [6, 8]);
    }
}
