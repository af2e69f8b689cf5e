//! Real kernels with emulated drives: User-mode Linux, which needs neither root nor a hypervisor.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spindle_testkit::{Program, missing_tool};

use crate::harness::program;

/// The unpacked packages: `SPINDLE_UML`, else where `./run.sh test` puts them.
fn packages() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/uml");
    std::env::var_os("SPINDLE_UML").map_or(fetched, PathBuf::from)
}

/// Runs a script of `rig` as the init of a User-mode Linux and returns the lines that it marks. `None` if there is no
/// such kernel.
fn run(script: &str) -> Option<Vec<String>> {
    let uml = packages();
    let kernel = uml.join("usr/bin/linux.uml");
    if let Err(error) = Command::new(&kernel).arg("--version").output() {
        missing_tool(&kernel.display().to_string(), &error).unwrap();
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/rig").join(script);
    let nats = Program::find("nats-server").unwrap().path;
    let folder = tempfile::tempdir().unwrap();
    let absolute = |path: &Path| path.canonicalize().unwrap().display().to_string();
    let output = Command::new("timeout")
        .args(["--signal=KILL", "120"])
        .arg(&kernel)
        .args(["mem=700M", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "con=null", "con0=null,fd:1"])
        .args([format!("init={}", absolute(&script)), format!("UML={}", absolute(&uml))])
        .args([format!("SPINDLE={}", absolute(&program())), format!("NATS={}", absolute(&nats))])
        .env("HOME", folder.path())
        .env("TMPDIR", "/dev/shm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let marked: Vec<_> =
        text.lines().filter_map(|line| line.trim_end().strip_prefix("RIG ")).map(str::to_owned).collect();
    assert!(!marked.is_empty(), "the rig did not run:\n{text}");
    Some(marked)
}

#[test]
fn a_real_smartctl_reports_a_predicted_failure_of_an_emulated_drive() {
    let Some(lines) = run("smart.sh") else { return };
    let log = lines.join("\n");
    let drive = "wwn-0x33333330000007d0";
    let states: Vec<_> = lines.iter().filter(|line| line.starts_with(drive)).collect();
    let expected = ["ok", "critical", "ok"].map(|health| format!("{drive} is {health}"));
    assert_eq!(states, expected.iter().collect::<Vec<_>>(), "{log}");
    let of = |mark: &str| lines.iter().find(|line| line.starts_with(mark)).cloned().unwrap_or_default();
    assert!(of("reasons").contains("FAILURE PREDICTION THRESHOLD EXCEEDED"), "{log}");
    // Both sources report the same two drives, under one name each.
    let devices = of("devices");
    assert!(devices.contains("wwn-0x33333330000007d0") && !devices.contains("rig:sd"), "{log}");
    assert!(of("check").contains("2 drives read"), "{log}");
}
