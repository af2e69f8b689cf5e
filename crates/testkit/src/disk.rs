//! A disk so small that a test can fill it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::skip::{missing_tool, not_checked};

/// A file system in memory, for as long as this lives.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts a disk of `size_bytes`. Returns `None`, with a line on stderr, without the permission to mount: not root,
    /// or a container without the privilege.
    ///
    /// # Errors
    /// In continuous integration, if there is no `mount`.
    pub fn mount(size_bytes: u64) -> Result<Option<SmallDisk>> {
        SmallDisk::mount_with(&format!("size={size_bytes}"))
    }

    /// Mounts a disk with the options of `mount -o`.
    pub fn mount_with(options: &str) -> Result<Option<SmallDisk>> {
        let folder = tempfile::Builder::new().prefix("spindle-disk-").tempdir()?;
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        match output {
            Ok(output) if output.status.success() => Ok(Some(SmallDisk { folder })),
            Ok(output) => {
                let message = String::from_utf8_lossy(&output.stderr);
                not_checked(&format!("a small disk, not permitted to mount ({})", message.trim()));
                Ok(None)
            }
            Err(error) => {
                missing_tool("mount", &error)?;
                Ok(None)
            }
        }
    }

    /// Path of the mount point.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        // In ever smaller pieces.
        for size in [1 << 20, 64 << 10, 4 << 10, 1] {
            let piece = vec![1; size];
            loop {
                match ballast.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill the small disk"),
                }
            }
        }
        Ok(())
    }

    /// Frees the space that [`SmallDisk::fill`] took.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("cannot free the small disk")
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
