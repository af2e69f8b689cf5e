//! Role of Spindle as a process, restarted whenever it ends, as by a supervisor.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Pause between the end of a role and its restart, as with supervisors.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Prefixes of the environment variables that `spindle` reads.
pub(crate) const PROGRAM_VARIABLES: [&str; 5] = ["NATS_", "SPINDLE_", "INFLUXDB_", "CLIENT_", "GENERATION_"];

/// Command line, environment and files of a role.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) log: PathBuf,
    /// Port of its health endpoint.
    pub(crate) health_port: u16,
}

/// Role that is restarted whenever it ends.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) recipe: Recipe,
    child: Mutex<Wanted>,
    pid: AtomicU32,
    /// Number of ends that the harness did not cause.
    pub(crate) n_unexpected_ends: AtomicU64,
    pub(crate) n_starts: AtomicU64,
}

#[derive(Debug)]
struct Wanted {
    child: Option<Child>,
    /// It should be running.
    runs: bool,
}

impl Role {
    pub(crate) fn new(recipe: Recipe) -> Self {
        let child = Mutex::new(Wanted { child: None, runs: false });
        Self {
            recipe,
            child,
            pid: AtomicU32::new(0),
            n_unexpected_ends: AtomicU64::new(0),
            n_starts: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Process id; 0 while the role is not running.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub(crate) fn start(&self) -> Result<()> {
        let mut wanted = self.lock();
        wanted.runs = true;
        if wanted.child.is_none() {
            wanted.child = Some(self.spawn()?);
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Child> {
        let Recipe { program, arguments, variables, log, health_port, .. } = &self.recipe;
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if PROGRAM_VARIABLES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .env("SPINDLE_HEALTH", format!("127.0.0.1:{health_port}"))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        self.pid.store(child.id(), Ordering::Relaxed);
        self.n_starts.fetch_add(1, Ordering::Relaxed);
        Ok(child)
    }

    /// Kills the role (SIGKILL) until the next [`Self::start`].
    pub(crate) fn kill(&self) {
        let mut wanted = self.lock();
        wanted.runs = false;
        if let Some(mut child) = wanted.child.take() {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.pid.store(0, Ordering::Relaxed);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.lock().child {
            send_signal(child.id(), signal);
        }
    }

    /// Stops the role (SIGTERM) and waits; returns false if it had to be killed.
    pub(crate) async fn stop(&self) -> bool {
        self.lock().runs = false;
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if self.collect().is_none_or(|code| code.is_some()) {
                break;
            }
            sleep(POLL_INTERVAL).await;
        }
        let is_orderly = self.lock().child.is_none();
        self.kill();
        is_orderly
    }

    /// Reaps the child if it has ended. Returns `None` without a child, else its exit status, if any.
    fn collect(&self) -> Option<Option<std::process::ExitStatus>> {
        let mut wanted = self.lock();
        let ended = wanted.child.as_mut()?.try_wait().ok().flatten();
        if ended.is_some() {
            wanted.child = None;
            self.pid.store(0, Ordering::Relaxed);
        }
        Some(ended)
    }

    /// Returns the exit status of a role that has ended, once.
    pub(crate) fn ended(&self) -> Option<std::process::ExitStatus> {
        self.collect().flatten()
    }

    /// Restarts the role whenever it ends. Never returns.
    pub(crate) async fn keep(&self) {
        loop {
            sleep(POLL_INTERVAL).await;
            let runs = self.lock().runs;
            if runs && matches!(self.collect(), Some(Some(_))) {
                self.n_unexpected_ends.fetch_add(1, Ordering::Relaxed);
                sleep(RESTART_PAUSE).await;
                if self.lock().runs {
                    // Fails only if the machine is out of a resource; the next iteration retries.
                    let _ = self.start();
                }
            } else if runs && self.lock().child.is_none() {
                let _ = self.start();
            }
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn send_signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that has ended already is noticed elsewhere.
        let _ = kill_process(pid, signal);
    }
}
