//! A running `spindle up` per test, with its own data directory and ports.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use spindle_store::{InfluxSettings, Store};
use spindle_testkit::{InfluxServer, Program, wait_until};

/// Long enough for a loaded machine; every wait ends as soon as its condition holds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_spindle");

/// Counts the metric values, events and devices in the file of an embedded store.
pub(crate) fn stored_rows(file: &Path) -> (u64, u64, u64) {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM events), (SELECT count(*) FROM devices)";
    let count = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(i64::unsigned_abs);
    connection.query_row(sql, [], |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?))).unwrap()
}

/// Returns `spindle`, without the variables of the outer environment that could change its behaviour.
pub(crate) fn spindle(data_dir: &Path) -> Command {
    spindle_at(&program(), data_dir)
}

/// Returns the program under test.
pub(crate) fn program() -> PathBuf {
    std::env::var("SPINDLE_TEST_PROGRAM").unwrap_or_else(|_| PROGRAM.to_owned()).into()
}

/// Returns [`spindle`] with another program, such as a copy or a shell that executes it.
pub(crate) fn spindle_at(program: &Path, data_dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["NATS_", "SPINDLE_", "INFLUXDB_", "CLIENT_", "GENERATION_"]
            .iter()
            .any(|prefix| name_text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    // Each panic would have its backtrace in the log.
    command.env_remove("RUST_BACKTRACE");
    command.env("SPINDLE_NATS_SERVER", Program::find("nats-server").unwrap().path);
    command.env("SPINDLE_DATA_DIR", data_dir).env("SPINDLE_HTTP", "127.0.0.1:0").env("SPINDLE_NATS_PORT", "0");
    // Most tests count what is stored.
    command.env("SPINDLE_SIMULATED_PAST", "0");
    command.current_dir(data_dir.parent().unwrap()).stdin(Stdio::null());
    command
}

/// A `spindle up` under test; killed with its nats-server when dropped.
pub(crate) struct System {
    pub(crate) folder: tempfile::TempDir,
    config: String,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
    /// The store, unless it is the embedded one.
    pub(crate) influx: Option<InfluxServer>,
}

/// Starts InfluxDB if `SPINDLE_TEST_STORE=influxdb`: the same tests run on it; `./run.sh test` runs both.
fn influx_under_test() -> Option<InfluxServer> {
    match std::env::var("SPINDLE_TEST_STORE").as_deref() {
        Ok("influxdb") => Some(InfluxServer::start().unwrap()),
        Ok("embedded") | Err(_) => None,
        Ok(other) => panic!("SPINDLE_TEST_STORE={other}: embedded or influxdb"),
    }
}

impl System {
    /// Starts it and waits until it is up.
    pub(crate) fn start(config: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let port = spindle_testkit::free_port().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let influx = influx_under_test();
        let mut system = Self { folder, config: config.to_owned(), arguments, port, child: None, influx };
        system.start_again();
        system
    }

    /// Starts it again, with the same data, configuration and ports.
    pub(crate) fn start_again(&mut self) {
        std::fs::write(self.folder.path().join("test.toml"), &self.config).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = spindle(&self.data_dir());
        command.args(["up", "--config", "test.toml"]).args(&self.arguments);
        if let Some(influx) = &self.influx {
            command.args(["--store", "influxdb"]).env("INFLUXDB_HOST", influx.url());
        }
        // The port survives restarts, so that a client of the test can reconnect.
        command.env("SPINDLE_NATS_PORT", self.port.to_string());
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let up = wait_until(PATIENCE, "spindle is up", || self.run_file().is_some());
        assert!(up.is_ok(), "spindle did not come up:\n{}", self.log());
    }

    /// Removes all sources, from the next start.
    pub(crate) fn without_sources(mut self) -> Self {
        self.config = NO_SOURCES.to_owned();
        self.arguments.clear();
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Opens the store that the system writes to.
    pub(crate) async fn store(&self) -> Store {
        let Some(influx) = &self.influx else {
            return Store::open_embedded(&self.data_dir().join("spindle.db")).await.unwrap();
        };
        let (host, database) = (influx.url(), "spindle".to_owned());
        Store::open_influx(InfluxSettings { host, database, ..InfluxSettings::default() }).unwrap()
    }

    /// Counts the devices with metric values in the store.
    pub(crate) fn stored_devices(&self) -> u64 {
        let Some(influx) = &self.influx else { return stored_rows(&self.data_dir().join("spindle.db")).2 };
        let query = "SHOW TAG VALUES FROM device_metrics WITH KEY = source_device";
        let answer = influx.query("spindle", query).unwrap();
        answer["results"][0]["series"][0]["values"].as_array().map_or(0, |values| values.len() as u64)
    }

    /// Counts the metric values and events in the store.
    pub(crate) fn stored(&self) -> (u64, u64) {
        let Some(influx) = &self.influx else {
            let (n_metrics, n_events, _) = stored_rows(&self.data_dir().join("spindle.db"));
            return (n_metrics, n_events);
        };
        let count = |measurement: &str, field: &str| {
            let answer = influx.query("spindle", &format!("SELECT count({field}) FROM {measurement}")).unwrap();
            answer["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or(0)
        };
        (count("device_metrics", "value"), count("events", "criticality"))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("spindle.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Returns `run.json` if it belongs to the process under test.
    fn run_file(&self) -> Option<Value> {
        run_file_of(&self.data_dir(), self.pid())
    }

    /// Returns the address of NATS, with user and password, for [`nats_options`].
    pub(crate) fn nats_url(&self) -> String {
        self.run_file().unwrap()["nats"].as_str().unwrap().to_owned()
    }

    /// Connects a plain async-nats client.
    pub(crate) async fn nats(&self) -> async_nats::Client {
        let url = self.nats_url();
        nats_options(&url).connect(&url).await.unwrap()
    }

    pub(crate) fn http(&self) -> String {
        self.run_file().unwrap()["http"].as_str().unwrap().trim_start_matches("http://").to_owned()
    }

    pub(crate) fn nats_pid(&self) -> u32 {
        nats_pid_of(&self.data_dir())
    }

    pub(crate) fn signal(&self, signal: &str) {
        send_signal(self.pid(), signal);
    }

    /// Kills the process as a power cut would, and waits until its nats-server has ended too.
    pub(crate) fn kill(&mut self) {
        let nats = self.nats_pid();
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until(PATIENCE, "nats-server follows", || !is_running(nats)).unwrap();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        let ended = wait_until(PATIENCE, "spindle ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended.is_ok(), "{}", self.log());
        status.unwrap()
    }

    /// Runs `spindle query …`.
    pub(crate) fn query(&self, arguments: &[&str]) -> Output {
        spindle(&self.data_dir()).arg("query").args(arguments).output().unwrap()
    }

    /// Returns the response of `spindle query … --format json`.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let output = self.query(&[arguments, &["--format", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Waits until queries succeed (again).
    pub(crate) fn wait_for_readers(&self) {
        wait_until(PATIENCE, "queries succeed", || self.query(&["devices"]).status.code() == Some(0)).unwrap();
    }

    /// Waits until a response is as wanted.
    pub(crate) fn wait_for(&self, arguments: &[&str], what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let came = wait_until(PATIENCE, what, || {
            last = self.ask(arguments);
            wanted(&last)
        });
        assert!(came.is_ok(), "{what}: {last:#}\n{}", self.log());
        last
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- log of spindle ---\n{}", self.log());
        }
    }
}

/// Returns `run.json` of a data directory if it belongs to this process.
pub(crate) fn run_file_of(data_dir: &Path, pid: u32) -> Option<Value> {
    let bytes = std::fs::read(data_dir.join("run.json")).ok()?;
    serde_json::from_slice::<Value>(&bytes).ok().filter(|run| run["pid"] == pid)
}

/// Returns the process id of the nats-server of a data directory. The server empties the file before it writes it.
pub(crate) fn nats_pid_of(data_dir: &Path) -> u32 {
    let path = data_dir.join("nats/nats-server.pid");
    let mut pid = None;
    let is_written = || {
        pid = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        pid.is_some()
    };
    wait_until(PATIENCE, "the process id of nats-server", is_written).unwrap();
    pid.unwrap()
}

/// Returns options with the user and password of an address, if it has them; async-nats ignores them there.
pub(crate) fn nats_options(url: &str) -> async_nats::ConnectOptions {
    let (options, userinfo) = (async_nats::ConnectOptions::new(), url.trim_start_matches("nats://").rsplit_once('@'));
    let Some((user, password)) = userinfo.and_then(|(userinfo, _)| userinfo.split_once(':')) else { return options };
    options.user_and_password(user.to_owned(), password.to_owned())
}

pub(crate) fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// Returns `true` if a process runs; one that ended but was not waited for does not.
pub(crate) fn is_running(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

/// No sources: the test publishes its own messages.
pub(crate) const NO_SOURCES: &str = "[daemon]\nsources = []\n";
