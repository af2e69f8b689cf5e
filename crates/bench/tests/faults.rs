//! The fault harness in its short form, on both stores: a fixed seed, a few faults of every kind. `faults` of
//! CONTRIBUTING.md says how to run the long form.
//!
//! As root the disks are full as well; otherwise the harness says aloud that this part is left out.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may do as the tests do")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Fixed, so that a failure can be repeated: `spindle-bench faults` with the same arguments.
const ARGUMENTS: &str = "faults --seed 5 --messages 20000 --devices 50 --faults 12 --gap 2s --json --store";

#[track_caller]
fn check(store: &str) {
    let bench = Path::new(env!("CARGO_BIN_EXE_spindle-bench"));
    let program = bench.with_file_name("spindle");
    assert!(program.is_file(), "{} is not there: run `cargo build -p spindle` before", program.display());
    let output =
        Command::new(bench).args(ARGUMENTS.split(' ')).arg(store).arg("--program").arg(program).output().unwrap();
    let (figures, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Shown by a test that fails, and by `--no-capture`.
    println!("{talk}\n{figures}");
    assert!(output.status.success(), "{store}: {}", output.status);
    let report: Value = serde_json::from_str(figures.lines().last().unwrap_or_default()).unwrap();
    assert_eq!((&report["good"], &report["faults"]), (&Value::from(true), &Value::from(12)));
    assert_eq!((&report["messages"], &report["not_acknowledged"]), (&Value::from(20_000), &Value::from(0)));
    assert!(report["values"].as_u64() > Some(80_000) && report["dead_letters"].as_u64() > Some(50));
}

#[test]
fn nothing_is_lost_or_doubled_over_faults_with_the_embedded_store() {
    check("embedded");
}

#[test]
fn nothing_is_lost_or_doubled_over_faults_with_influxdb() {
    check("influxdb");
}
