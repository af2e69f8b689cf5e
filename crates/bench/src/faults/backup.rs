//! Copy of the data directory of the store's server, from which the server restarts with less than it acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Copy that is taken at the first stop of the server and used up when it is put back.
#[derive(Debug)]
pub(super) struct Backup {
    data_dir: PathBuf,
    copy: PathBuf,
}

impl Backup {
    /// Keeps the copy in `folder`, outside the server's disk, which may be full.
    pub(super) fn new(data_dir: PathBuf, folder: &Path) -> Self {
        Self { data_dir, copy: folder.join("copy-of-store") }
    }

    pub(super) fn exists(&self) -> bool {
        self.copy.is_dir()
    }

    /// Copies the data directory of a stopped server, unless there is a copy already.
    pub(super) fn take(&self) -> Result<()> {
        if self.exists() {
            return Ok(());
        }
        let unfinished = self.copy.with_extension("unfinished");
        copy(&self.data_dir, &unfinished)?;
        fs::rename(&unfinished, &self.copy).with_context(|| format!("cannot rename {}", unfinished.display()))
    }

    /// Replaces the data directory of a stopped server by the copy, and uses the copy up.
    pub(super) fn put_back(&self) -> Result<()> {
        remove(&self.data_dir)?;
        copy(&self.copy, &self.data_dir)?;
        remove(&self.copy)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output().context("cannot run cp")?;
    ensure!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_copy_is_kept_until_it_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        fs::create_dir_all(data_dir.join("wal")).unwrap();
        let file = data_dir.join("wal/1");
        let backup = Backup::new(data_dir, folder.path());
        for (text, expect_copied) in [("early", true), ("later", false)] {
            fs::write(&file, text).unwrap();
            assert_eq!(backup.exists(), !expect_copied);
            backup.take().unwrap();
        }
        backup.put_back().unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), backup.exists()), ("early", false));
    }
}
