//! Each role in its own process, on an external NATS.

use std::process::{Child, Stdio};

use serde_json::Value;
use spindle_testkit::{NatsServer, wait_until};

use crate::harness::{NO_SOURCES, PATIENCE, System, is_running, send_signal, spindle};

struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_roles_work_apart_and_writers_share_the_load() {
    let mut nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = |arguments: &[&str]| {
        let mut command = spindle(&data);
        Role(
            command
                .args(arguments)
                .env("NATS_URL", nats.url())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    };
    let mut roles = [
        start(&["daemon", "--source", "simulate", "--devices", "3", "--interval", "200ms"]),
        start(&["writer"]),
        start(&["writer"]),
        start(&["reader"]),
        start(&["web", "--http", "127.0.0.1:0"]),
        start(&["client", "--interval", "200ms"]),
    ];
    let url = nats.url().to_owned();
    let devices = || {
        let output =
            spindle(&data).args(["query", "devices", "--format", "json"]).env("NATS_URL", &url).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()
    };
    wait_until(PATIENCE, "three devices are known", || {
        devices()["data"].as_array().is_some_and(|rows| rows.len() == 3)
    })
    .unwrap();
    // Every role survives a restart of NATS.
    let last_seen = || devices()["data"][0]["last_seen"].as_str().map(str::to_owned);
    let before = last_seen();
    assert!(before.is_some());
    nats.kill();
    nats.restart().unwrap();
    wait_until(PATIENCE, "new values arrive", || last_seen() > before).unwrap();
    for Role(child) in &mut roles {
        assert!(is_running(child.id()));
        send_signal(child.id(), "TERM");
    }
    for Role(child) in &mut roles {
        let mut status = None;
        wait_until(PATIENCE, "the role stops", || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .unwrap();
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

#[test]
fn the_running_system_is_found_and_asked_for_its_health() {
    let mut system = System::start(NO_SOURCES, &[]);
    let (data, http) = (system.data_dir(), system.http());
    let ask = |arguments: &[&str]| spindle(&data).arg("health").args(arguments).output().unwrap();
    let ready = wait_until(PATIENCE, "it is ready", || ask(&[]).status.success());
    assert!(ready.is_ok(), "{}", String::from_utf8_lossy(&ask(&[]).stderr));
    assert_eq!(ask(&["--http", &http]).stdout, b"ready\n");
    // An explicit address wins over the running system.
    assert_eq!(ask(&["--http", "127.0.0.1:1"]).status.code(), Some(1));
    system.signal("TERM");
    system.wait_for_end();
    let nobody = ask(&[]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).starts_with("not ready: no running system found"));
}

#[test]
fn a_role_alone_tells_its_health() {
    let mut nats = NatsServer::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The port is free again once this listener is dropped.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let run = |arguments: &[&str]| {
        let mut command = spindle(&data);
        command.args(arguments).env("NATS_URL", nats.url()).env("SPINDLE_HEALTH", &address);
        command
    };
    let mut asked = run(&["health"]);
    let mut ask = || asked.output().unwrap();
    let nobody = ask();
    assert_eq!(nobody.status.code(), Some(1));
    let text = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(text.starts_with(&format!("not ready: nothing answers on {address}")), "{text}");

    let _writer = Role(run(&["writer"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until(PATIENCE, "the writer is ready", || ask().status.success()).unwrap();
    assert_eq!(ask().stdout, b"ready\n");
    nats.kill();
    wait_until(PATIENCE, "the writer reports what is missing", || {
        let output = ask();
        output.status.code() == Some(1) && String::from_utf8_lossy(&output.stdout).contains("NATS is not connected")
    })
    .unwrap();
}
