//! Nothing is accessible without credentials unless configured so, and no credential is ever printed.

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
    // Credentials for another server do not affect ours, neither here nor for the query below.
    let another = "[nats]\nuser = \"another\"\npassword = \"wrong\"\n";
    let mut system = System::start(&format!("{NO_SOURCES}{another}"), &[]);
    let url = system.nats_url();
    let address = url.rsplit_once('@').unwrap().1.to_owned();
    let refused = async_nats::connect(&address).await.expect_err("an anonymous client connects");
    assert_eq!(refused.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);
    let answer = system.nats().await.request("reader.query", r#"{"query_type":"devices"}"#.into()).await.unwrap();
    assert!(answer.payload.starts_with(br#"{"status":"success""#));
    // Other users may read neither the password nor the data.
    let data = system.data_dir();
    for file in ["run.json", "nats/password", "nats/nats-server.conf"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("nats")), 0o700);
    let password = url.trim_start_matches("nats://spindle:").split('@').next().unwrap();
    assert!(password.len() == 64 && !system.log().contains(password), "{}", system.log());
    let mut query = spindle(&data);
    query.args(["query", "devices"]).env("NATS_USER", "another").env("NATS_PASSWORD", "wrong");
    query.env("NATS_CA", "no/such/file");
    assert_ne!(query.output().unwrap().status.code(), Some(2));
    // The password stays valid over a restart.
    system.signal("TERM");
    system.wait_for_end();
    system.start_again();
    assert_eq!(system.nats_url(), url);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_nats_server_takes_the_legacy_daemon() {
    let system = System::start(&format!("{NO_SOURCES}[nats]\nallow_anonymous = true\n"), &[]);
    let client = async_nats::connect(system.nats_url()).await.unwrap();
    let metric =
        r#"{"timestamp":"2025-06-06T12:08:40Z","sourceDevice":"DiskUnit","metricType":"DiskTemp","value":45.75}"#;
    client.publish("events.metrics", metric.into()).await.unwrap();
    client.flush().await.unwrap();
    system.wait_for(&["devices"], "its device is listed", |answer| {
        answer["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["source_device"] == "DiskUnit"))
    });
}

/// Contained in every secret, and in nothing else.
const MARK: &str = "sesame";

const ROLES: [&str; 6] = ["up", "daemon", "writer", "reader", "web", "client"];

/// Returns a command with a secret in every setting that takes one.
fn with_secrets(data: &Path, nats: &NatsServer, influx: &InfluxServer, arguments: &[&str]) -> Command {
    let mut command = spindle(data);
    command.args(arguments).env("SPINDLE_LOG", "trace").env("RUST_BACKTRACE", "full");
    // User and password set beside the address take precedence, and are correct.
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

/// Runs a command to its end, or until it serves HTTP (then requests everything from it and stops it). Returns all of
/// its output and responses.
fn output_of(mut command: Command) -> String {
    let port = spindle_testkit::free_port().unwrap();
    let address = format!("127.0.0.1:{port}");
    command.env("SPINDLE_HEALTH", &address).env("SPINDLE_HTTP", &address);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap()).spawn().unwrap();
    let mut has_ended = false;
    wait_until(PATIENCE, "it ends, or serves HTTP", || {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || TcpStream::connect(&address).is_ok()
    })
    .unwrap();
    let mut text = String::new();
    if !has_ended {
        for path in ["/", "/metrics", "/readyz", "/api/v1/query?query_type=devices"] {
            for token in [format!("{MARK}-wrong-token"), format!("{MARK}-and-sixteen-more")] {
                text += &ask(&address, path, &token);
            }
        }
        send_signal(child.id(), "TERM");
        wait_until(PATIENCE, "it ends", || child.try_wait().unwrap().is_some()).unwrap();
    }
    text + &std::fs::read_to_string(log.path()).unwrap()
}

fn ask(address: &str, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[track_caller]
fn shows_no_secret(what: &str, text: &str) {
    // As plain text, and in base64 as in a header or a JWT, at any offset within a group of three bytes.
    let forms = [MARK, "c2VzYW1l", "Nlc2FtZ", "zZXNhbW"];
    let line = text.lines().find(|line| forms.iter().any(|form| line.contains(form)));
    assert_eq!(line, None, "{what} contains a secret");
}

/// Returns the names of all commands, read from the program's help.
fn commands(data: &Path) -> Vec<String> {
    let help = String::from_utf8(spindle(data).arg("--help").output().unwrap().stdout).unwrap();
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    // Names are indented by two spaces, continuation lines by more.
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
        let text = output_of(with_secrets(&data, &nats, &influx, &words));
        shows_no_secret(name, &text);
        // The check saw something: a role connected to NATS, and the store refused it.
        assert!(!text.is_empty(), "{name} prints nothing");
        assert!(!ROLES.contains(&name.as_str()) || text.contains("connected to NATS"), "{text}");
        assert!(!["up", "web"].contains(&name.as_str()) || text.contains("INFLUXDB_"), "{text}");
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
    let wrong = |arguments: &[&str], name: &str, value: &str| {
        let output =
            with_secrets(&data, &nats, &influx, arguments).env("SPINDLE_LOG", "off").env(name, value).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{arguments:?} {name}: {text}");
        shows_no_secret(&format!("{arguments:?} with {name}"), &text);
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
    for config in [
        "[nats]\npassword = sesame",
        "[nats]\npassword = [\"sesame\"]",
        "[nats]\npassword = \"sesame",
        "[http]\ntoken = \"sesame\"",
        "[store]\ninfluxdb_token = { sesame = 1",
        "[http]\ntoken = \"sesame-0123456789ab\"\ntoken_file = \"x\"",
    ] {
        std::fs::write(folder.path().join("spindle.toml"), config).unwrap();
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
