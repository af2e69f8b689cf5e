//! Nothing answers without credentials, unless it was told to; and no credential is ever shown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use spindle_testkit::{InfluxOptions, InfluxServer, NatsServer, Options, wait_until};

use crate::harness::{NO_SOURCES, PATIENCE, System, send_signal, spindle};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_nats_server_lets_in_whoever_may_read_run_json() {
    // What was set for another server does not get in the way of ours, neither here nor for a question below.
    let another = "[nats]\nuser = \"another\"\npassword = \"wrong\"\n";
    let mut system = System::start(&format!("{NO_SOURCES}{another}"), &[]);
    let url = system.nats_url();
    let address = url.rsplit_once('@').unwrap().1.to_owned();
    let refused = async_nats::connect(&address).await.expect_err("a stranger gets in");
    assert_eq!(refused.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
    let answer = system.nats().await.request("reader.query", r#"{"query_type":"devices"}"#.into()).await.unwrap();
    assert!(answer.payload.starts_with(br#"{"status":"success""#));
    // Nobody else may read the password, nor the data.
    let data = system.data_dir();
    for file in ["run.json", "nats/password", "nats/nats-server.conf"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("nats")), 0o700);
    let password = url.trim_start_matches("nats://spindle:").split('@').next().unwrap();
    assert!(password.len() == 64 && !system.log().contains(password), "{}", system.log());
    let mut question = spindle(&data);
    question.args(["query", "devices"]).env("NATS_USER", "another").env("NATS_PASSWORD", "wrong");
    question.env("NATS_CA", "no/such/file");
    assert_ne!(question.output().unwrap().status.code(), Some(2));
    // Who knows the password gets in after a restart too.
    system.signal("TERM");
    system.wait_for_end();
    system.start_again();
    assert_eq!(system.nats_url(), url);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_nats_server_takes_the_first_systems_daemon() {
    let system = System::start(&format!("{NO_SOURCES}[nats]\nopen = true\n"), &[]);
    let client = async_nats::connect(system.nats_url()).await.unwrap();
    let metric =
        r#"{"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"DiskUnit","metricType":"DiskTemp","value":45.75}"#;
    client.publish("events.metrics", metric.into()).await.unwrap();
    client.flush().await.unwrap();
    system.wait_for(&["devices"], "its device is listed", |answer| {
        answer["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["source_device"] == "DiskUnit"))
    });
}

/// In every secret, and in nothing else.
const MARK: &str = "sesame";

const ROLES: [&str; 6] = ["up", "daemon", "writer", "reader", "web", "client"];

/// A command with a secret wherever one can be set.
fn with_secrets(data: &Path, nats: &NatsServer, influx: &InfluxServer, words: &[&str]) -> Command {
    let mut command = spindle(data);
    command.args(words).env("SPINDLE_LOG", "trace").env("RUST_BACKTRACE", "full");
    // The user and password set beside the address count, and are right.
    command.env("NATS_URL", format!("nats://other:{MARK}-url@127.0.0.1:{}", nats.port()));
    command
        .env("NATS_USER", "spindle")
        .env("NATS_PASSWORD", format!("{MARK}-nats"))
        .env("SPINDLE_NATS_CONNECT_TIMEOUT", "1s");
    command.env("INFLUXDB_HOST", influx.url().replace("://", &format!("://me:{MARK}-host@")));
    command.env("INFLUXDB_TOKEN", format!("{MARK}-token"));
    command.env("INFLUXDB_USERNAME", "admin").env("INFLUXDB_PASSWORD", format!("{MARK}-influx"));
    command.env("SPINDLE_HTTP_TOKEN", format!("{MARK}-and-sixteen-more"));
    command
}

/// Runs a command to its end, or until it answers HTTP (then it is asked for everything and ended); gives
/// all that it said, and did not say to strangers.
fn said_by(mut command: Command) -> String {
    let port = spindle_testkit::free_port().unwrap();
    let address = format!("127.0.0.1:{port}");
    command.env("SPINDLE_HEALTH", &address).env("SPINDLE_HTTP", &address);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap()).spawn().unwrap();
    let mut has_ended = false;
    wait_until(PATIENCE, "it ends, or answers HTTP", || {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || TcpStream::connect(&address).is_ok()
    })
    .unwrap();
    let mut said = String::new();
    if !has_ended {
        for path in ["/", "/metrics", "/readyz", "/api/v1/query?query_type=devices"] {
            for shown in [format!("{MARK}-wrong-token"), format!("{MARK}-and-sixteen-more")] {
                said += &ask(&address, path, &shown);
            }
        }
        send_signal(child.id(), "TERM");
        wait_until(PATIENCE, "it ends", || child.try_wait().unwrap().is_some()).unwrap();
    }
    said + &std::fs::read_to_string(log.path()).unwrap()
}

fn ask(address: &str, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[track_caller]
fn shows_no_secret(what: &str, text: &str) {
    // As it is, and as a header or a JWT would carry it in base64, at whatever place of a group of three.
    let forms = [MARK, "c2VzYW1l", "Nlc2FtZ", "zZXNhbW"];
    let line = text.lines().find(|line| forms.iter().any(|form| line.contains(form)));
    assert_eq!(line, None, "a secret is shown by {what}");
}

/// The names of all commands, from the program itself.
fn commands(data: &Path) -> Vec<String> {
    let help = String::from_utf8(spindle(data).arg("--help").output().unwrap().stdout).unwrap();
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // A name stands two blanks from the margin, what continues its explanation further in.
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|line| line.split(' ').next().map(str::to_owned)).filter(|name| name != "help").collect()
}

#[test]
fn no_command_shows_a_secret() {
    let nats = NatsServer::start_with(Options {
        extra_config: format!("authorization {{ user: spindle, password: {MARK}-nats }}"),
        ..Options::default()
    })
    .unwrap();
    let influx = InfluxServer::start_with(InfluxOptions { auth: true, ..InfluxOptions::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let names = commands(&data);
    assert!(
        names.len() >= 9 && ["up", "web", "config"].iter().all(|name| names.iter().any(|it| it == name)),
        "{names:?}"
    );
    for name in &names {
        let words = match name.as_str() {
            "query" => vec!["query", "devices", "--timeout", "1s"],
            "dlq" => vec!["dlq", "ls"],
            "client" => vec!["client", "--interval", "50ms"],
            "daemon" | "up" => vec![name, "--source", "simulate", "--devices", "2", "--interval", "50ms"],
            _ => vec![name.as_str()],
        };
        let said = said_by(with_secrets(&data, &nats, &influx, &words));
        shows_no_secret(name, &said);
        // Something was looked at: a role got in to NATS, and was refused by the store.
        assert!(!said.is_empty(), "{name} says nothing");
        assert!(!ROLES.contains(&name.as_str()) || said.contains("connected to NATS"), "{said}");
        assert!(!["up", "web"].contains(&name.as_str()) || said.contains("INFLUXDB_"), "{said}");
    }
    for file in files_below(&data) {
        shows_no_secret(&file.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&file).unwrap()));
    }
}

#[test]
fn no_mistake_shows_a_secret() {
    let nats = NatsServer::start_with(Options {
        extra_config: "authorization { user: spindle, password: another }".to_owned(),
        ..Options::default()
    })
    .unwrap();
    let influx = InfluxServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let wrong = |words: &[&str], name: &str, value: &str| {
        let output =
            with_secrets(&data, &nats, &influx, words).env("SPINDLE_LOG", "off").env(name, value).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{words:?} {name}: {said}");
        shows_no_secret(&format!("{words:?} with {name}"), &said);
    };
    // The server refuses the password.
    for role in ROLES {
        wrong(&[role], "SPINDLE_HTTP", "127.0.0.1:0");
    }
    wrong(&["query", "devices"], "SPINDLE_HTTP", "127.0.0.1:0");
    wrong(&["reader"], "NATS_URL", "nats://me:sesame@host:port");
    wrong(&["reader"], "NATS_URL", "me:sesame@:::");
    wrong(&["reader"], "NATS_CREDS", "no/such/file");
    for host in ["ftp://me:sesame@h", "http://me:sesame@", "http://me:sesame@h:port", "me:sesame@h:port"] {
        wrong(&["writer"], "INFLUXDB_HOST", host);
    }
    wrong(&["writer"], "INFLUXDB_TOKEN", "sesame with blanks");
    wrong(&["up"], "SPINDLE_HTTP_TOKEN", "sesame");
    for text in [
        "[nats]\npassword = sesame",
        "[nats]\npassword = [\"sesame\"]",
        "[nats]\npassword = \"sesame",
        "[http]\ntoken = \"sesame\"",
        "[store]\ninfluxdb_token = { sesame = 1",
        "[http]\ntoken = \"sesame-0123456789ab\"\ntoken_file = \"x\"",
    ] {
        std::fs::write(folder.path().join("spindle.toml"), text).unwrap();
        wrong(&["up"], "SPINDLE_HTTP", "127.0.0.1:0");
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}
