//! The nats-server that `spindle up` starts when no `NATS_URL` is given: on the loopback address, with a
//! directory of its own, every message synced to disk before its ack. Restarted when it dies, stopped
//! with us even when we are killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{LEAST_FREE_BYTES, free_bytes};
use crate::config::Config;
use crate::telemetry::NATS_RESTARTS;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A server that lived this long was healthy: the next restart is quick again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
const LOOK_AT_DISK_EVERY: Duration = Duration::from_secs(2);
/// The guard waits for the server up to 8 s before it kills it.
const STOP_PATIENCE: Duration = Duration::from_secs(12);
/// Room in the store for more than the streams: consumers' states, Raft and the like.
const SPARE_BYTES: u64 = 1 << 30;
/// Oldest server that knows `sync_interval`, without which an acknowledged message can be lost.
const OLDEST_VERSION: (u32, u32) = (2, 10);

/// A nats-server of our own.
pub(super) struct NatsChild {
    program: PathBuf,
    directory: PathBuf,
    pub(super) port: u16,
    guard: Guard,
    started: Instant,
}

/// The guard process and the pipe that keeps it: waiting for a child closes its standard input, so the
/// pipe is kept apart.
struct Guard {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl NatsChild {
    /// Starts it; it answers soon after.
    pub(super) async fn start(config: &Config) -> Result<Self> {
        let program = config.nats.server.clone();
        let version = version(&program).await?;
        let directory = config.data_dir.join("nats");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let port = free_port(config.nats.port)?;
        let max_store = config.nats.limits.total().saturating_add(SPARE_BYTES);
        std::fs::write(directory.join("nats-server.conf"), configuration(&directory, port, max_store))
            .context("cannot write the configuration of nats-server")?;
        let guard = guarded(&program, &directory).await?;
        info!(version, port, directory = %directory.display(), "nats-server started");
        Ok(Self { program, directory, port, guard, started: Instant::now() })
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Restarts the server whenever it dies, and once its disk has room again after it was full; stops it
    /// in order when told to.
    pub(super) async fn keep_alive(mut self, stop: CancellationToken) {
        let mut pause = FIRST_RETRY;
        let mut disk = Disk { directory: self.directory.clone(), was_full: false };
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.stop().await,
                () = disk.has_room_again() => {
                    warn!("the disk has room again: restarting nats-server, which does not get over a failed write by itself");
                    self.stop_guard().await;
                }
                _ = self.guard.process.wait() => {
                    error!(last_words = last_words(&self.directory), "nats-server died, restarting it");
                }
            }
            NATS_RESTARTS.inc();
            pause = if self.started.elapsed() > HEALTHY_AFTER { FIRST_RETRY } else { (pause * 2).min(LAST_RETRY) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.start_again(pause) => {}
            }
        }
    }

    async fn start_again(&mut self, mut pause: Duration) {
        loop {
            sleep(pause).await;
            match guarded(&self.program, &self.directory).await {
                Ok(guard) => break self.guard = guard,
                Err(fault) => error!(fault = format!("{fault:#}"), "nats-server could not be restarted, trying again"),
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
        self.started = Instant::now();
    }

    /// Whether it has died, with its last words.
    pub(super) fn obituary(&mut self) -> Option<String> {
        self.guard.process.try_wait().ok().flatten().map(|_| last_words(&self.directory))
    }

    async fn stop(mut self) {
        if self.stop_guard().await {
            info!("nats-server stopped");
        } else {
            warn!("nats-server does not stop: leaving it to its guard");
        }
    }

    /// Closing the pipe is the order to stop.
    async fn stop_guard(&mut self) -> bool {
        drop(self.guard.pipe.take());
        timeout(STOP_PATIENCE, self.guard.process.wait()).await.is_ok()
    }
}

/// A disk that may run full. A stream of nats-server that met a full disk once refuses everything until
/// the server is restarted (seen with 2.15.1).
struct Disk {
    directory: PathBuf,
    was_full: bool,
}

impl Disk {
    /// Resolves when there is room after there was none.
    async fn has_room_again(&mut self) {
        loop {
            sleep(LOOK_AT_DISK_EVERY).await;
            match free_bytes(&self.directory) {
                Ok(free) if free < LEAST_FREE_BYTES => self.was_full = true,
                Ok(free) if self.was_full && free > 2 * LEAST_FREE_BYTES => {
                    self.was_full = false;
                    return;
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Starts nats-server under a guard, and waits until the guard has it (or has failed).
async fn guarded(program: &Path, directory: &Path) -> Result<Guard> {
    let ourselves = std::env::current_exe().context("cannot find this program's own file")?;
    let mut guard = Command::new(ourselves)
        .arg("guard")
        .arg("--lock")
        .arg(directory.join("lock"))
        .arg("--")
        .arg(program)
        .arg("--config")
        .arg(directory.join("nats-server.conf"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("cannot start the guard of nats-server")?;
    let mut pid = String::new();
    if let Some(stdout) = guard.stdout.take() {
        BufReader::new(stdout).read_line(&mut pid).await?;
    }
    if pid.trim().is_empty() {
        let mut words = String::new();
        if let Some(stderr) = guard.stderr.take() {
            let _ = BufReader::new(stderr).read_line(&mut words).await;
        }
        bail!("{}", words.trim().trim_start_matches("spindle: "));
    }
    // Nobody reads it from here on, and a full pipe must not block the guard.
    drop(guard.stderr.take());
    let pipe = guard.stdin.take();
    Ok(Guard { process: guard, pipe })
}

async fn version(program: &Path) -> Result<String> {
    let output = match Command::new(program).arg("--version").output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "nats-server is not there (looked for '{}'): `./run.sh up` fetches it; or install it, name it with SPINDLE_NATS_SERVER, or give the address of a running one with NATS_URL",
            program.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot run {}", program.display())),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<u32> = text
        .rsplit('v')
        .next()
        .unwrap_or_default()
        .split(['.', '-'])
        .map_while(|part| part.trim().parse().ok())
        .collect();
    let shown = text.trim().trim_start_matches("nats-server:").trim().to_owned();
    match numbers[..] {
        [major, minor, ..] if (major, minor) >= OLDEST_VERSION => Ok(shown),
        [_, _, ..] => bail!(
            "nats-server {shown} is too old: 2.10 or later is needed, so that every message is on disk before it is acknowledged; `./run.sh up` fetches one"
        ),
        _ => bail!("{} does not look like nats-server (--version says '{shown}')", program.display()),
    }
}

/// The wanted port if it is free, else another one.
fn free_port(wanted: u16) -> Result<u16> {
    let bound = TcpListener::bind(("127.0.0.1", wanted))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("no free port for nats-server")?;
    let port = bound.local_addr()?.port();
    if wanted != 0 && port != wanted {
        warn!(wanted, port, "port of NATS is taken, using another");
    }
    Ok(port)
}

fn configuration(directory: &Path, port: u16, max_store_bytes: u64) -> String {
    let quoted = |name: &str| serde_json::Value::from(directory.join(name).to_string_lossy().into_owned()).to_string();
    format!(
        "# Written by spindle at each start.\n\
         server_name: spindle\nhost: \"127.0.0.1\"\nport: {port}\n\
         pid_file: {pid}\nlog_file: {log}\nlogfile_size_limit: 16MB\nlogfile_max_num: 3\n\
         max_payload: 1MB\n\
         jetstream {{\n  store_dir: {store}\n  max_file_store: {max_store_bytes}\n  max_memory_store: 64MB\n  sync_interval: always\n}}\n",
        pid = quoted("nats-server.pid"),
        log = quoted("nats-server.log"),
        store = quoted("store"),
    )
}

/// The last line of its log: usually why it died.
fn last_words(directory: &Path) -> String {
    let path = directory.join("nats-server.log");
    let text = std::fs::read(&path)
        .map(|bytes| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned())
        .unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    format!("{last} (see {})", path.display())
}
