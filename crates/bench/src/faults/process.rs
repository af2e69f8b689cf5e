//! A role of Spindle as a process, started again whenever it ends by itself, as a supervisor would.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between the end of a role and its next start, as supervisors wait too.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Prefixes of the variables that change what `spindle` does.
const ITS_VARIABLES: [&str; 5] = ["NATS_", "SPINDLE_", "INFLUXDB_", "CLIENT_", "GENERATION_"];

/// How a role is started.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) words: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) log: PathBuf,
    /// Where it tells how it is.
    pub(super) health_port: u16,
}

/// A role that is kept running.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) recipe: Recipe,
    child: Mutex<Wanted>,
    pid: AtomicU32,
    /// How often it ended without being told to.
    pub(super) n_ended_by_itself: AtomicU64,
    pub(super) n_starts: AtomicU64,
}

#[derive(Debug)]
struct Wanted {
    child: Option<Child>,
    /// Whether it should run at all right now.
    runs: bool,
}

impl Role {
    pub(super) fn new(recipe: Recipe) -> Self {
        let child = Mutex::new(Wanted { child: None, runs: false });
        Self {
            recipe,
            child,
            pid: AtomicU32::new(0),
            n_ended_by_itself: AtomicU64::new(0),
            n_starts: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process id; 0 while it does not run.
    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub(super) fn start(&self) -> Result<()> {
        let mut wanted = self.lock();
        wanted.runs = true;
        if wanted.child.is_none() {
            wanted.child = Some(self.spawn()?);
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Child> {
        let Recipe { program, words, variables, log, health_port, .. } = &self.recipe;
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if ITS_VARIABLES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
            .args(words)
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

    /// SIGKILL; it stays down until [`Self::start`].
    pub(super) fn kill(&self) {
        let mut wanted = self.lock();
        wanted.runs = false;
        if let Some(mut child) = wanted.child.take() {
            // Both fail only if it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.pid.store(0, Ordering::Relaxed);
    }

    /// SIGSTOP or SIGCONT.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.lock().child {
            send_signal(child.id(), signal);
        }
    }

    /// SIGTERM, and waits for the end; whether it came in order.
    pub(super) async fn stop(&self) -> bool {
        self.lock().runs = false;
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            if self.collect().is_none_or(|code| code.is_some()) {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        let in_order = self.lock().child.is_none();
        self.kill();
        in_order
    }

    /// Takes the child if it has ended: `None` if there is none, else its end if it came.
    fn collect(&self) -> Option<Option<std::process::ExitStatus>> {
        let mut wanted = self.lock();
        let ended = wanted.child.as_mut()?.try_wait().ok().flatten();
        if ended.is_some() {
            wanted.child = None;
            self.pid.store(0, Ordering::Relaxed);
        }
        Some(ended)
    }

    /// Starts it again whenever it ends by itself. Never ends.
    pub(super) async fn keep(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            let runs = self.lock().runs;
            if runs && matches!(self.collect(), Some(Some(_))) {
                self.n_ended_by_itself.fetch_add(1, Ordering::Relaxed);
                sleep(RESTART_PAUSE).await;
                if self.lock().runs {
                    // It cannot be spawned only when the machine is out of something: the next look tries again.
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

pub(super) fn send_signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already is a fault of its own, which others notice.
        let _ = kill_process(pid, signal);
    }
}
