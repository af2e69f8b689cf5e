//! The guard: a small process between us and a program that must not outlive us. It waits on a pipe from us; when the
//! pipe closes, for whatever reason, it stops the program in order. It also holds a lock for exactly as long as the
//! program runs, because nats-server does not lock its own directory and two servers in one directory destroy it.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Interval between two checks of the program and the pipe.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Limit for the program to stop; after it, it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Limit for the lock: the guard of a predecessor that was killed needs a moment to stop its program.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Link to the file of the running program, also after the file was replaced or removed. Linux only.
const RUNNING: &str = "/proc/self/exe";

/// Returns a path that starts this program again, though an upgrade may have replaced or removed its file meanwhile.
/// Elsewhere than on Linux a replaced file starts the new program, whose guard does the same.
pub(super) fn own_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find our own executable")?;
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    match identity(Path::new(RUNNING)) {
        // The name in the list of processes is better with the path.
        Some(running) if identity(&path) != Some(running) => Ok(RUNNING.into()),
        _ => Ok(path),
    }
}

/// Runs `program` until it ends or standard input does. Prints the program's pid first.
pub(crate) fn run(lock: &Path, program: &[String]) -> Result<()> {
    let (pipe_closed, tick) = watch_stdin();
    let lock_file = take_lock(lock, &tick)?;
    let [name, arguments @ ..] = program else { bail!("no program to guard given") };
    // The lock becomes the program's standard input: it is held until the program itself has ended, even if this guard
    // is killed. Its own process group keeps Ctrl-C away from it until we have drained.
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::from(lock_file))
        .stdout(Stdio::null())
        // It logs to its file. Our own stderr is a pipe that nobody reads any more.
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let _ = writeln!(std::io::stdout(), "{}", child.id());
    loop {
        match pipe_closed.recv_timeout(POLL_INTERVAL) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return stop(&mut child, &tick),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = child.try_wait()? {
            bail!("{name} ended unexpectedly ({})", describe(status));
        }
    }
}

/// Returns a channel that receives when standard input ends, and one that never receives: a clock to wait on.
fn watch_stdin() -> (Receiver<()>, Receiver<()>) {
    let (closed, is_closed) = sync_channel(1);
    let (never, tick) = sync_channel(1);
    std::thread::spawn(move || {
        let mut ignored = [0; 256];
        while matches!(std::io::stdin().read(&mut ignored), Ok(n) if n > 0) {}
        let _ = closed.send(());
        // Kept alive so that `tick` only ever times out.
        std::thread::park();
        drop(never);
    });
    (is_closed, tick)
}

fn take_lock(path: &Path, tick: &Receiver<()>) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open the lock file {}", path.display()))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                let _ = tick.recv_timeout(POLL_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                // Empty until the server has written it.
                let pid = std::fs::read_to_string(path.with_file_name("nats-server.pid")).unwrap_or_default();
                let process = match pid.trim() {
                    "" => String::new(),
                    pid => format!(" (process {pid})"),
                };
                bail!("another nats-server{process} still uses {}: stop it first", path.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

fn stop(child: &mut Child, tick: &Receiver<()>) -> Result<()> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An error means that it has ended already.
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        let _ = tick.recv_timeout(POLL_INTERVAL);
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}
