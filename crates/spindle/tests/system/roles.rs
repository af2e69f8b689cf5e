//! Each role as a process of its own, on a NATS that somebody else runs.

use std::process::{Child, Stdio};

use serde_json::Value;
use spindle_testkit::{NatsServer, wait_until};

use crate::harness::{PATIENCE, is_running, send_signal, spindle};

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
    let start = |words: &[&str]| {
        let mut command = spindle(&data);
        Role(
            command
                .args(words)
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
    // NATS goes and comes back: every role goes on.
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
