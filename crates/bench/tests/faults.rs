//! Short form of the fault harness on both stores: a fixed seed, at least one fault of every kind. CONTRIBUTING.md
//! describes the long form.
//!
//! Full disks need root; without it the harness reports that this kind is left out.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may do what tests may")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Fixed arguments: `spindle-bench faults` repeats a failure with them.
const ARGUMENTS: &str = "faults --seed 5 --messages 20000 --devices 50 --faults 12 --gap 2s --json --store";

#[track_caller]
fn check(store: &str) -> Value {
    let bench = Path::new(env!("CARGO_BIN_EXE_spindle-bench"));
    let program = bench.with_file_name("spindle");
    assert!(program.is_file(), "no program at {}: run `cargo build -p spindle` first", program.display());
    let output =
        Command::new(bench).args(ARGUMENTS.split(' ')).arg(store).arg("--program").arg(program).output().unwrap();
    let (results, progress) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Visible if the test fails, or with `--no-capture`.
    println!("{progress}\n{results}");
    assert!(output.status.success(), "{store}: {}", output.status);
    let report: Value = serde_json::from_str(results.lines().last().unwrap_or_default()).unwrap();
    assert_eq!((&report["good"], &report["faults"]), (&Value::from(true), &Value::from(12)));
    assert_eq!((&report["messages"], &report["not_acknowledged"]), (&Value::from(20_000), &Value::from(0)));
    assert!(report["values"].as_u64() > Some(80_000) && report["dead_letters"].as_u64() > Some(50));
    // The program is a debug build like the tests, so messages can make it panic.
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
    assert!(report["recovery"]["lose data of store"].is_object(), "the store lost nothing");
    assert!(counts["points lost by the store"].as_u64() > Some(0) && counts["messages restored"].as_u64() > Some(0));
}
