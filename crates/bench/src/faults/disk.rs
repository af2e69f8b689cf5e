//! Small separate disk for a server, to be filled and freed. In memory (tmpfs): a sync costs nothing there, and a full
//! disk is only a smaller limit. This weakens no result: a kill loses no unsynced pages, and a power cut is not among the
//! faults. Mounted in a private namespace, so that nothing is left behind however the harness ends. Needs root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Environment variable that marks a harness in its private mount namespace.
const MARKER: &str = "SPINDLE_FAULTS_OWN_MOUNTS";
/// Attempts to set the limit to the used space, while servers write.
const FILL_ATTEMPTS: usize = 50;

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Re-executes this program in a private mount namespace. Returns only on failure, or if it is in one already.
pub(super) fn isolate_mounts() -> Result<()> {
    if std::env::var_os(MARKER).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(MARKER, "1")
        .exec();
    Err(error).context("cannot start `unshare` (util-linux) for a private mount namespace")
}

/// Mounted disk.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    size_bytes: u64,
}

impl Disk {
    /// Mounts a disk in `parent`; it uses memory only for its contents.
    pub(super) fn make(parent: &Path, name: &str, size_bytes: u64) -> Result<Self> {
        let folder = parent.join(name);
        fs::create_dir_all(&folder)?;
        let size = format!("size={size_bytes}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder))?;
        Ok(Self { folder, size_bytes })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fills the disk.
    pub(super) fn fill(&self) -> Result<()> {
        let mut outcome = Ok(());
        for _ in 0..FILL_ATTEMPTS {
            let room = rustix::fs::statvfs(&self.folder)?;
            let used_bytes = (room.f_blocks - room.f_bfree) * room.f_frsize;
            outcome = self.limit(used_bytes.max(room.f_frsize));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Restores the size of the disk.
    pub(super) fn free(&self) -> Result<()> {
        self.limit(self.size_bytes)
    }

    /// Sets the size. Refused if more is in use already.
    fn limit(&self, bytes: u64) -> Result<()> {
        run(Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(&self.folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // An open file keeps it mounted until the harness ends at the latest.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
