//! Least privilege: every role works as its user of `deploy/nats/nats-server.conf` and can do nothing else, on a real
//! server that enforces it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use serde_json::Value;
use spindle_testkit::{NatsServer, Options, wait_until};

use crate::harness::{PATIENCE, spindle};

const USERS: [&str; 7] = ["admin", "daemon", "writer", "detector", "reader", "client", "web"];

/// Starts a server with the shipped permissions, and passwords filled in.
pub(crate) fn server() -> NatsServer {
    NatsServer::start_with(Options { extra_config: rights(), ..Options::default() }).unwrap()
}

/// Returns the shipped permissions, with passwords.
pub(crate) fn rights() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/nats/nats-server.conf");
    let shipped = std::fs::read_to_string(path).unwrap();
    let mut rights = shipped[shipped.find("authorization {").unwrap()..].to_owned();
    for user in USERS {
        let variable = format!("$NATS_{}_PASSWORD", user.to_uppercase());
        assert!(rights.contains(&variable), "{variable} is not in the shipped configuration");
        rights = rights.replace(&variable, &format!("pw-{user}"));
    }
    rights
}

pub(crate) struct Role {
    child: Child,
    log: std::path::PathBuf,
}

impl Role {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data: &Path, nats: &NatsServer, user: &str, arguments: &[&str]) -> Command {
    let mut command = spindle(data);
    command
        .args(arguments)
        .env("NATS_URL", nats.url())
        .env("NATS_USER", user)
        .env("NATS_PASSWORD", format!("pw-{user}"));
    command
}

pub(crate) fn start(data: &Path, nats: &NatsServer, user: &str, arguments: &[&str]) -> Role {
    start_with(data, nats, user, arguments, &[])
}

/// Starts a role with further variables in its environment.
pub(crate) fn start_with(
    data: &Path,
    nats: &NatsServer,
    user: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Role {
    let log = data.parent().unwrap().join(format!("{user}.log"));
    let file = File::create(&log).unwrap();
    let mut command = command(data, nats, user, arguments);
    command.envs(variables.iter().copied());
    Role { child: command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap(), log }
}

#[test]
fn every_role_works_with_the_rights_that_are_shipped() {
    let nats = server();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The daemon first: the streams do not exist yet, and it may not create them.
    let daemon =
        start(&data, &nats, "daemon", &["daemon", "--source", "simulate", "--devices", "3", "--interval", "200ms"]);
    wait_until(PATIENCE, "the daemon is denied creating streams", || {
        daemon.log().contains("$JS.API.STREAM.CREATE.METRICS")
    })
    .unwrap();
    let roles = [
        daemon,
        start(&data, &nats, "writer", &["writer"]),
        start(&data, &nats, "detector", &["detector"]),
        start(&data, &nats, "reader", &["reader"]),
        start(&data, &nats, "client", &["client", "--interval", "200ms"]),
    ];
    let logs = || roles.iter().map(Role::log).collect::<Vec<_>>().join("\n");
    let ask = |user: &str| {
        let output = command(&data, &nats, user, &["query", "devices", "--format", "json"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()
    };
    for user in ["client", "admin"] {
        let three = || ask(user)["data"].as_array().is_some_and(|rows| rows.len() == 3);
        let came = wait_until(PATIENCE, "three devices are known", three);
        assert!(came.is_ok(), "{user} got no response:\n{}", logs());
    }
    // A bad message needs the permission to publish dead letters; a critical event reaches the client's log.
    publish(&nats, "daemon", "events.metrics", "no JSON");
    let event = r#"{"id":"e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90","criticality":9,"timestamp":"2026-01-01T00:00:00Z","sourceDevice":"DiskUnit","eventType":"DriveFailure"}"#;
    publish(&nats, "daemon", "events.event", event);
    let letters = || {
        run(async {
            let client = connect(&nats, "admin").await;
            jetstream::new(client)
                .get_stream("DEADLETTER")
                .await
                .map_or(0, |stream| stream.cached_info().state.messages)
        })
    };
    wait_until(PATIENCE, "the dead letter is stored", || letters() == 1).unwrap();
    let log = data.join("logs/critical-events.ndjson");
    let logged = || std::fs::read_to_string(&log).unwrap_or_default().contains("e4d5f6a7-8b9c-0d1e-2f3a-4b5c6d7e8f90");
    assert!(wait_until(PATIENCE, "the client logs the event", logged).is_ok(), "{}", logs());
    // Once the streams existed, the server denied nothing.
    let refused: Vec<_> = roles
        .iter()
        .flat_map(|role| role.log().lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.to_lowercase().contains("permissions violation") && !line.contains("STREAM.CREATE"))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Each forbidden operation, attempted with the role's user.
#[test]
fn no_role_can_do_more_than_its_work() {
    let nats = server();
    let publishes = [
        ("daemon", "reader.query"),
        ("daemon", "deadletter.x"),
        ("daemon", "$JS.API.STREAM.DELETE.METRICS"),
        ("daemon", "$JS.API.STREAM.PURGE.METRICS"),
        ("daemon", "$JS.API.CONSUMER.CREATE.METRICS.mine"),
        ("daemon", "$JS.ACK.METRICS.writer-metrics.1.1.1.1.0"),
        ("writer", "events.metrics"),
        ("writer", "events.event"),
        ("writer", "$JS.API.STREAM.DELETE.METRICS"),
        ("writer", "$JS.API.STREAM.PURGE.DEADLETTER"),
        ("writer", "$JS.API.STREAM.UPDATE.METRICS"),
        ("writer", "$JS.API.CONSUMER.DELETE.METRICS.detector"),
        ("detector", "events.metrics"),
        ("detector", "deadletter.x"),
        ("detector", "$JS.API.STREAM.CREATE.METRICS"),
        ("detector", "$JS.API.STREAM.PURGE.METRICS"),
        ("detector", "$JS.API.CONSUMER.DELETE.METRICS.writer-metrics"),
        ("detector", "$JS.API.CONSUMER.MSG.NEXT.METRICS.writer-metrics"),
        ("detector", "$JS.ACK.METRICS.writer-metrics.1.1.1.1.0"),
        ("reader", "events.event"),
        ("reader", "reader.query"),
        ("reader", "$JS.API.STREAM.INFO.METRICS"),
        ("client", "events.event"),
        ("client", "$JS.API.STREAM.INFO.METRICS"),
        ("client", "$SRV.PING"),
    ];
    let subscriptions = [
        ("daemon", "events.>"),
        ("daemon", "_INBOX.>"),
        ("daemon", "_INBOX.spindle-client.>"),
        ("writer", "reader.query"),
        ("writer", "events.>"),
        ("detector", "events.>"),
        ("detector", "_INBOX.spindle-writer.>"),
        ("reader", "events.>"),
        ("reader", "deadletter.>"),
        ("client", "reader.query"),
        ("client", "_INBOX.spindle-writer.>"),
        ("client", "deadletter.>"),
    ];
    for (user, subject) in publishes {
        assert!(is_denied(&nats, user, subject, true), "{user} may publish to {subject}");
    }
    for (user, subject) in subscriptions {
        assert!(is_denied(&nats, user, subject, false), "{user} may subscribe to {subject}");
    }
    // The check itself works: permitted operations are not denied.
    assert!(!is_denied(&nats, "daemon", "events.metrics", true));
    assert!(!is_denied(&nats, "reader", "reader.query", false));
}

#[test]
fn a_missing_right_is_named_with_its_remedy() {
    let nats = server();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let check = |user: &str, arguments: &[&str], permission: &str| {
        let output = command(&data, &nats, user, arguments).env("SPINDLE_NATS_CONNECT_TIMEOUT", "1s").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(permission) && text.contains("nats-server.conf"), "{text}");
        assert!(!text.contains(&format!("pw-{user}")), "{text}");
    };
    check("client", &["writer"], "may not publish to '$JS.API.STREAM.INFO.METRICS'");
    check("client", &["daemon", "--source", "simulate"], "may not publish to '$JS.API.STREAM.INFO.METRICS'");
    check("client", &["detector"], "may not publish to '$JS.API.STREAM.INFO.METRICS'");
    check("daemon", &["query", "devices", "--timeout", "1s"], "may not");
    check("client", &["acknowledge", "disk", "--reason", "x"], "may not subscribe to '_INBOX.spindle-decide.>'");
}

pub(crate) fn publish_acknowledged(nats: &NatsServer, subject: &'static str, payload: &'static str) -> bool {
    run(async {
        let jetstream = jetstream::new(connect(nats, "admin").await);
        let Ok(ack) = jetstream.publish(subject, Bytes::from_static(payload.as_bytes())).await else { return false };
        ack.await.is_ok()
    })
}

#[test]
fn check_names_the_right_that_the_detector_lacks() {
    let nats = server();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let check = |nats: &NatsServer| {
        let output = command(&data, nats, "detector", &["check", "--format", "json"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = document["findings"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["check"] == "consumers of the detector").unwrap()
    };
    assert_eq!(check(&nats)["state"], "ok");
    let lacking = rights().replace("\"$JS.API.CONSUMER.INFO.METRICS.detector-metrics\", ", "");
    let nats = NatsServer::start_with(Options { extra_config: lacking, ..Options::default() }).unwrap();
    let row = check(&nats);
    let detail = row["detail"].as_str().unwrap();
    assert!(row["state"] == "fail" && detail.contains("$JS.API.CONSUMER.INFO.METRICS.detector-metrics"), "{row}");
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

async fn connect(nats: &NatsServer, user: &str) -> async_nats::Client {
    let options = async_nats::ConnectOptions::new().user_and_password(user.to_owned(), format!("pw-{user}"));
    options.connect(nats.url()).await.unwrap()
}

pub(crate) fn publish(nats: &NatsServer, user: &str, subject: &'static str, payload: &str) {
    run(async {
        let client = connect(nats, user).await;
        client.publish(subject, Bytes::copy_from_slice(payload.as_bytes())).await.unwrap();
        client.flush().await.unwrap();
    });
}

/// Returns `true` if the server denies it: it sends a violation asynchronously, before it responds to our ping.
pub(crate) fn is_denied(nats: &NatsServer, user: &str, subject: &str, publish: bool) -> bool {
    use std::io::{BufRead, BufReader, Write};
    let stream = std::net::TcpStream::connect(("127.0.0.1", nats.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let operation = if publish { format!("PUB {subject} 0\r\n\r\n") } else { format!("SUB {subject} q 1\r\n") };
    let hello = format!(r#"CONNECT {{"verbose":false,"pedantic":false,"user":"{user}","pass":"pw-{user}"}}"#);
    (&stream).write_all(format!("{hello}\r\n{operation}PING\r\n").as_bytes()).unwrap();
    let mut is_denied = false;
    loop {
        let line = lines.next().unwrap().unwrap().to_lowercase();
        assert!(!line.contains("authorization violation"), "{user}: {line}");
        is_denied |= line.contains("permissions violation");
        if line.starts_with("pong") {
            return is_denied;
        }
    }
}
