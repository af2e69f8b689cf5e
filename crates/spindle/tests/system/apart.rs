//! A role in its own process, with its log and its health probes; and helpers that publish messages to it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context};
use spindle_core::Timestamp;
use spindle_testkit::{InfluxServer, free_port, wait_until};

use crate::harness::{PATIENCE, spindle};

/// A role under test; killed when dropped.
pub(crate) struct RoleProcess {
    child: Child,
    log: PathBuf,
    health: String,
}

impl RoleProcess {
    /// Starts a role with its data and log in `folder`; returns once it serves its health probes.
    pub(crate) fn start(folder: &Path, role: &str, variables: &[(&str, &str)]) -> Self {
        let health = format!("127.0.0.1:{}", free_port().unwrap());
        let log = folder.join(format!("{role}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = spindle(&folder.join("data"));
        command.arg(role).env("SPINDLE_HEALTH", &health).envs(variables.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let process = Self { child, log, health };
        let is_up =
            wait_until(PATIENCE, "the role serves its health probes", || TcpStream::connect(&process.health).is_ok());
        assert!(is_up.is_ok(), "{role} did not come up:\n{}", process.log());
        process
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the value of a metric with its labels; 0 if it is absent.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Returns the whole response to a request for `path`; empty if there is none.
    pub(crate) fn get(&self, path: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(&self.health)?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut response = String::new();
            stream.read_to_string(&mut response)?;
            Ok(response)
        };
        ask().unwrap_or_default()
    }

    /// Returns the status of `/readyz` and its body.
    pub(crate) fn readiness(&self) -> String {
        let response = self.get("/readyz");
        let status = response.split(' ').nth(1).unwrap_or_default();
        let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
        format!("{status} {body}")
    }

    pub(crate) fn wait_until_ready(&self) {
        self.wait_for_readiness("it is ready", |state| state == "200 ready");
    }

    pub(crate) fn wait_for_readiness(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let came = wait_until(PATIENCE, what, || {
            last = self.readiness();
            wanted(&last)
        });
        assert!(came.is_ok(), "{what}: {last}\n{}", self.log());
        last
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- {} ---\n{}", self.log.display(), self.log());
        }
    }
}

/// Runs a role that must end at once; returns its exit code and what it printed.
pub(crate) fn run_once(folder: &Path, role: &str, nats_url: &str) -> (Option<i32>, String) {
    let output = spindle(&folder.join("data")).arg(role).env("NATS_URL", nats_url).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) async fn connect(url: &str) -> Context {
    jetstream::new(async_nats::connect(url).await.unwrap())
}

/// Publishes numbered values (a millisecond apart, of a hundred devices), starting at `first`, in arrays, and waits for
/// every ack.
pub(crate) async fn publish_values(jetstream: &Context, first: usize, n_values: usize, per_message: usize) {
    let mut acks = Vec::new();
    for begin in (first..first + n_values).step_by(per_message) {
        let value = |number: usize| {
            let time = Timestamp::from_ns(1_700_000_000_000_000_000 + number as i64 * 1_000_000);
            let device = number % 100;
            format!(r#"{{"timestamp":"{time}","sourceDevice":"disk-{device}","metricType":"Number","value":{number}}}"#)
        };
        let end = (begin + per_message).min(first + n_values);
        let payload = format!("[{}]", (begin..end).map(value).collect::<Vec<_>>().join(","));
        acks.push(jetstream.publish("events.metrics", payload.into()).await.unwrap());
        if acks.len() > 100 {
            for ack in acks.drain(..) {
                ack.await.unwrap();
            }
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

/// Returns the messages of a stream that the writers have not acknowledged: those in flight, and those not fetched yet.
pub(crate) async fn lag(jetstream: &Context, stream: &str) -> (usize, u64) {
    let durable = format!("writer-{}", stream.to_lowercase());
    let consumer: PullConsumer = jetstream.get_consumer_from_stream(durable, stream).await.unwrap();
    let info = consumer.cached_info();
    (info.num_ack_pending, info.num_pending)
}

/// Waits until the writers have acknowledged everything.
pub(crate) async fn wait_until_acknowledged(jetstream: &Context, stream: &str) {
    let durable = format!("writer-{}", stream.to_lowercase());
    let all_is = async {
        loop {
            // The server counts a new message as pending a moment after it has acknowledged it to the publisher.
            let last = jetstream.get_stream(stream).await.unwrap().cached_info().state.last_sequence;
            let consumer: PullConsumer = jetstream.get_consumer_from_stream(&durable, stream).await.unwrap();
            let info = consumer.cached_info();
            if (info.num_ack_pending, info.num_pending) == (0, 0) && info.delivered.stream_sequence >= last {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_is).await.unwrap();
}

/// Publishes an event that differs from others by its number only, and waits for the ack.
pub(crate) async fn publish_event(jetstream: &Context, number: u64) {
    let id = uuid::Uuid::from_u64_pair(11, number);
    let event = format!(
        r#"{{"id":"{id}","criticality":9,"timestamp":"2023-11-14T22:13:20Z","sourceDevice":"disk-1","eventType":"Test"}}"#
    );
    jetstream.publish("events.event", event.into()).await.unwrap().await.unwrap();
}

/// Returns the number of points with a field in a measurement of the writer's database.
pub(crate) fn influx_count(influx: &InfluxServer, measurement: &str, field: &str) -> u64 {
    let response = influx.query("spindle", &format!("SELECT count({field}) FROM {measurement}")).unwrap();
    response["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or(0)
}
