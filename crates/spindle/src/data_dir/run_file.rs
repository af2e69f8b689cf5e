//! `run.json` in the data directory: the addresses of the running `spindle up`, for the other commands. Readable by
//! its user only: the address of the nats-server that we start contains its password.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use spindle_bus::{Credentials, NatsSettings};

use super::atomic_file;
use crate::config::{Config, reachable};

/// Content of the file.
#[derive(Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) pid: u32,
    /// With user and password if we started it, without if an operator did.
    pub(crate) nats: String,
    #[serde(default)]
    pub(crate) nats_is_ours: bool,
    pub(crate) http: String,
    /// Place of the data, for people.
    #[serde(default)]
    pub(crate) store: String,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("run.json")
}

pub(crate) fn write(data_dir: &Path, run: &RunFile) -> Result<()> {
    let path = path(data_dir);
    atomic_file::write(&path, &serde_json::to_vec_pretty(run)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

pub(crate) fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(path(data_dir));
}

/// Returns the address of NATS and the credentials for it: those configured, else those of the running system.
pub(crate) fn nats_settings(config: &Config) -> Result<NatsSettings> {
    if let Some(url) = &config.nats.url {
        return Ok(config.nats_settings(url));
    }
    let run = read(config)?;
    Ok(if run.nats_is_ours { own_nats_settings(config, &run.nats) } else { config.nats_settings(&run.nats) })
}

/// Returns the address for health probes of this machine's role: the configured one, else that of the running system,
/// else the default HTTP address.
pub(crate) fn health_address(config: &Config) -> Result<SocketAddr> {
    let running = || {
        let run = read(config)?;
        let address = run.http.trim_start_matches("http://");
        address.parse().with_context(|| format!("'{address}' in run.json is not an address: restart `spindle up`"))
    };
    let address = match config.named_health_address() {
        Some(named) => named,
        None => running().or_else(|error| match config.http.listen.port() {
            0 => Err(error),
            _ => Ok(config.http.listen),
        })?,
    };
    Ok(reachable(address))
}

/// Returns the settings for the nats-server that we started: its address contains everything, so credentials
/// configured for another server are ignored.
pub(crate) fn own_nats_settings(config: &Config, url: &str) -> NatsSettings {
    NatsSettings { credentials: Credentials::default(), ..config.nats_settings(url) }
}

pub(crate) fn read(config: &Config) -> Result<RunFile> {
    let path = path(&config.data_dir);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "no running system found ({} does not exist): start one with `spindle up`, or name it with --data-dir or NATS_URL",
                path.display()
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => bail!(
            "{} is readable only by the user who runs the system: run this command as that user, or name its NATS with NATS_URL",
            path.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let run: RunFile = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is damaged: restart `spindle up`", path.display()))?;
    let is_running = i32::try_from(run.pid).ok().and_then(rustix::process::Pid::from_raw).is_some_and(|pid| {
        // Another user's process is alive too; we just may not signal it.
        !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    });
    if !is_running {
        bail!(
            "the system in {} is no longer running (process {} is gone): start it with `spindle up`",
            config.data_dir.display(),
            run.pid
        );
    }
    Ok(run)
}
