//! Files that are replaced whole or not at all, readable by our own user only.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Replaces a file atomically, with mode 0600. When it returns, the content and the name are on disk: the file and its
/// directory are synced.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// Replaces a file like [`write`] with what `fill` writes. If that fails, the former file stays.
pub(crate) fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let draft = path.with_added_extension("new");
    let filled = fill_draft(&draft, fill);
    if filled.is_err() {
        // Its space may be what is missing.
        let _ = std::fs::remove_file(&draft);
    }
    filled?;
    std::fs::rename(&draft, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn fill_draft(draft: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    // A draft left by a crash keeps its mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    fill(&mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_private_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let (path, draft) = (folder.path().join("a.json"), folder.path().join("a.json.new"));
        std::fs::write(&path, "old").unwrap();
        std::fs::write(&draft, "left by a crash").unwrap();
        std::fs::set_permissions(&draft, Permissions::from_mode(0o666)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!draft.exists());
        assert!(write(&folder.path().join("missing/a.json"), b"").is_err());
    }
}
