//! A disk so small that a test can fill it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A file system in memory, for as long as this lives.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many bytes. `None`, and a line on stderr that says so, where one may not mount: no root,
    /// or a container without the privilege.
    pub fn mount(size_bytes: u64) -> Result<Option<SmallDisk>> {
        SmallDisk::mount_with(&format!("size={size_bytes}"))
    }

    /// The same with the options of `mount -o`.
    pub fn mount_with(options: &str) -> Result<Option<SmallDisk>> {
        let folder = tempfile::Builder::new().prefix("spindle-disk-").tempdir()?;
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        match output {
            Ok(output) if output.status.success() => Ok(Some(SmallDisk { folder })),
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr);
                say(&format!("no full disk was tested: one may not mount here ({})", words.trim()));
                Ok(None)
            }
            Err(error) => {
                say(&format!("no full disk was tested: mount does not run ({error})"));
                Ok(None)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        // Ever smaller pieces, to the last byte.
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

    /// Gives back what [`SmallDisk::fill`] took.
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

#[expect(clippy::print_stderr, reason = "a test that did not test must say so")]
fn say(words: &str) {
    eprintln!("{words}");
}
