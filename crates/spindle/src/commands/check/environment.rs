//! Checks of this machine: data directory, sources, addresses.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use tokio::time::timeout;

use super::finding::Finding;
use super::smart;
use crate::clock;
use crate::config::{Config, SourceSpec};
use crate::data_dir::{self, run_file::RunFile};
use crate::output;
use crate::sources::host::{Host, Roots};

const DATA_DIRECTORY: &str = "data directory";
/// A disk with less is full within a day.
const LOW_BYTES: u64 = 1 << 30;
/// A disk with less is full within minutes.
const FULL_BYTES: u64 = 100 << 20;
/// A reading that takes longer hangs on a dying disk.
const HOST_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn data_directory(config: &Config, running: Option<&RunFile>) -> Vec<Finding> {
    let data_dir = &config.data_dir;
    let path = data_dir.display();
    let (existing, is_there) = match data_dir.metadata() {
        Ok(metadata) if metadata.is_dir() => (data_dir.clone(), true),
        Ok(_) => return vec![unusable(format!("{path} is not a directory"))],
        Err(_) => (nearest_existing(data_dir), false),
    };
    if !existing.is_dir() {
        return vec![unusable(format!("{path} cannot be created: {} is not a directory", existing.display()))];
    }
    if let Err(error) = access(&existing, Access::WRITE_OK | Access::EXEC_OK) {
        return vec![unusable(format!("cannot write into {}: {}", existing.display(), io::Error::from(error)))];
    }
    let first = match (is_there, running) {
        (false, _) => Finding::ok(DATA_DIRECTORY, format!("{path} does not exist yet and will be created")),
        (true, Some(run)) => Finding::ok(DATA_DIRECTORY, format!("{path}, in use by process {}", run.pid)),
        (true, None) if is_locked(data_dir) => Finding::warn(
            DATA_DIRECTORY,
            format!("{path} is locked by another process"),
            "stop it, or choose another directory with --data-dir",
        ),
        (true, None) => Finding::ok(DATA_DIRECTORY, format!("{path} is writable")),
    };
    let mut findings = vec![first, disk_space(&existing)];
    if is_there {
        findings.extend(mode(data_dir));
    }
    findings
}

fn unusable(detail: String) -> Finding {
    Finding::fail(DATA_DIRECTORY, detail, "fix it, or choose another directory with --data-dir")
}

fn nearest_existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|ancestor| ancestor.exists());
    found.filter(|found| !found.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// A shared lock, and only for a moment: an exclusive one could be in the way of a `spindle up` that starts.
fn is_locked(data_dir: &Path) -> bool {
    File::open(data_dir.join("spindle.lock")).is_ok_and(|file| file.try_lock_shared().is_err())
}

fn mode(data_dir: &Path) -> Option<Finding> {
    let mode = data_dir.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then(|| {
        Finding::warn(
            "data directory mode",
            format!("every user of this machine has access to {} (mode {mode:o})", data_dir.display()),
            format!("chmod 700 {}", data_dir.display()),
        )
    })
}

fn disk_space(directory: &Path) -> Finding {
    const CHECK: &str = "disk space";
    let remedy = "free space, or choose another directory with --data-dir";
    match data_dir::free_bytes(directory) {
        Ok(free) if free < FULL_BYTES => Finding::fail(CHECK, format!("{} MiB free", free >> 20), remedy),
        Ok(free) if free < LOW_BYTES => Finding::warn(CHECK, format!("{} MiB free", free >> 20), remedy),
        Ok(free) => Finding::ok(CHECK, format!("{} GiB free", free >> 30)),
        Err(error) => Finding::fail(CHECK, format!("{error:#}"), remedy),
    }
}

pub(super) async fn sources(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &config.daemon.sources {
        match source {
            SourceSpec::Simulate => {
                findings.push(Finding::ok("source simulate", output::count(config.daemon.devices as u64, "device")));
            }
            SourceSpec::Host => findings.extend(host().await),
            SourceSpec::Smart => findings.extend(smart::check(&config.daemon).await),
            SourceSpec::Replay(path) => findings.push(replay(path)),
        }
    }
    findings
}

/// Samples the host once, so that the same files are read as by the daemon.
async fn host() -> Vec<Finding> {
    const CHECK: &str = "source host";
    let sampling = tokio::task::spawn_blocking(|| {
        let mut host = Host::new(Roots::default(), "check", None);
        let batch = host.sample(clock::now());
        (host, batch)
    });
    let Ok(Ok((mut host, batch))) = timeout(HOST_TIMEOUT, sampling).await else {
        let detail = format!("reading the disks takes longer than {} s", HOST_TIMEOUT.as_secs());
        return vec![Finding::warn(CHECK, detail, "look for a dying disk in the kernel's log (dmesg)")];
    };
    if host.is_bare() {
        let remedy = "mount /proc and /sys of the host into the container, or remove the source from daemon.sources";
        return vec![Finding::warn(CHECK, "no disks or file systems found", remedy)];
    }
    let count = |name: &str| batch.metrics.iter().filter(|metric| metric.metric_type.as_str() == name).count() as u64;
    let (n_file_systems, n_temperatures) = (count("CapacityUsed"), count("DiskTemp"));
    let (file_systems, disks) = (output::count(n_file_systems, "file system"), output::count(n_temperatures, "disk"));
    let detail = format!("{file_systems}, {disks} with a temperature sensor");
    let mut findings = vec![Finding::ok(CHECK, detail)];
    let notices = host.take_log_lines().into_iter().filter(|(kind, _)| kind.is_notice());
    findings.extend(notices.map(|(_, message)| Finding::ok(CHECK, message)));
    let problems = host.problems().iter().filter(|(kind, ..)| !kind.is_notice());
    findings.extend(problems.map(|(kind, n_problems, newest)| {
        let remedy = "grant read access to /proc and /sys (run as root, or mount them into the container)";
        Finding::warn(
            format!("{CHECK}: {}", kind.as_str()),
            format!("{}; last: {newest}", output::count(n_problems, "time")),
            remedy,
        )
    }));
    findings
}

/// Opens regular files only: opening a pipe would wait for its writer.
fn replay(path: &Path) -> Finding {
    let check = format!("source replay:{}", path.display());
    let opened = match path.metadata() {
        Ok(metadata) if metadata.is_file() => File::open(path).map(drop),
        Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
        outcome => outcome.map(drop),
    };
    match opened {
        Ok(()) => Finding::ok(check, "readable"),
        Err(error) => Finding::fail(check, error.to_string(), "correct daemon.sources (--source replay:FILE)"),
    }
}

pub(super) fn addresses(config: &Config, running: Option<&RunFile>) -> Vec<Finding> {
    let ours = running.and_then(|run| run.http.trim_start_matches("http://").parse().ok());
    let mut findings = vec![http(config.http.listen, ours)];
    if let Some(address) = config.health.listen {
        findings.push(match is_free(address) {
            true => Finding::ok("health address", format!("{address} is free")),
            false => Finding::warn(
                "health address",
                format!("{address} is taken"),
                "choose another address with SPINDLE_HEALTH, unless the role itself runs already",
            ),
        });
    }
    if config.nats.url.is_none() && running.is_none() && !is_free(([127, 0, 0, 1], config.nats.port).into()) {
        let detail = format!("port {} is taken; `spindle up` will use another free one", config.nats.port);
        findings.push(Finding::warn("NATS port", detail, "choose another port with SPINDLE_NATS_PORT, or 0"));
    }
    findings
}

fn http(address: SocketAddr, ours: Option<SocketAddr>) -> Finding {
    const CHECK: &str = "HTTP address";
    match (ours, TcpListener::bind(address)) {
        (Some(ours), _) if ours.port() == address.port() || address.port() == 0 => {
            Finding::ok(CHECK, format!("{ours}, served by the running system"))
        }
        (_, Ok(_)) => Finding::ok(CHECK, format!("{address} is free")),
        (_, Err(error)) => Finding::fail(
            CHECK,
            format!("cannot listen on {address}: {error}"),
            "stop the program that listens there, or choose another address with --http, or port 0",
        ),
    }
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}
