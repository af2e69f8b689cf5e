//! The data directory: created private to our own user, checked before anything runs, locked by one `spindle up`.
//! It holds passwords and everything that outlives the process.

pub(crate) mod atomic_file;
mod private;
pub(crate) mod run_file;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
pub(crate) use private::{keep_new_files_private, make_private};

/// Less free space than this is used up within minutes.
pub(crate) const MIN_FREE_BYTES: u64 = 64 << 20;

/// Creates the data directory and checks that it is writable and its disk has room to work.
pub(crate) fn prepare(data_dir: &Path) -> Result<()> {
    let path = data_dir.display();
    create_private(data_dir)
        .with_context(|| format!("cannot create the data directory {path}: choose another with --data-dir"))?;
    write_and_remove(&data_dir.join(".write-test")).with_context(|| {
        format!("cannot write into the data directory {path}: free space, fix its permissions, or choose another with --data-dir")
    })?;
    let free_bytes = free_bytes(data_dir)?;
    ensure!(
        free_bytes >= MIN_FREE_BYTES,
        "the disk of the data directory {path} is full ({} MiB free, {} needed): free space or choose another with --data-dir",
        free_bytes >> 20,
        MIN_FREE_BYTES >> 20
    );
    Ok(())
}

/// Creates a directory with mode 0700, and missing ones above it. An existing one keeps its mode: an operator may have
/// opened it on purpose.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

/// Roles that start side by side in one directory may remove the file for each other.
fn write_and_remove(probe: &Path) -> io::Result<()> {
    std::fs::write(probe, [0; 4096])?;
    match std::fs::remove_file(probe) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns the bytes that an unprivileged user can still write there.
pub(crate) fn free_bytes(directory: &Path) -> Result<u64> {
    let space =
        rustix::fs::statvfs(directory).with_context(|| format!("cannot query the disk of {}", directory.display()))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Locks the data directory for one `spindle up`, until the file is dropped or the process ends.
pub(crate) fn lock(data_dir: &Path) -> Result<File> {
    lock_as(data_dir, "spindle.lock", "`spindle up`")
}

/// Locks the state of the detector in the data directory, like [`lock`].
pub(crate) fn lock_detector(data_dir: &Path) -> Result<File> {
    lock_as(data_dir, "detector.lock", "detector")
}

fn lock_as(data_dir: &Path, name: &str, whose: &str) -> Result<File> {
    let path = data_dir.join(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another {whose} already runs in {}: stop it, or choose another directory with --data-dir",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_start_side_by_side_can_all_write() {
        let folder = tempfile::tempdir().unwrap();
        let probe = folder.path().join("probe");
        let probe_often = || (0..2_000).try_for_each(|_| write_and_remove(&probe));
        std::thread::scope(|scope| {
            let roles = [(); 4].map(|()| scope.spawn(probe_often));
            for role in roles {
                role.join().unwrap().unwrap();
            }
        });
        assert!(write_and_remove(&folder.path().join("no/such/folder")).is_err());
    }
}
