//! Signals to each role, with a standard output and error that were full before it started.

use std::io::{PipeReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use spindle_testkit::{NatsServer, free_port, wait_until};

use crate::harness::{PATIENCE, nats_options, send_signal, spindle};
use crate::pipeline::get_from;
use crate::undrained::{answers, small_pipe};

const ROLES: [&str; 5] = ["daemon", "writer", "reader", "web", "client"];
/// Longer than the time within which signals count as one request.
const PAUSE: Duration = Duration::from_millis(100);

/// A role whose output nobody reads; killed when dropped.
struct Role {
    name: &'static str,
    child: Child,
    address: String,
    _output: PipeReader,
    _folder: tempfile::TempDir,
}

impl Role {
    /// Returns once the role is ready.
    fn start(name: &'static str, nats: &NatsServer, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (output, mut writer) = small_pipe();
        writer.write_all(&[b'x'; 4096]).unwrap();
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = spindle(&folder.path().join("data"));
        command.arg(name).env("NATS_URL", nats.url()).env("SPINDLE_LOG", "trace").envs(variables.iter().copied());
        command.env(if name == "web" { "SPINDLE_HTTP" } else { "SPINDLE_HEALTH" }, &address);
        command.envs([("SPINDLE_SOURCES", "simulate"), ("SPINDLE_DEVICES", "20"), ("SPINDLE_INTERVAL", "50ms")]);
        command.envs([("SPINDLE_CLIENT_INTERVAL", "100ms"), ("CLIENT_MIN_CRITICALITY", "1")]);
        let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        drop(command);
        let role = Self { name, child, address, _output: output, _folder: folder };
        // Before that a signal has its usual effect: nothing is in flight.
        let is_ready = || TcpStream::connect(&role.address).is_ok() && role.get("/readyz").starts_with("ready");
        wait_until(PATIENCE, &format!("{name} is ready"), is_ready).unwrap();
        assert!(role.get("/healthz").contains("ok"));
        role
    }

    fn start_all(nats: &NatsServer, variables: &[(&str, &str)]) -> Vec<Self> {
        std::thread::scope(|scope| {
            let roles = ROLES.map(|name| scope.spawn(move || Self::start(name, nats, variables)));
            roles.into_iter().map(|role| role.join().unwrap()).collect()
        })
    }

    fn get(&self, path: &str) -> String {
        get_from(&self.address, path).1
    }

    /// Sends the signals one after the other, as far as the role still runs.
    fn signal(&mut self, signals: &[&str]) {
        for signal in signals {
            if self.child.try_wait().unwrap().is_none() {
                send_signal(self.child.id(), signal);
            }
            let _ = wait_until(PAUSE, "the signal's effect", || self.child.try_wait().unwrap().is_some());
        }
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        };
        wait_until(PATIENCE, &format!("{} ends", self.name), ended).unwrap();
        status.unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal that closes may hang up twice: the kernel and the shell both do.
#[test]
fn one_signal_of_each_kind_stops_each_role_in_order() {
    let nats = NatsServer::start().unwrap();
    let hang_up: &[&str] = if cfg!(target_os = "linux") { &["HUP", "HUP"] } else { &["TERM"] };
    for signals in [&["TERM"], &["INT"], hang_up] {
        for mut role in Role::start_all(&nats, &[]) {
            role.signal(signals);
            assert_eq!(role.wait_for_end().code(), Some(0), "{} {signals:?}", role.name);
        }
    }
}

#[test]
fn a_second_signal_ends_each_role_whose_runtime_is_blocked() {
    let nats = NatsServer::start().unwrap();
    for signals in [["TERM", "TERM"], ["INT", "TERM"], ["TERM", "INT"]] {
        for mut role in Role::start_all(&nats, &[("SPINDLE_TEST_BLOCK_STOP", "yes")]) {
            role.signal(&signals[..1]);
            wait_until(PATIENCE, "its runtime is blocked", || !answers(&role.address)).unwrap();
            role.signal(&signals[1..]);
            assert_eq!(role.wait_for_end().code(), Some(130), "{} {signals:?}", role.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_log_is_full_stores_everything_and_counts_what_it_dropped() {
    let nats = NatsServer::start().unwrap();
    let mut writer = Role::start("writer", &nats, &[]);
    let client = nats_options(&nats.url()).connect(&nats.url()).await.unwrap();
    for number in 0..500 {
        client.publish("events.metrics", format!("not JSON, number {number}").into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let has = |line: &str| writer.get("/metrics").lines().any(|found| found == line);
    let is_kept = || has("spindle_writer_dead_letters_total{reason=\"bad_json\"} 500");
    wait_until(PATIENCE, "all are dead letters", is_kept).unwrap();
    let is_counted = || {
        let metrics = writer.get("/metrics");
        let dropped = metrics.lines().find_map(|line| line.strip_prefix("spindle_log_lines_dropped_total "));
        dropped.is_some_and(|number| number.parse::<u64>().unwrap() > 0)
    };
    wait_until(PATIENCE, "dropped lines are counted", is_counted).unwrap();
    writer.signal(&["TERM"]);
    assert_eq!(writer.wait_for_end().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_role_started_with_nohup_survives_its_terminal() {
    let nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$1\" reader", "sh"]).arg(crate::harness::program());
    command.env("NATS_URL", nats.url()).env("SPINDLE_HEALTH", &address).current_dir(folder.path() as &Path);
    let mut child = command.env("SPINDLE_DATA_DIR", folder.path().join("data")).stderr(Stdio::null()).spawn().unwrap();
    let is_ready = || TcpStream::connect(&address).is_ok() && get_from(&address, "/readyz").1.starts_with("ready");
    wait_until(PATIENCE, "it is ready", is_ready).unwrap();
    send_signal(child.id(), "HUP");
    let ended = wait_until(PAUSE, "the end that must not come", || child.try_wait().unwrap().is_some());
    assert!(ended.is_err(), "SIGHUP ended it");
    assert_eq!(get_from(&address, "/healthz").1.trim(), "ok");
    send_signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
}
