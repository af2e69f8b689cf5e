//! Orderly and forced shutdown: Ctrl-C once, and twice.

use spindle_testkit::wait_until;

use crate::harness::{PATIENCE, System, is_running, send_signal};
use crate::pipeline::counts;

#[test]
fn ctrl_c_stops_in_order_and_loses_nothing() {
    let mut system = System::start("", &["--devices", "20", "--source", "simulate", "--interval", "50ms"]);
    system.wait_for(&["devices"], "devices are listed", |answer| answer["data"].as_array().unwrap().len() == 20);
    let nats = system.nats_pid();
    system.signal("INT");
    let status = system.wait_for_end();
    assert_eq!(status.code(), Some(0), "{}", system.log());
    assert!(!system.data_dir().join("run.json").exists());
    wait_until(PATIENCE, "nats-server ended too", || !is_running(nats)).unwrap();
    let log = system.log();
    let daemon = log
        .lines()
        .find(|line| line.contains("daemon stopped, everything published"))
        .unwrap_or_else(|| panic!("{log}"));
    let n_acked: u64 = daemon.split("n_acked=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // Acknowledged messages are in the store or still in the stream: a second start stores the rest.
    let mut system = system.without_sources();
    system.start_again();
    let mut stored = 0;
    let all = wait_until(PATIENCE, "all that was acknowledged is stored", || {
        let (metrics, events, _) = counts(&system);
        stored = metrics + events;
        stored == n_acked
    });
    assert!(all.is_ok(), "{stored} of {n_acked} stored");
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    let mut system = System::start(
        "shutdown_timeout = \"600s\"\n",
        &["--devices", "3", "--source", "simulate", "--interval", "50ms"],
    );
    system.wait_for(&["devices"], "devices are listed", |answer| !answer["data"].as_array().unwrap().is_empty());
    let nats = system.nats_pid();
    // NATS does not respond: an orderly stop would wait for the last acks for ten minutes.
    send_signal(nats, "STOP");
    system.signal("INT");
    wait_until(PATIENCE, "it is shutting down", || system.log().contains("shutting down")).unwrap();
    system.signal("INT");
    assert_eq!(system.wait_for_end().code(), Some(130));
    send_signal(nats, "CONT");
    wait_until(PATIENCE, "the guard stops nats-server", || !is_running(nats)).unwrap();
}

#[test]
fn a_kill_takes_nats_server_with_it_and_a_new_start_works() {
    let mut system = System::start("", &["--devices", "3", "--source", "simulate"]);
    system.kill();
    system.start_again();
    system.wait_for(&["devices"], "it works again", |answer| !answer["data"].as_array().unwrap().is_empty());
}

#[test]
fn a_killed_guard_leaves_no_server_behind() {
    let mut system = System::start("", &["--devices", "3", "--source", "simulate", "--interval", "200ms"]);
    let nats = system.nats_pid();
    let output = std::process::Command::new("ps").args(["-o", "ppid=", "-p", &nats.to_string()]).output().unwrap();
    let guard: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    send_signal(guard, "KILL");
    wait_until(PATIENCE, "its server ends", || !is_running(nats)).unwrap();
    system.wait_for_readers();
    system.signal("INT");
    assert_eq!(system.wait_for_end().code(), Some(0));
    system.start_again();
}

#[test]
fn two_that_want_one_port_never_share_a_server() {
    let port = spindle_testkit::free_port().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let mut command = crate::harness::spindle(&folder.path().join(name));
        command.args(["up", "--source", "simulate", "--devices", "3"]).env("SPINDLE_NATS_PORT", &port);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children = [start("a"), start("b")];
    let address = |name: &str| {
        let bytes = std::fs::read(folder.path().join(name).join("run.json")).ok()?;
        let run = serde_json::from_slice::<serde_json::Value>(&bytes).ok()?;
        // Each has its own password before the address.
        run["nats"].as_str()?.rsplit_once('@').map(|(_, address)| address.to_owned())
    };
    let up = wait_until(PATIENCE, "both are up", || address("a").is_some() && address("b").is_some());
    let addresses = (address("a"), address("b"));
    for child in &mut children {
        send_signal(child.id(), "TERM");
        child.wait().unwrap();
    }
    assert!(up.is_ok());
    assert_ne!(addresses.0, addresses.1);
}

#[test]
fn a_pipe_that_nobody_fills_does_not_hold_up_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let data = folder.path().join("data");
    let mut command = crate::harness::spindle(&data);
    let mut child = command.args(["up", "--source", &format!("replay:{}", pipe.display())]).spawn().unwrap();
    wait_until(PATIENCE, "it waits for the pipe", || data.join("spindle.lock").exists()).unwrap();
    let mut ended = false;
    wait_until(PATIENCE, "it ends", || {
        send_signal(child.id(), "TERM");
        ended = child.try_wait().unwrap().is_some();
        ended
    })
    .unwrap();
}
