//! User errors: one line with the mistake and its remedy, exit code 2.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{NO_SOURCES, System, spindle};

fn one_line(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    assert!(text.starts_with("spindle: "), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} not all in: {text}");
    assert!(output.stdout.is_empty());
}

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    spindle(data_dir).args(arguments).output().unwrap()
}

#[test]
fn wrong_words_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    one_line(&run(&data, &["up", "--nonsense"]), &["--nonsense", "--help"]);
    one_line(&run(&data, &["up", "--devices", "many"]), &["daemon.devices = 'many'", "flag --devices", "whole number"]);
    for open in [["up", "--http", "0.0.0.0:0"], ["web", "--http", "[::]:0"]] {
        one_line(&run(&data, &open), &["http.listen", "open to other machines", "SPINDLE_HTTP_TOKEN", "127.0.0.1"]);
    }
    let with = |name: &str, text: &str| spindle(&data).arg("up").env(name, text).output().unwrap();
    one_line(&with("SPINDLE_HTTP_TOKEN", "too short"), &["http.token = '***'", "SPINDLE_HTTP_TOKEN", "16 characters"]);
    one_line(&with("SPINDLE_HTTP_TOKEN_FILE", "no/such"), &["no/such", "SPINDLE_HTTP_TOKEN_FILE", "No such file"]);
    one_line(&run(&data, &["up", "--store", "influxdb"]), &["INFLUXDB_HOST"]);
    one_line(&run(&data, &["up", "--source", "replay:missing.csv"]), &["missing.csv", "No such file"]);
    one_line(&run(&data, &["up", "--source", "nonsense"]), &["daemon.sources", "replay:FILE"]);
    one_line(&run(&data, &["up", "--config", "missing.toml"]), &["missing.toml"]);
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[daemon]\ndevicez = 3\n").unwrap();
    one_line(
        &run(&data, &["up", "--config", "bad.toml"]),
        &["unknown key 'daemon.devicez'", "bad.toml", "daemon.devices"],
    );
    std::fs::write(&file, "[daemon]\ndevices = \"three\"\n").unwrap();
    one_line(&run(&data, &["up", "--config", "bad.toml"]), &["daemon.devices", "bad.toml", "whole number"]);
    std::fs::write(&file, "[daemon\n").unwrap();
    one_line(&run(&data, &["up", "--config", "bad.toml"]), &["bad.toml line 1"]);
    one_line(&run(&data, &["query", "devices"]), &["no running system", "spindle up"]);
    one_line(&run(&data, &["query", "devicez"]), &["unknown query_type 'devicez'", "alerts_critical"]);
    one_line(&run(&data, &["query", "devices", "limit=0"]), &["limit", "from 1 to 1000"]);
    let mut command = spindle(&data);
    one_line(
        &command.arg("up").env("GENERATION_INTERVAL_SECONDS", "never").output().unwrap(),
        &["GENERATION_INTERVAL_SECONDS", "never", "duration"],
    );
    one_line(&with("SPINDLE_GRACE", "5s"), &["SPINDLE_GRACE", "renamed to SPINDLE_SHUTDOWN_TIMEOUT"]);
    one_line(&with("SPINDLE_STROE", "influxdb"), &["SPINDLE_STROE", "did you mean SPINDLE_STORE?"]);
}

/// The data is lost then, and a dead letter that is dropped next would be lost with it.
#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for words in [["config"].as_slice(), &["--help"], &["--version"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = spindle(folder.path()).args(words).stdout(full).output().unwrap();
        one_line(&output, &["standard output", "No space left on device"]);
    }
}

#[test]
fn a_data_directory_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let data = folder.path().join("data");
    one_line(&run(&data, &["up", "--data-dir", "file/data"]), &["file/data", "--data-dir"]);
    std::fs::create_dir_all(data.join("spindle.db")).unwrap();
    one_line(&run(&data, &["up"]), &["spindle.db"]);
    std::fs::remove_dir(data.join("spindle.db")).unwrap();
    std::fs::write(data.join("spindle.db"), "this is no database, but quite another file".repeat(100)).unwrap();
    one_line(&run(&data, &["up"]), &["spindle.db"]);
}

#[test]
fn what_is_taken_or_missing() {
    let system = System::start(NO_SOURCES, &[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    one_line(&run(&data, &["up", "--http", &system.http()]), &["cannot listen on", "--http", "in use"]);
    one_line(&run(&system.data_dir(), &["up"]), &["another `spindle up`", "--data-dir"]);
    let without_nats = |server: &str| spindle(&data).arg("up").env("SPINDLE_NATS_SERVER", server).output().unwrap();
    one_line(&without_nats("/nowhere/nats-server"), &["nats-server not found", "./run.sh up", "NATS_URL"]);
    one_line(&without_nats("true"), &["does not look like nats-server"]);
    let mut away = spindle(&data);
    away.args(["reader", "--nats", "nats://127.0.0.1:1"])
        .env("SPINDLE_NATS_CONNECT_TIMEOUT", "200ms")
        .env("SPINDLE_LOG", "off");
    one_line(&away.output().unwrap(), &["NATS_URL", "127.0.0.1:1"]);
    // An unreadable file is reported before any wait for a server.
    for name in ["NATS_CREDS", "NATS_NKEY", "NATS_CA"] {
        let mut wrong = spindle(&data);
        wrong.args(["reader", "--nats", "nats://127.0.0.1:1"]).env("SPINDLE_LOG", "off").env(name, "no/such/file");
        one_line(&wrong.output().unwrap(), &["no/such/file", "No such file"]);
    }
}

/// Half a minute of silence looks like a program that hangs.
#[test]
fn who_waits_for_nats_says_so_at_once_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for words in [["query", "devices"].as_slice(), &["dlq", "ls"], &["reader"], &["daemon", "--devices", "0"]] {
        let mut command = spindle(&data);
        command.args(words).args(["--nats", "nats://127.0.0.1:1"]).env("SPINDLE_NATS_CONNECT_TIMEOUT", "300ms");
        if words[0] == "query" {
            command.args(["--timeout", "0.3"]);
        }
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(text.matches("waiting up to 0.3 s for NATS at 127.0.0.1:1: ").count(), 1, "{words:?}: {text}");
        let last = text.lines().last().unwrap();
        assert_eq!(last.matches("refused").count(), 1, "{words:?}: {last}");
    }
}

#[test]
fn a_full_disk_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&mount).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("a small file system cannot be mounted here (not root?); full disk not tested");
        return;
    }
    let output = run(&mount.join("data"), &["up"]);
    let unmounted = Command::new("umount").arg(&mount).status().unwrap();
    one_line(&output, &["full", "free space", "--data-dir"]);
    assert!(unmounted.success());
}

#[test]
fn the_effective_configuration_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let output = spindle(&folder.path().join("data"))
        .arg("config")
        .env("NATS_PASSWORD", "hunter2")
        .env("NATS_URL", "nats://x:4222")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text.contains("url = \"nats://x:4222\"") && text.contains("password = \"***\"") && !text.contains("hunter2"),
        "{text}"
    );
    one_line(&run(&folder.path().join("data"), &["config", "--data-dir"]), &["--data-dir"]);
}
