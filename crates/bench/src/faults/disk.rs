//! A small disk of its own for a server, to be filled and freed: a file with a file system in it, so that
//! syncs are real. Mounted where only the harness and its children see it, so nothing is left behind
//! however it ends. Needs root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Set for the harness that already stands among mounts of its own.
const MARKER: &str = "SPINDLE_FAULTS_OWN_MOUNTS";
const BALLAST: &str = "ballast";
/// What is left free on a full disk: less than any of the programs can live with.
const LEFT_BYTES: u64 = 64 << 10;

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
}

impl Disk {
    /// Makes one of this size in `place`; it takes up what is written to it.
    pub(super) fn make(place: &Path, name: &str, size_bytes: u64) -> Result<Self> {
        let (image, folder) = (place.join(format!("{name}.img")), place.join(name));
        fs::create_dir_all(&folder)?;
        fs::File::create(&image)?.set_len(size_bytes)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder))?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all room.
    pub(super) fn fill(&self) -> Result<()> {
        let path = self.folder.join(BALLAST);
        let ballast = fs::File::options().create(true).append(true).open(&path)?;
        // Others write meanwhile: ask for less until it is granted, then look again.
        for _ in 0..64 {
            let free = free_bytes(&self.folder)?;
            if free <= LEFT_BYTES {
                break;
            }
            let begin = ballast.metadata()?.len();
            let wanted = (free - LEFT_BYTES / 2).max(4096);
            let flags = rustix::fs::FallocateFlags::empty();
            if rustix::fs::fallocate(&ballast, flags, begin, wanted).is_err() {
                // A part of it may have been taken all the same.
                let _ = rustix::fs::fallocate(&ballast, flags, begin, (wanted / 2).max(4096));
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub(super) fn free(&self) -> Result<()> {
        match fs::remove_file(self.folder.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the ballast in {}", self.folder.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still has a file open keeps it mounted; it goes with the harness at the latest.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

fn free_bytes(folder: &Path) -> Result<u64> {
    let room = rustix::fs::statvfs(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
