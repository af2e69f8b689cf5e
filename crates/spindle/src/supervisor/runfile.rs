//! `run.json` in the data directory: where the running `spindle up` is found by the other commands.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// What the running system says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) pid: u32,
    pub(crate) nats: String,
    pub(crate) http: String,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("run.json")
}

/// Written whole or not at all.
pub(super) fn write(data_dir: &Path, run: &RunFile) -> Result<()> {
    let (path, draft) = (path(data_dir), data_dir.join("run.json.new"));
    std::fs::write(&draft, serde_json::to_vec_pretty(run)?)
        .and_then(|()| std::fs::rename(&draft, &path))
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(path(data_dir));
}

/// The address of NATS: as told, else that of the running system.
pub(crate) fn nats_url(config: &Config) -> Result<String> {
    if let Some(url) = &config.nats.url {
        return Ok(url.clone());
    }
    let path = path(&config.data_dir);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "no running system found ({} is not there): start one with `spindle up`, or name it with --data-dir or NATS_URL",
                path.display()
            )
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let run: RunFile = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is damaged: restart `spindle up`", path.display()))?;
    let is_running = i32::try_from(run.pid).ok().and_then(rustix::process::Pid::from_raw).is_some_and(|pid| {
        // A process of somebody else is running too; we only may not signal it.
        !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    });
    if !is_running {
        bail!(
            "the system in {} is not running any more (process {} is gone): start it with `spindle up`",
            config.data_dir.display(),
            run.pid
        );
    }
    Ok(run.nats)
}
