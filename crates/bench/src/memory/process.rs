//! A role as a process, and the peak of its memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use spindle_testkit::{free_port, wait_until};

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Prefixes of the environment variables that `spindle` reads.
const PROGRAM_VARIABLES: [&str; 5] = ["NATS_", "SPINDLE_", "INFLUXDB_", "CLIENT_", "GENERATION_"];

/// A role at work; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Process {
    /// Starts a role with its data in `folder`; returns once it serves HTTP.
    pub(super) fn start(program: &Path, folder: &Path, role: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = folder.join(format!("{role}.log"));
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if PROGRAM_VARIABLES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        let listen = if ["web", "up"].contains(&role) { "SPINDLE_HTTP" } else { "SPINDLE_HEALTH" };
        command
            .arg(role)
            .env("SPINDLE_DATA_DIR", folder.join("data"))
            .env("SPINDLE_SIMULATED_PAST", "0")
            .env(listen, &address)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let process = Self { child, address, log };
        let is_up = wait_until(START_TIMEOUT, "the role serves HTTP", || TcpStream::connect(&process.address).is_ok());
        is_up.with_context(|| process.log_tail())?;
        Ok(process)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the peak of the resident memory, in bytes. Fails if the process has ended.
    pub(super) fn peak_bytes(&mut self) -> Result<u64> {
        ensure!(self.child.try_wait()?.is_none(), "the role has ended: {}", self.log_tail());
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in its status")?;
        let kib: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib << 10)
    }

    /// Returns the value of a Prometheus metric, summed over its labels; 0 if it is not there yet.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let text = ask().unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        lines.filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
