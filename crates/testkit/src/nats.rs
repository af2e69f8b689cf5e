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

/// A server answers within 100 ms here; the rest is for a machine that runs a whole suite at once,
/// and for the recovery of a large store.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A clean stop flushes the consumers' state; it has never been seen to take a second.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A port that we chose may be taken between the choice and the server's bind. Three collisions in a
/// row are no accident any more.
const PORT_ATTEMPTS: u32 = 3;

/// Not a reservation of disk, only the sum that streams may claim. Unset, the server would take a
/// share of what is free, and a test would depend on the machine.
const DEFAULT_MAX_FILE_STORE_BYTES: u64 = 64 << 30;

/// `sync_interval` is an unknown field before this version, and the server refuses to start on one.
const FIRST_WITH_SYNC_INTERVAL: Version = Version { major: 2, minor: 10, patch: 0 };

const LOG_TAIL_LINES: usize = 20;

/// What a test may want to be different. The default: a free port, a temporary store, the server's
/// own sync interval.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Where JetStream keeps its files; created when missing, never removed. `None`: a temporary
    /// folder that goes with the server. The server does not lock it: one server per folder.
    pub store_dir: Option<PathBuf>,
    /// The client port. `None`: a free one.
    pub port: Option<u16>,
    /// One fsync per message before its ack (`sync_interval: always`). A SIGKILL of the server alone
    /// loses nothing without it, since the kernel keeps the pages; it is slower by a factor of 20.
    /// An error with servers before 2.10, which cannot do it.
    pub sync_always: bool,
    /// Bytes that all streams together may claim. `None`: far more than a test needs.
    pub max_file_store: Option<u64>,
    /// Appended to the configuration file as it is.
    pub extra_config: String,
}

/// A running (or killed) `nats-server`. Dropping it kills the process and removes its temporary files.
///
/// The process stays in the test's process group, so that a runner that ends the test's group ends
/// the server as well.
#[derive(Debug)]
pub struct NatsServer {
    program: Program,
    options: Options,
    port: u16,
    monitoring: String,
    store_dir: PathBuf,
    child: Option<Child>,
    last_pid: u32,
    // After `child`, and `Drop` has ended the process before: nothing writes here any more when it goes.
    work_dir: TempDir,
}

impl NatsServer {
    /// A server with the default [`Options`]. Returns when it accepts clients and JetStream is up.
    pub fn start() -> Result<NatsServer> {
        NatsServer::start_with(Options::default())
    }

    /// A server with what `options` asks for. Returns when it accepts clients and JetStream is up; the
    /// error otherwise carries the end of the server's log.
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

    /// Three servers that can keep three copies, node 0 to 2. They start together: one alone is not healthy.
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

    /// The address for clients, such as `nats://127.0.0.1:23817`. The same after a restart.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The client port. The same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the last process started; it may be gone already.
    pub fn pid(&self) -> u32 {
        self.last_pid
    }

    /// The folder given to JetStream; the server keeps its files in `jetstream/` under it.
    pub fn store_dir(&self) -> &Path {
        &self.store_dir
    }

    /// The version of the program in use.
    pub fn version(&self) -> Version {
        self.program.version
    }

    /// The last lines of the server's log, over all restarts.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log_path())
    }

    /// Ends the process at once (SIGKILL) and collects it. Nothing happens when it is gone already.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has ended by itself, which is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process where it is (SIGSTOP): connections stay, nothing is read. A kill ends it.
    pub fn pause(&self) {
        if let Some(pid) = self.child.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed())) {
            // Fails only if the process has ended by itself; who waits for an effect sees that.
            let _ = kill_process(pid, Signal::STOP);
        }
    }

    /// Asks the process to end (SIGTERM: JetStream flushes its state) and waits for it. After 20 s it
    /// is killed, and that is an error. Nothing happens when it is gone already.
    pub fn stop(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
            // Fails only if the process has ended by itself; the wait below sees that.
            let _ = kill_process(pid, Signal::TERM);
        }
        // The exit code says nothing: servers up to 2.10 end with 1 on SIGTERM.
        let ended =
            wait_until(STOP_DEADLINE, "nats-server to end after SIGTERM", || !matches!(child.try_wait(), Ok(None)));
        self.kill();
        ended.with_context(|| format!("nats-server log:\n{}", self.log_tail()))
    }

    /// Starts it again on the same port and store; stops it first if it still runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// A collision on a port that we chose ourselves is nobody's fault: choose again.
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

    /// Three states in the order in which the server reaches them: its ports file is written, a client
    /// is greeted, and `/healthz` finds JetStream with all streams and consumers recovered.
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = wait::Deadline::after(START_DEADLINE);
        let ports_dir = self.work_dir.path().to_path_buf();
        let mut what = "its ports file";
        loop {
            let child = self.child.as_mut().context("nats-server is not running")?;
            if let Some(status) = child.try_wait().context("cannot look after nats-server")? {
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

    /// The address of the monitoring port, such as `127.0.0.1:40213`. It changes with a restart.
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

/// A path as a string of the server's configuration language.
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
