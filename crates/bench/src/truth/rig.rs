//! Real servers and roles for one case, and the means to ask them. Dropping the rig ends everything.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use spindle_store::{InfluxSettings, Store};
use spindle_testkit::{InfluxServer, NatsServer, Program, free_port};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::http;
use crate::harness::nats::{Address, Connection, jetstream};
use crate::harness::process::{PROGRAM_VARIABLES, Recipe, Role};
use crate::harness::random::Random;

/// Long enough for a loaded machine; every wait ends as soon as its condition holds.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Store behind the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Embedded,
    Influxdb,
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Embedded => "embedded",
            Self::Influxdb => "influxdb",
        })
    }
}

/// Servers and roles of one case.
pub(super) struct Rig {
    pub(super) program: PathBuf,
    pub(super) backend: Backend,
    pub(super) random: Random,
    pub(super) roles: Vec<Role>,
    pub(super) nats: NatsServer,
    pub(super) influx: Option<InfluxServer>,
    pub(super) folder: TempDir,
}

impl Rig {
    pub(super) fn new(program: PathBuf, backend: Backend, seed: u64) -> Result<Self> {
        Ok(Self {
            program,
            backend,
            random: Random::new(seed),
            roles: Vec::new(),
            nats: NatsServer::start()?,
            influx: (backend == Backend::Influxdb).then(InfluxServer::start).transpose()?,
            folder: tempfile::tempdir()?,
        })
    }

    pub(super) fn address(&self) -> Address {
        Address::new(vec![self.nats.port()])
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Environment of every process: servers, directory, store; `more` takes precedence.
    pub(super) fn variables(&self, more: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let mut variables = BTreeMap::from([
            ("NATS_URL".to_owned(), self.nats.url()),
            ("SPINDLE_DATA_DIR".to_owned(), self.data_dir().display().to_string()),
            ("SPINDLE_NATS_SERVER".to_owned(), Program::find("nats-server")?.path.display().to_string()),
            ("SPINDLE_HTTP".to_owned(), "127.0.0.1:0".to_owned()),
            ("SPINDLE_SIMULATED_PAST".to_owned(), "0".to_owned()),
            ("SPINDLE_STORE".to_owned(), self.backend.to_string()),
        ]);
        if let Some(influx) = &self.influx {
            variables.insert("INFLUXDB_HOST".to_owned(), influx.url());
        }
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(variables.into_iter().collect())
    }

    /// Starts a role, or any other command that serves health probes; returns the port of the probes.
    pub(super) fn start(&mut self, arguments: &[&str], more: &[(&str, &str)]) -> Result<u16> {
        fs::create_dir_all(self.data_dir())?;
        let health_port = free_port()?;
        let name = arguments.first().copied().unwrap_or_default().to_owned();
        let role = Role::new(Recipe {
            log: self.folder.path().join(format!("{name}.log")),
            name,
            program: self.program.clone(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            variables: self.variables(more)?,
            health_port,
        });
        role.start()?;
        self.roles.push(role);
        Ok(health_port)
    }

    /// Starts the writer and waits until it is ready.
    pub(super) async fn start_writer(&mut self, more: &[(&str, &str)]) -> Result<u16> {
        let writer = self.start(&["writer"], more)?;
        wait_until_ready(writer).await.with_context(|| self.log("writer"))?;
        Ok(writer)
    }

    /// A role's log, over its restarts.
    pub(super) fn whole_log(&self, role: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{role}.log"))).unwrap_or_default()
    }

    /// End of a role's log.
    pub(super) fn log(&self, role: &str) -> String {
        let text = self.whole_log(role);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Runs a command of the program to its end.
    pub(super) fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if PROGRAM_VARIABLES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        Ok(command.args(arguments).envs(self.variables(more)?).current_dir(self.folder.path()).output()?)
    }

    /// Asks the reader; its answer, whatever the exit code.
    pub(super) fn query(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(&[&["query"], arguments, &["--format", "json"]].concat(), &[])?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Publishes payloads one after another; returns the number of acks without an error.
    pub(super) async fn publish(&self, subject: &str, payloads: &[String]) -> Result<usize> {
        let mut connection = Connection::open(&self.address()).await?;
        let (mut n_acked, mut patience) = (0, ANSWER_TIMEOUT);
        for payload in payloads {
            let ack = connection.ask(subject, payload.as_bytes(), patience).await;
            if ack.is_err() {
                // A stream without acks gives none to the next ones either.
                patience = Duration::from_millis(20);
            }
            let answer: Option<Value> = ack.ok().and_then(|ack| serde_json::from_slice(&ack.payload).ok());
            n_acked += usize::from(answer.is_some_and(|answer| answer["error"].is_null() && answer["seq"].is_u64()));
        }
        Ok(n_acked)
    }

    /// Messages that the writer has not acknowledged.
    pub(super) async fn lag(&self, stream: &str) -> Result<u64> {
        let api = format!("CONSUMER.INFO.{stream}.writer-{}", stream.to_lowercase());
        let info = jetstream(&self.address(), &api, &Value::Null).await?;
        Ok(info["num_pending"].as_u64().unwrap_or(0) + info["num_ack_pending"].as_u64().unwrap_or(0))
    }

    /// Waits until the writer has acknowledged everything.
    pub(super) async fn wait_until_acknowledged(&self) -> Result<()> {
        for stream in ["METRICS", "EVENTS"] {
            let deadline = Instant::now() + PATIENCE;
            while self.lag(stream).await? > 0 {
                if Instant::now() > deadline {
                    bail!("{stream} is not acknowledged; {}", self.log("writer"));
                }
                sleep(POLL_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// Dead letters by reason.
    pub(super) async fn dead_letters(&self) -> Result<BTreeMap<String, u64>> {
        let filter = json!({ "subjects_filter": "deadletter.>" });
        let info = jetstream(&self.address(), "STREAM.INFO.DEADLETTER", &filter).await?;
        let subjects = info["state"]["subjects"].as_object().cloned().unwrap_or_default();
        Ok(subjects
            .iter()
            .map(|(subject, n)| (subject.trim_start_matches("deadletter.").to_owned(), n.as_u64().unwrap_or(0)))
            .collect())
    }

    /// Opens the store that the roles use.
    pub(super) async fn store(&self) -> Result<Store> {
        Ok(match &self.influx {
            None => Store::open_embedded(&self.data_dir().join("spindle.db")).await?,
            Some(influx) => Store::open_influx(InfluxSettings {
                host: influx.url(),
                database: "spindle".to_owned(),
                ..InfluxSettings::default()
            })?,
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.roles.iter().for_each(Role::kill);
    }
}

/// Returns status and body of an HTTP request to a role.
pub(super) async fn get(port: u16, path: &str) -> Result<(u16, String)> {
    http::get(&format!("127.0.0.1:{port}"), path, ANSWER_TIMEOUT).await
}

/// Waits until a role reports that it is ready.
pub(super) async fn wait_until_ready(port: u16) -> Result<()> {
    wait_for_readiness(port, PATIENCE, |status, _| status == 200).await.map(drop)
}

/// Waits for a readiness; returns the last one that was seen.
pub(super) async fn wait_for_readiness(
    port: u16,
    limit: Duration,
    is_wanted: impl Fn(u16, &str) -> bool,
) -> Result<(u16, String)> {
    let (deadline, mut last) = (Instant::now() + limit, (0, String::from("no answer")));
    while Instant::now() < deadline {
        if let Ok(answer) = get(port, "/readyz").await {
            last = answer;
            if is_wanted(last.0, &last.1) {
                return Ok(last);
            }
        }
        sleep(POLL_INTERVAL).await;
    }
    bail!("readiness is {} {}", last.0, last.1)
}

/// Returns the sum of a counter of a role over the labels that contain `label`.
pub(super) async fn counter(port: u16, name: &str, label: &str) -> Result<u64> {
    let (_, text) = get(port, "/metrics").await?;
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        ((rest.is_empty() || rest.starts_with('{')) && rest.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    Ok(values.sum::<f64>() as u64)
}

/// Text of a time, `age` before now.
#[expect(
    clippy::disallowed_methods,
    reason = "messages are as old as the case says; nothing else here reads the clock"
)]
pub(super) fn ago(age: Duration) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let instant = i64::try_from(now.saturating_sub(age).as_nanos()).unwrap_or(i64::MAX);
    spindle_core::Timestamp::from_ns(instant).to_string()
}

/// Path of a copy of the program.
pub(super) fn copy_program(program: &Path, to: &Path) -> Result<()> {
    fs::copy(program, to).map(drop).with_context(|| format!("cannot copy the program to {}", to.display()))
}
