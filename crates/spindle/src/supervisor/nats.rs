//! The nats-server that `spindle up` starts when no `NATS_URL` is set: on the loopback address, with its own password
//! and directory, every message synced to disk before its ack. Restarted when it dies, stopped with us even when we
//! are killed.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use spindle_core::backoff::Backoff;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::guard;
use crate::config::{Config, Secret};
use crate::data_dir::{MIN_FREE_BYTES, atomic_file, create_private, free_bytes};
use crate::metrics::NATS_RESTARTS;

/// A large store takes a while to load.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// Jitter is for clients that fail together; this is one child.
const NO_JITTER: f64 = 1.0;
/// Uptime after which the next restart is quick again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
const DISK_CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The guard waits for the server up to 8 s before it kills it.
const STOP_TIMEOUT: Duration = Duration::from_secs(12);
/// Space in the store beside the streams: consumer state, Raft and the like.
const SPARE_BYTES: u64 = 1 << 30;
/// Oldest server with `sync_interval`, without which an acknowledged message can be lost.
const OLDEST_VERSION: (u32, u32) = (2, 10);
/// Its only user.
const USER: &str = "spindle";

/// The nats-server process that we own.
pub(super) struct NatsChild {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    /// `None`: open to every local user.
    password: Option<Secret>,
    guard: GuardProcess,
    started: Instant,
}

/// The guard process and the pipe that keeps it alive: waiting for a child closes its standard input, so the pipe is
/// stored separately.
struct GuardProcess {
    process: Child,
    pipe: Option<ChildStdin>,
    server: Option<Pid>,
}

impl NatsChild {
    /// Starts the server and waits until it responds: this one, not another server that took the same port.
    pub(super) async fn start(config: &Config) -> Result<Self> {
        let program = config.nats.server.clone();
        let version = version(&program).await?;
        let directory = config.data_dir.join("nats");
        create_private(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let password = if config.nats.allow_anonymous { None } else { Some(password(&directory)?) };
        let max_store = config.stream_limits().total().saturating_add(SPARE_BYTES);
        let mut wanted = config.nats.port;
        loop {
            let (port, name) = (free_port(wanted)?, format!("spindle-{}", Uuid::new_v4().simple()));
            let text = configuration(&directory, &name, port, max_store, password.as_ref());
            atomic_file::write(&directory.join("nats-server.conf"), text.as_bytes())
                .context("cannot write the configuration of nats-server")?;
            let guard = guarded(&program, &directory).await?;
            let mut child = Self {
                program: program.clone(),
                directory: directory.clone(),
                port,
                password: password.clone(),
                guard,
                started: Instant::now(),
            };
            match child.wait_until_ready(&name).await {
                Ok(()) => {
                    info!(version, port, directory = %directory.display(), "nats-server started");
                    return Ok(child);
                }
                // Another process took the port between our check and the server's start.
                Err(error) if error.to_string().contains("address already in use") => wanted = 0,
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_until_ready(&mut self, name: &str) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.guard.process.try_wait()?.is_some() {
                bail!("nats-server did not start: {}", last_log_line(&self.directory));
            }
            if greeting(self.port).await.is_some_and(|greeting| greeting.contains(name)) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!(
            "nats-server does not respond on port {} after {} s (see {})",
            self.port,
            START_TIMEOUT.as_secs(),
            self.directory.join("nats-server.log").display()
        )
    }

    /// Returns its address, with user and password.
    pub(super) fn url(&self) -> String {
        let userinfo =
            self.password.as_ref().map_or_else(String::new, |password| format!("{USER}:{}@", password.expose()));
        format!("nats://{userinfo}127.0.0.1:{}", self.port)
    }

    /// Restarts the server whenever it dies, and once its disk has space again after it was full; stops it in order at
    /// `stop`.
    pub(super) async fn keep_alive(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        let mut disk = DiskWatch { directory: self.directory.clone(), was_full: false };
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.stop().await,
                () = disk.has_space_again() => {
                    warn!("disk has space again, restarting nats-server: it does not recover from a failed write on its own");
                    self.stop_guard().await;
                }
                ended = self.guard.process.wait() => {
                    self.end_orphan(ended.ok());
                    error!(error = last_log_line(&self.directory), "nats-server died, restarting");
                }
            }
            NATS_RESTARTS.inc();
            if self.started.elapsed() > HEALTHY_AFTER {
                backoff.reset();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.restart(&mut backoff) => {}
            }
        }
    }

    async fn restart(&mut self, backoff: &mut Backoff) {
        loop {
            sleep(backoff.next(NO_JITTER)).await;
            match guarded(&self.program, &self.directory).await {
                Ok(guard) => break self.guard = guard,
                Err(error) => error!(error = format!("{error:#}"), "nats-server not restarted, retrying"),
            }
        }
        self.started = Instant::now();
    }

    async fn stop(mut self) {
        if self.stop_guard().await {
            info!("nats-server stopped");
        } else {
            warn!("nats-server does not stop, leaving it to its guard");
        }
    }

    /// Closes the pipe, which makes the guard stop the server, and waits. Returns whether both ended in time.
    async fn stop_guard(&mut self) -> bool {
        drop(self.guard.pipe.take());
        let ended = timeout(STOP_TIMEOUT, self.guard.process.wait()).await;
        self.end_orphan(ended.as_ref().ok().and_then(|ended| ended.as_ref().ok().copied()));
        ended.is_ok()
    }

    /// Stops the server of a guard that was killed; the lock stays held until it has ended.
    fn end_orphan(&self, guard_ended: Option<ExitStatus>) {
        if let Some(server) = self.guard.server.filter(|_| guard_ended.is_some_and(|status| status.signal().is_some()))
        {
            warn!(pid = server.as_raw_nonzero().get(), "guard of nats-server was killed, stopping its server");
            // An error means that it has ended already.
            let _ = kill_process(server, Signal::TERM);
        }
    }
}

/// A disk that may fill up. Once a stream of nats-server hits a full disk, it refuses everything until the server is
/// restarted (seen with 2.15.1).
struct DiskWatch {
    directory: PathBuf,
    was_full: bool,
}

impl DiskWatch {
    /// Resolves when the disk has space again after it was full.
    async fn has_space_again(&mut self) {
        loop {
            sleep(DISK_CHECK_INTERVAL).await;
            match free_bytes(&self.directory) {
                Ok(free) if free < MIN_FREE_BYTES => self.was_full = true,
                Ok(free) if self.was_full && free > 2 * MIN_FREE_BYTES => {
                    self.was_full = false;
                    return;
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Returns the first line of a NATS server, which contains its name.
async fn greeting(port: u16) -> Option<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let mut line = String::new();
    timeout(Duration::from_secs(1), BufReader::new(stream).read_line(&mut line)).await.ok()?.ok()?;
    Some(line)
}

/// Starts nats-server under a guard, and waits until the guard has started it or failed.
async fn guarded(program: &Path, directory: &Path) -> Result<GuardProcess> {
    let mut guard = Command::new(guard::own_program()?)
        .arg0("spindle")
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
        let mut message = String::new();
        if let Some(stderr) = guard.stderr.take() {
            let _ = BufReader::new(stderr).read_line(&mut message).await;
        }
        bail!("{}", message.trim().trim_start_matches("spindle: "));
    }
    // Not read any further, and a full pipe must not block the guard.
    drop(guard.stderr.take());
    let pipe = guard.stdin.take();
    let server = pid.trim().parse().ok().and_then(Pid::from_raw);
    Ok(GuardProcess { process: guard, pipe, server })
}

pub(crate) async fn version(program: &Path) -> Result<String> {
    let output = match Command::new(program).arg("--version").output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "nats-server not found (looked for '{}'): `./run.sh up` fetches it; or install it, name it with SPINDLE_NATS_SERVER, or set NATS_URL to the address of a running one",
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
    let version = text.trim().trim_start_matches("nats-server:").trim().to_owned();
    match numbers[..] {
        [major, minor, ..] if (major, minor) >= OLDEST_VERSION => Ok(version),
        [_, _, ..] => bail!(
            "nats-server {version} is too old: 2.10 or later is needed, so that every message is on disk before it is acknowledged; `./run.sh up` fetches one"
        ),
        _ => bail!("{} does not look like nats-server (--version printed '{version}')", program.display()),
    }
}

/// Returns the wanted port if it is free, else another one.
fn free_port(wanted: u16) -> Result<u16> {
    let bound = TcpListener::bind(("127.0.0.1", wanted))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("no free port for nats-server")?;
    let port = bound.local_addr()?.port();
    if wanted != 0 && port != wanted {
        warn!(wanted, port, "NATS port in use, using another");
    }
    Ok(port)
}

/// Returns the password of this directory, generated once so that clients which have it can connect after a restart
/// too. To replace it, remove the file.
fn password(directory: &Path) -> Result<Secret> {
    let path = directory.join("password");
    // A file truncated by a crash does not contain a valid password.
    if let Some(kept) = std::fs::read_to_string(&path).ok().and_then(|text| Secret::token(text.trim_end()).ok()) {
        return Ok(kept);
    }
    // 244 bits from the operating system's randomness, in characters that need no escaping anywhere.
    let made = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    atomic_file::write(&path, format!("{made}\n").as_bytes())
        .with_context(|| format!("cannot write the password of nats-server into {}", path.display()))?;
    Secret::token(&made).map_err(|expected| anyhow::anyhow!("the generated password is not {expected}"))
}

fn configuration(directory: &Path, name: &str, port: u16, max_store_bytes: u64, password: Option<&Secret>) -> String {
    let quoted = |name: &str| serde_json::Value::from(directory.join(name).to_string_lossy().into_owned()).to_string();
    let authorization = password.map_or_else(String::new, |password| {
        format!("authorization {{ user: {USER}, password: \"{}\" }}\n", password.expose())
    });
    format!(
        "# Written by spindle at each start.\n\
         server_name: {name}\nhost: \"127.0.0.1\"\nport: {port}\n\
         pid_file: {pid}\nlog_file: {log}\nlogfile_size_limit: 16MB\nlogfile_max_num: 3\n\
         max_payload: 1MB\n\
         jetstream {{\n  store_dir: {store}\n  max_file_store: {max_store_bytes}\n  max_memory_store: 64MB\n  sync_interval: always\n}}\n{authorization}",
        pid = quoted("nats-server.pid"),
        log = quoted("nats-server.log"),
        store = quoted("store"),
    )
}

/// Returns the last line of its log: usually the reason of its death.
fn last_log_line(directory: &Path) -> String {
    let path = directory.join("nats-server.log");
    let text = std::fs::read(&path)
        .map(|bytes| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned())
        .unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    format!("{last} (see {})", path.display())
}
