//! The source `smart` through the whole program, with a `smartctl` made of a few lines of shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::answers::Requester;
use crate::harness::{System, spindle};

/// Invented outputs, as `smartctl --json` prints them.
const ATA: &str = include_str!("../../../core/tests/golden/smartctl/ata.json");
const NVME: &str = include_str!("../../../core/tests/golden/smartctl/nvme.json");

/// Writes a `smartctl` that finds an ATA and an NVMe drive, whose outputs are files beside it.
fn fake(folder: &Path) -> String {
    let scan = json!({"smartctl": {"exit_status": 0}, "devices": [
        {"name": "/dev/fake-a", "type": "sat"}, {"name": "/dev/fake-n", "type": "nvme"}]});
    fs::write(folder.join("scan.json"), scan.to_string()).unwrap();
    fs::write(folder.join("fake-a"), ATA).unwrap();
    fs::write(folder.join("fake-n"), NVME).unwrap();
    let script = format!(
        "#!/bin/sh\ncd {}\nfor device; do :; done\ncase \"$*\" in *--version*) ;; *--scan*) cat scan.json;; \
         *) cat \"$(basename \"$device\")\";; esac\n",
        folder.display()
    );
    let program = folder.join("smartctl");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.display().to_string()
}

fn config(program: &str) -> String {
    format!("[daemon]\nsources = [\"smart\"]\nsmart_program = \"{program}\"\nsmart_interval = \"200ms\"\n")
}

fn health_of(device: &str) -> Value {
    json!({"query_type":"device_health","params":{"source_device":device}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_reports_its_failure_is_critical_until_it_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::start(&config(&fake(folder.path())), &[]);
    let requester = Requester::new(&system).await;
    let is = |health: &'static str| move |answer: &Value| answer["data"]["health"] == health;
    // The invented ATA drive has failed a self-test.
    let drive = "ACME_HD9000-1ABC_ZQ10047B";
    requester.wait_for(health_of(drive), is("warning")).await;
    requester.wait_for(health_of("ACME_NV_1TB_S4XY0047123"), is("ok")).await;
    let tests = requester.query(json!({"query_type":"events","params":{"source_device":drive}}).to_string()).await;
    assert_eq!(tests["data"][0]["event_type"], "SelfTestFailed", "{tests}");

    let mut failing: Value = serde_json::from_str(ATA).unwrap();
    failing["smart_status"]["passed"] = false.into();
    fs::write(folder.path().join("fake-a"), failing.to_string()).unwrap();
    let answer = requester.wait_for(health_of(drive), is("critical")).await;
    assert!(answer.to_string().contains("reports its own failure"), "{answer}");
    fs::write(folder.path().join("fake-a"), ATA).unwrap();
    requester.wait_for(health_of(drive), is("warning")).await;
    let failures = json!({"query_type":"events","params":{"source_device":drive,"event_type":"SmartFailed"}});
    let answer = requester.query(failures.to_string()).await;
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(1), "said once: {answer}");
}

#[test]
fn check_says_what_the_source_needs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let check = |program: &str| {
        fs::write(folder.path().join("test.toml"), config(program)).unwrap();
        let output = spindle(&data).args(["--config", "test.toml", "check"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.contains("source smart")).map(str::to_owned).collect::<Vec<_>>()
    };
    let missing = check("/nowhere/smartctl");
    assert!(
        missing.len() == 1 && missing[0].starts_with("fail") && missing[0].contains("install smartmontools"),
        "{missing:?}"
    );
    let program = fake(folder.path());
    assert_eq!(check(&program), ["ok    source smart: 2 drives read"]);
    let refused = json!({"smartctl": {"exit_status": 2, "messages": [
        {"string": "Smartctl open device: /dev/fake-a failed: Permission denied", "severity": "error"}]}});
    fs::write(folder.path().join("fake-a"), refused.to_string()).unwrap();
    let refused = check(&program);
    assert!(
        refused.len() == 2 && refused[1].contains("no_rights") && refused[1].contains("run as root"),
        "{refused:?}"
    );
}
