//! A small disk of its own for a server, to be filled and freed. In memory (tmpfs): there a sync costs nothing, and
//! a full disk no more than a smaller limit. A kill does not ask whether anything was synced, so nothing is proved
//! less by it; a power cut is not among the faults. Mounted where only the harness and its children see it, so
//! nothing is left behind however it ends. Needs root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Set for the harness that already stands among mounts of its own.
const MARKER: &str = "SPINDLE_FAULTS_OWN_MOUNTS";
/// Others write while the limit is set to what they have taken.
const FILL_ATTEMPTS: usize = 50;

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Starts this program again among mounts of its own. Does not return if that works.
pub(super) fn keep_mounts_to_ourselves() -> Result<()> {
    if std::env::var_os(MARKER).is_some() {
        return Ok(());
    }
    let ourselves = std::env::current_exe().context("cannot find this program's own file")?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(ourselves)
        .args(std::env::args_os().skip(1))
        .env(MARKER, "1")
        .exec();
    Err(error).context("cannot start `unshare` (util-linux), which keeps the mounts of the harness to itself")
}

/// A mounted disk.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    size_bytes: u64,
}

impl Disk {
    /// Makes one in `place`; it takes up what is written to it.
    pub(super) fn make(place: &Path, name: &str, size_bytes: u64) -> Result<Self> {
        let folder = place.join(name);
        fs::create_dir_all(&folder)?;
        let size = format!("size={size_bytes}");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder))?;
        Ok(Self { folder, size_bytes })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all room that is left.
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

    /// Gives the room back.
    pub(super) fn free(&self) -> Result<()> {
        self.limit(self.size_bytes)
    }

    /// Refused when more is taken already.
    fn limit(&self, bytes: u64) -> Result<()> {
        run(Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(&self.folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still has a file open keeps it mounted; it goes with the harness at the latest.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
