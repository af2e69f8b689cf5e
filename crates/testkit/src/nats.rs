//! One `nats-server` process with JetStream, on the loopback address, owned by one test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::{Program, Version};
use crate::wait::{free_port, wait_until};
use crate::{probe, wait};

/// Limit for a start. 100 ms are usual; the rest is for a machine that runs a whole suite at once, and for the recovery
/// of a large store.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Limit for a clean stop, which flushes the state of the consumers; it has never taken a second so far.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Attempts to bind: another process may take the chosen port before the server binds it. Three collisions in a row are
/// not a coincidence.
const PORT_ATTEMPTS: u32 = 3;

/// Default for the sum of all streams' limits; reserves no disk space. Without it, the server would take a share of the
/// free space, and a test would depend on the machine.
const DEFAULT_MAX_FILE_STORE_BYTES: u64 = 64 << 30;

/// First version with `sync_interval`; earlier ones refuse to start with an unknown field.
const FIRST_WITH_SYNC_INTERVAL: Version = Version { major: 2, minor: 10, patch: 0 };

const LOG_TAIL_LINES: usize = 20;

/// Options of a [`NatsServer`]. Default: a free port, a temporary store, the server's own sync interval.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Folder of JetStream's files; created if missing, never removed. `None`: a temporary one, removed with the server.
    /// The server does not lock it: one server per folder.
    pub store_dir: Option<PathBuf>,
    /// Client port. `None`: a free one.
    pub port: Option<u16>,
    /// One fsync per message before its ack (`sync_interval: always`), slower by a factor of 20. Without it, a SIGKILL of
    /// the server alone loses nothing either: the kernel keeps the pages. An error with servers before 2.10.
    pub sync_always: bool,
    /// Limit for the bytes of all streams together. `None`: far more than a test needs.
    pub max_file_store: Option<u64>,
    /// Text appended verbatim to the configuration file.
    pub extra_config: String,
}

/// A running (or killed) `nats-server`. Dropping it kills the process and removes its temporary files.
///
/// The process stays in the test's process group, so that a runner that kills the group kills the server too.
#[derive(Debug)]
pub struct NatsServer {
    program: Program,
    options: Options,
    port: u16,
    monitoring: String,
    store_dir: PathBuf,
    child: Option<Child>,
    last_pid: u32,
    // Dropped after `Drop` has killed the process: nothing writes here any more.
    work_dir: TempDir,
}

impl NatsServer {
    /// Starts a server with the default [`Options`]. Returns once it accepts clients and JetStream is up.
    pub fn start() -> Result<NatsServer> {
        NatsServer::start_with(Options::default())
    }

    /// Starts a server. Returns once it accepts clients and JetStream is up; an error carries the end of its log.
    pub fn start_with(options: Options) -> Result<NatsServer> {
        let program = Program::find("nats-server")?;
        let work_dir = tempfile::Builder::new()
            .prefix("spindle-nats-")
            .tempdir()
            .context("cannot create a temporary folder for nats-server")?;
        let store_dir = options.store_dir.clone().unwrap_or_else(|| work_dir.path().join("js"));
        let mut server = NatsServer {
            program,
            port: 0,
            monitoring: String::new(),
            store_dir,
            child: None,
            last_pid: 0,
            work_dir,
            options,
        };
        server.launch_on_a_free_port()?;
        Ok(server)
    }

    /// Starts nodes 0 to 2 of a cluster that can keep three replicas. They start together: one alone is never healthy.
    pub fn start_cluster(options: impl Fn(usize) -> Options) -> Result<Vec<NatsServer>> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let starting = ports.iter().enumerate().map(|(node, port)| {
            let mut options = options(node);
            options.extra_config += &format!(
                "server_name: node-{node}\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
            );
            std::thread::spawn(move || NatsServer::start_with(options))
        });
        let starting: Vec<_> = starting.collect();
        starting.into_iter().map(|node| node.join().map_err(|_| anyhow!("a start panicked"))?).collect()
    }

    /// Address for clients, such as `nats://127.0.0.1:23817`. The same after a restart.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Client port. The same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the last process started, which may have ended.
    pub fn pid(&self) -> u32 {
        self.last_pid
    }

    /// Store folder; the server keeps its files in `jetstream/` below it.
    pub fn store_dir(&self) -> &Path {
        &self.store_dir
    }

    /// Version of the program.
    pub fn version(&self) -> Version {
        self.program.version
    }

    /// Last lines of the server's log, which spans all restarts.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log_path())
    }

    /// Kills the process (SIGKILL) and reaps it. Does nothing if it has ended.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Freezes the process (SIGSTOP): connections stay open, nothing is read. A kill still ends it.
    pub fn pause(&self) {
        if let Some(pid) = self.child.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed())) {
            // Fails only if the process has ended already; a caller that waits for an effect notices.
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    /// Stops the process (SIGTERM: JetStream flushes its state) and waits for its end. After 20 s it is killed, which is
    /// an error. Does nothing if the process has ended.
    pub fn stop(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
            // Fails only if the process has ended already; the wait below notices.
            let _ = kill_process(pid, Signal::TERM);
        }
        // The exit code is meaningless: servers up to 2.10 exit with 1 on SIGTERM.
        let ended =
            wait_until(STOP_DEADLINE, "nats-server to end after SIGTERM", || !matches!(child.try_wait(), Ok(None)));
        self.kill();
        ended.with_context(|| format!("nats-server log:\n{}", self.log_tail()))
    }

    /// Restarts the server on the same port and store; stops it first if it is running.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Chooses another port after a collision, unless the port was given.
    fn launch_on_a_free_port(&mut self) -> Result<()> {
        if let Some(port) = self.options.port {
            self.port = port;
            return self.launch();
        }
        let mut attempt = 1;
        loop {
            self.port = free_port()?;
            match self.launch() {
                Err(_) if attempt < PORT_ATTEMPTS && self.log_tail().contains("address already in use") => attempt += 1,
                result => return result,
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let config_path = self.work_dir.path().join("nats.conf");
        fs::create_dir_all(&self.store_dir)
            .with_context(|| format!("cannot create the store folder {}", self.store_dir.display()))?;
        fs::write(&config_path, self.config()?).with_context(|| format!("cannot write {}", config_path.display()))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .context("cannot open the log file of nats-server")?;
        let child = Command::new(&self.program.path)
            .arg("-c")
            .arg(&config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log file of nats-server")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.path.display()))?;
        self.last_pid = child.id();
        self.child = Some(child);
        if let Err(error) = self.wait_until_ready() {
            let tail = self.log_tail();
            self.kill();
            return Err(error.context(format!(
                "{} did not come up on port {}; end of its log:\n{tail}",
                self.program.path.display(),
                self.port
            )));
        }
        Ok(())
    }

    /// Waits for three states, in the order in which the server reaches them: the ports file is written, a client is
    /// greeted, and `/healthz` reports JetStream with all streams and consumers recovered.
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = wait::Deadline::after(START_DEADLINE);
        let ports_dir = self.work_dir.path().to_path_buf();
        let mut what = "its ports file";
        loop {
            let child = self.child.as_mut().context("nats-server is not running")?;
            if let Some(status) = child.try_wait().context("cannot wait for nats-server")? {
                bail!("nats-server ended with {status}");
            }
            match probe::monitoring_address(&ports_dir, self.last_pid) {
                None => {}
                Some(address) if !probe::greets_with_jetstream(self.port) => {
                    self.monitoring = address;
                    what = "its greeting (INFO with JetStream)";
                }
                Some(address) if !probe::is_healthy(&address) => what = "a good /healthz",
                Some(address) => {
                    self.monitoring = address;
                    return Ok(());
                }
            }
            if !deadline.pause() {
                bail!("waited {} s for {what}", START_DEADLINE.as_secs());
            }
        }
    }

    fn config(&self) -> Result<String> {
        let work_dir = quoted(self.work_dir.path())?;
        let mut jetstream = format!(
            "  store_dir: {}\n  max_file_store: {}\n  max_memory_store: 67108864\n",
            quoted(&self.store_dir)?,
            self.options.max_file_store.unwrap_or(DEFAULT_MAX_FILE_STORE_BYTES)
        );
        if self.options.sync_always {
            if self.program.version < FIRST_WITH_SYNC_INTERVAL {
                bail!(
                    "nats-server {} cannot sync always: that needs {FIRST_WITH_SYNC_INTERVAL} or newer",
                    self.program.version
                );
            }
            jetstream.push_str("  sync_interval: always\n");
        }
        Ok(format!(
            "host: \"127.0.0.1\"\nport: {}\nhttp: \"127.0.0.1:-1\"\nports_file_dir: {work_dir}\njetstream {{\n{jetstream}}}\n{}\n",
            self.port, self.options.extra_config
        ))
    }

    /// Address of the monitoring port, such as `127.0.0.1:40213`. Changes with a restart.
    pub fn monitoring(&self) -> &str {
        &self.monitoring
    }

    fn log_path(&self) -> PathBuf {
        self.work_dir.path().join("nats.log")
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Quotes a path for the server's configuration language.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    if text.contains(['"', '\\', '\n']) {
        bail!("{text:?} cannot be written into a nats-server configuration");
    }
    Ok(format!("\"{text}\""))
}

fn log_tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
