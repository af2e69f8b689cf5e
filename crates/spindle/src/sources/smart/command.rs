//! One run of smartctl. It ends within the time limit, and its output within a bound, whatever the drive does.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Directories of smartctl that are not on the `PATH` of ordinary users.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];
/// Longest output; that of a drive with every log is below 1 MiB.
const MAX_OUTPUT_BYTES: u64 = 8 << 20;

/// Failure to run smartctl.
#[derive(Debug)]
pub(super) enum CommandError {
    Missing(PathBuf),
    Start {
        program: PathBuf,
        error: std::io::Error,
    },
    /// Output that is not that of smartctl.
    Foreign(String),
    /// No end within the time limit. The process is killed, but may hang in the kernel.
    Silent(Option<Child>),
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(program) => {
                write!(formatter, "{} not found: install smartmontools, or set daemon.smart_program", program.display())
            }
            Self::Start { program, error } => {
                write!(formatter, "cannot run {}: {error}; correct daemon.smart_program", program.display())
            }
            Self::Foreign(reason) => write!(formatter, "smartctl: {reason}"),
            Self::Silent(_) => formatter.write_str("smartctl did not end in time"),
        }
    }
}

/// The program, and the time limit of each run.
#[derive(Debug)]
pub(super) struct Smartctl {
    configured: PathBuf,
    /// Program that was found.
    program: Option<PathBuf>,
    /// Version of the program, if it states one.
    version: Option<(u32, u32)>,
    limit: Duration,
}

impl Smartctl {
    pub(super) fn new(configured: PathBuf, limit: Duration) -> Self {
        Self { configured, program: None, version: None, limit }
    }

    /// Returns `true` if the program can read the FARM log.
    pub(super) fn knows_farm(&self) -> bool {
        self.version >= Some((7, 4))
    }

    /// Finds the program unless that was done before.
    pub(super) async fn locate(&mut self) -> Result<(), CommandError> {
        if self.program.is_some() {
            return Ok(());
        }
        let is_name = self.configured.components().count() == 1;
        let directories = if is_name { &SYSTEM_DIRECTORIES[..] } else { &[] };
        let others = directories.iter().map(|directory| Path::new(directory).join(&self.configured));
        for candidate in [self.configured.clone()].into_iter().chain(others) {
            self.program = Some(candidate);
            match self.run(&["--version"]).await {
                Err(CommandError::Missing(_)) => self.program = None,
                Err(CommandError::Start { program, error }) => {
                    self.program = None;
                    return Err(CommandError::Start { program, error });
                }
                Ok(output) => {
                    self.version = version(&output);
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
        Err(CommandError::Missing(self.configured.clone()))
    }

    /// Runs the program and returns its output. The exit status is part of the output.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, CommandError> {
        let program = self.program.as_ref().unwrap_or(&self.configured);
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own, so that a wrapper such as sudo ends with what it started.
        let spawned = command.process_group(0).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            ErrorKind::NotFound => CommandError::Missing(program.clone()),
            _ => CommandError::Start { program: program.clone(), error },
        })?;
        let group = Group(child.id());
        let mut output = Vec::new();
        let Some(stdout) = child.stdout.take() else { return Ok(output) };
        let mut bounded = stdout.take(MAX_OUTPUT_BYTES);
        let work = async {
            let _ = bounded.read_to_end(&mut output).await;
            // A program that prints without end meets a closed pipe.
            drop(bounded);
            child.wait().await
        };
        match timeout(self.limit, work).await {
            Ok(_) => {
                group.forget();
                Ok(output)
            }
            Err(_) => {
                drop(group);
                Err(CommandError::Silent(Some(child)))
            }
        }
    }
}

/// Reads the version from the first line: `smartctl 7.4 2023-08-01 r5530 …`.
fn version(output: &[u8]) -> Option<(u32, u32)> {
    let text = String::from_utf8_lossy(output);
    let (major, minor) = text.strip_prefix("smartctl ")?.split_whitespace().next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Process group that is killed when it is dropped.
struct Group(Option<u32>);

impl Group {
    /// Leaves the group alone: its process has ended, and its number may be given to another.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
