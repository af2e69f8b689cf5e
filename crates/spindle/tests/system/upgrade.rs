//! An upgrade in place while `spindle up` runs: its program is replaced, or removed with its folder.

use std::path::Path;
use std::process::{Child, Stdio};

use spindle_testkit::wait_until;

use crate::harness::{PATIENCE, is_running, nats_pid_of, program, run_file_of, send_signal, spindle, spindle_at};

struct Installed {
    folder: tempfile::TempDir,
    child: Child,
}

impl Installed {
    /// Starts a copy of the program.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (bin, data) = (folder.path().join("bin"), folder.path().join("data"));
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy(program(), bin.join("spindle")).unwrap();
        let mut command = spindle_at(&bin.join("spindle"), &data);
        command.args(["up", "--source", "simulate", "--devices", "3", "--interval", "200ms"]);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait_until(PATIENCE, "it is up", || run_file_of(&data, child.id()).is_some()).unwrap();
        Self { folder, child }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn nats_pid(&self) -> u32 {
        nats_pid_of(&self.path("data"))
    }

    /// Kills nats-server and its guard, and waits for another one that works.
    fn nats_comes_back(&self, kill_guard: bool) {
        let mut found = None;
        let has_parent = || {
            let nats = self.nats_pid();
            found = parent_of(nats).map(|guard| (nats, guard));
            found.is_some()
        };
        wait_until(PATIENCE, "a running nats-server", has_parent).unwrap();
        let (nats, guard) = found.unwrap();
        send_signal(if kill_guard { guard } else { nats }, "KILL");
        let log = || std::fs::read_to_string(self.path("log")).unwrap();
        let is_back = || !is_running(nats) && self.nats_pid() != nats && is_running(self.nats_pid());
        let back = wait_until(PATIENCE, "another nats-server", is_back);
        assert!(back.is_ok(), "{}", log());
        let answers = || spindle(&self.path("data")).args(["query", "devices"]).output().unwrap().status.success();
        assert!(wait_until(PATIENCE, "answers", answers).is_ok(), "{}", log());
    }

    fn stop(mut self) {
        let nats = self.nats_pid();
        send_signal(self.child.id(), "TERM");
        assert!(self.child.wait().unwrap().success());
        assert!(!is_running(nats));
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let output = std::process::Command::new("ps").args(["-o", "ppid=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn replace(new: &Path, old: &Path) {
    std::fs::write(new, "#!/bin/sh\nexit 7\n").unwrap();
    std::fs::rename(new, old).unwrap();
}

#[test]
fn nats_server_comes_back_after_the_program_was_replaced() {
    let installed = Installed::start();
    replace(&installed.path("bin/new"), &installed.path("bin/spindle"));
    installed.nats_comes_back(false);
    installed.nats_comes_back(true);
    installed.stop();
}

#[test]
fn nats_server_comes_back_after_the_program_was_removed_with_its_folder() {
    let installed = Installed::start();
    std::fs::remove_dir_all(installed.path("bin")).unwrap();
    installed.nats_comes_back(false);
    installed.stop();
}

#[test]
fn nats_server_comes_back_after_the_program_was_moved() {
    let installed = Installed::start();
    std::fs::rename(installed.path("bin"), installed.path("old")).unwrap();
    installed.nats_comes_back(true);
    let log = std::fs::read_to_string(installed.path("log")).unwrap();
    assert!(log.contains("try              spindle query devices") && !log.contains("(deleted)"), "{log}");
    installed.stop();
}
