//! One real `influxd` 1.x process, on the loopback address, owned by one test.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::wait::{free_port, wait_until};

const START_DEADLINE: Duration = Duration::from_secs(60);
const MAX_STARTS: usize = 5;
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The user that [`InfluxOptions::auth`] makes, and its password.
const ADMIN: (&str, &str) = ("admin", "admin-password");

/// Options of an [`InfluxServer`].
#[derive(Clone, Debug, Default)]
pub struct InfluxOptions {
    /// Requires authentication; the only user is the administrator `admin` with `admin-password`.
    pub auth: bool,
    /// Data directory. `None`: a temporary one.
    pub data_dir: Option<PathBuf>,
    /// Lines for the section `[http]` of the configuration.
    pub http_config: String,
    /// Lines for the section `[data]`, such as limits.
    pub data_config: String,
}

/// A running (or killed) `influxd`. Dropping it kills the process and removes its temporary files.
#[derive(Debug)]
pub struct InfluxServer {
    program: PathBuf,
    options: InfluxOptions,
    port: u16,
    child: Option<Child>,
    has_started: bool,
    work_dir: TempDir,
}

impl InfluxServer {
    /// Starts a server with the default options; returns when it answers.
    pub fn start() -> Result<InfluxServer> {
        InfluxServer::start_with(InfluxOptions::default())
    }

    /// Starts a server; returns when it answers.
    pub fn start_with(options: InfluxOptions) -> Result<InfluxServer> {
        let work_dir = tempfile::Builder::new().prefix("spindle-influx-").tempdir()?;
        let (program, port) = (find()?, free_port()?);
        let mut server = InfluxServer { program, options, port, child: None, has_started: false, work_dir };
        server.launch()?;
        if server.options.auth {
            let (user, password) = ADMIN;
            let create = format!("CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES");
            server.exchange("POST", &format!("/query?q={}", percent(&create)), "")?;
        }
        Ok(server)
    }

    /// Address of the server, the same after a restart.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Process id; `None` while the server is not running.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the process through a shared reference (SIGKILL); dropping the server reaps it.
    pub(crate) fn end(&self) {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Kills the process (SIGKILL) and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process (SIGTERM) and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = wait_until(STOP_DEADLINE, "influxd to end", || !matches!(child.try_wait(), Ok(None)));
        self.kill();
        ended
    }

    /// Restarts the server on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Restarts the server with other lines in the section `[data]`.
    pub fn restart_with_data_config(&mut self, data_config: &str) -> Result<()> {
        data_config.clone_into(&mut self.options.data_config);
        self.restart()
    }

    /// Restarts the server after a crash or a full disk: once on another port, where nobody writes, then on its own.
    ///
    /// At its start, 1.6.7 cuts a torn entry off the end of its write-ahead log, but continues to write behind the
    /// place where that entry ended. The next start finds a hole there and discards everything written after it, all
    /// of it acknowledged (as influxdata/influxdb #9657). A start and a stop without a write in between find the
    /// right end.
    pub fn restart_after_a_crash(&mut self) -> Result<()> {
        self.stop()?;
        let port = std::mem::replace(&mut self.port, free_port()?);
        let healed = self.launch().and_then(|()| self.stop());
        self.port = port;
        healed?;
        self.launch()
    }

    /// Writes line protocol (nanoseconds) into a database.
    pub fn write(&self, database: &str, lines: &str) -> Result<()> {
        let (status, body) = self.exchange("POST", &format!("/write?db={}", percent(database)), lines)?;
        ensure!(status == 204, "influxd answered {status} to a write: {body}");
        Ok(())
    }

    /// Runs a query and returns its response, times in nanoseconds. An `error` in the response is an error.
    pub fn query(&self, database: &str, query: &str) -> Result<Value> {
        let path = format!("/query?epoch=ns&db={}&q={}", percent(database), percent(query));
        let (status, body) = self.exchange("POST", &path, "")?;
        let answer: Value = serde_json::from_str(&body).with_context(|| format!("{status} {body}"))?;
        let error = answer["error"].as_str().or_else(|| answer["results"][0]["error"].as_str());
        match error {
            Some(message) => bail!("influxd refuses {query}: {message}"),
            None => Ok(answer),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (user, password) = ADMIN;
        let user = if self.options.auth { format!("{separator}u={user}&p={password}") } else { String::new() };
        let (status, body) = self.forward(method, &format!("{path}{user}"), "text/plain", body.as_bytes())?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Sends one request over its own connection; returns status and body. HTTP/1.0 ends the body with the connection.
    pub(crate) fn forward(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: influx\r\nAccept: application/json\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end =
            answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("influxd closed the connection early")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        Ok((status.context("influxd does not answer in HTTP")?, answer.split_off(end + 4)))
    }

    /// Starts the process. Another one may have taken a port since it was free: a few more attempts then, on another port
    /// if nobody knows the first yet.
    fn launch(&mut self) -> Result<()> {
        for _ in 0..MAX_STARTS {
            let log_start = self.log().len();
            let mut child = self.spawn()?;
            let mut has_ended = false;
            // What answers on a taken port is another server.
            let up = wait_until(START_DEADLINE, "influxd answers", || {
                has_ended = !matches!(child.try_wait(), Ok(None));
                has_ended || self.log()[log_start..].contains("Listening on HTTP") && self.is_up()
            });
            self.child = Some(child);
            if up.is_ok() && !has_ended {
                self.has_started = true;
                return Ok(());
            }
            self.kill();
            if !has_ended || !self.log()[log_start..].contains("address already in use") {
                return up.and_then(|()| bail!("influxd ended")).with_context(|| format!("its log:\n{}", self.log()));
            }
            if !self.has_started {
                self.port = free_port()?;
            }
        }
        bail!("influxd found its ports taken {MAX_STARTS} times; its log:\n{}", self.log())
    }

    fn is_up(&self) -> bool {
        matches!(self.exchange("GET", "/ping", ""), Ok((204, _)))
    }

    fn spawn(&self) -> Result<Child> {
        let data = self.options.data_dir.clone().unwrap_or_else(|| self.work_dir.path().join("data"));
        fs::create_dir_all(&data)?;
        let data = data.display();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\ndir = \"{data}/meta\"\n[data]\ndir = \"{data}/data\"\nwal-dir = \"{data}/wal\"\nquery-log-enabled = false\n{limits}\n[monitor]\nstore-enabled = false\n[http]\nbind-address = \"127.0.0.1:{port}\"\nlog-enabled = false\nauth-enabled = {auth}\n{http}\n",
            rpc = free_port()?,
            port = self.port,
            auth = self.options.auth,
            http = self.options.http_config,
            limits = self.options.data_config,
        );
        let config_path = self.work_dir.path().join("influxd.conf");
        fs::write(&config_path, config)?;
        let log = File::options().create(true).append(true).open(self.work_dir.path().join("influxd.log"))?;
        Command::new(&self.program)
            .args(["run", "-config"])
            .arg(&config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Log of the server.
    pub fn log(&self) -> String {
        fs::read_to_string(self.work_dir.path().join("influxd.log")).unwrap_or_default()
    }
}

impl Drop for InfluxServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks in `SPINDLE_INFLUXD`, the `PATH`, then among the tools that `./run.sh test` fetches.
fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os("SPINDLE_INFLUXD").filter(|value| !value.is_empty()) {
        return Ok(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = env::split_paths(&path).map(|folder| folder.join("influxd")).collect();
    candidates.push(crate::program::tools_dir().join("influxdb/usr/bin/influxd"));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .context("no influxd 1.x: `./run.sh test` fetches one, or set SPINDLE_INFLUXD to the program")
}

/// Percent-encodes a text for a query string or a form.
pub(crate) fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
