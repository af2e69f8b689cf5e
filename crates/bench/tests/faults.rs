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
fn check(store: &str) -> Value {
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
    // This program is a debug build, as the tests are: it panics when it is asked to.
    assert!(report["panics"].as_u64() > Some(0) && report["recovery"]["panic"].is_object(), "no message panicked");
    assert_eq!(report["counts"]["messages trimmed from the streams"], 0);
    report
}

#[test]
fn nothing_is_lost_or_doubled_over_faults_with_the_embedded_store() {
    check("embedded");
}

#[test]
fn nothing_is_lost_or_doubled_over_faults_with_influxdb() {
    let report = check("influxdb");
    let counts = &report["counts"];
    assert!(report["recovery"]["lose data of store"].is_object(), "the store never lost anything");
    assert!(counts["points that the store lost"].as_u64() > Some(0) && counts["messages restored"].as_u64() > Some(0));
}
