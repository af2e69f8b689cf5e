//! `run.json` in the data directory: where the running `spindle up` is found by the other commands. Readable
//! for its user alone: the address of the started nats-server has its password in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use spindle_bus::{Credentials, NatsSettings};

use super::private;
use crate::config::{Config, reachable};

/// What the running system says of itself.
#[derive(Serialize, Deserialize)]
pub(super) struct RunFile {
    pub(super) pid: u32,
    /// With user and password if we started it, without if somebody else did.
    pub(super) nats: String,
    #[serde(default)]
    pub(super) nats_is_ours: bool,
    pub(super) http: String,
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("run.json")
}

pub(super) fn write(data_dir: &Path, run: &RunFile) -> Result<()> {
    let path = path(data_dir);
    private::write(&path, &serde_json::to_vec_pretty(run)?).with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(path(data_dir));
}

/// Where NATS is and how to get in: as told, else as in the running system.
pub(crate) fn nats_settings(config: &Config) -> Result<NatsSettings> {
    if let Some(url) = &config.nats.url {
        return Ok(config.nats_settings(url));
    }
    let run = read(config)?;
    Ok(if run.nats_is_ours { ours(config, &run.nats) } else { config.nats_settings(&run.nats) })
}

/// Where the role of this machine is asked for its health: as told, else as in the running system, else where HTTP
/// answers by default.
pub(crate) fn health_address(config: &Config) -> Result<SocketAddr> {
    let running = || {
        let run = read(config)?;
        let address = run.http.trim_start_matches("http://");
        address.parse().with_context(|| format!("'{address}' in run.json is no address: restart `spindle up`"))
    };
    let address = match config.named_health_address() {
        Some(named) => named,
        None => running().or_else(|fault| match config.http.listen.port() {
            0 => Err(fault),
            _ => Ok(config.http.listen),
        })?,
    };
    Ok(reachable(address))
}

/// For the nats-server that we started: its address says all. What was set for another one does not count.
pub(super) fn ours(config: &Config, url: &str) -> NatsSettings {
    NatsSettings { credentials: Credentials::default(), ..config.nats_settings(url) }
}

fn read(config: &Config) -> Result<RunFile> {
    let path = path(&config.data_dir);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "no running system found ({} is not there): start one with `spindle up`, or name it with --data-dir or NATS_URL",
                path.display()
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => bail!(
            "{} is readable for the user alone who runs the system: ask as that user, or name its NATS with NATS_URL",
            path.display()
        ),
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
    Ok(run)
}
