//! Short form of the memory benchmark, each load as a test of its own: a tenth of the load, and a bound that a role
//! exceeds only if it holds several times what it should. A slow machine reaches lower peaks, never higher ones.
//! docs/performance.md has the figures of the whole loads.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may do what tests may")]

use std::path::Path;
use std::process::Command;

/// Runs a load, divided by `divisor`; its role may take `max_mib`.
#[track_caller]
fn check(load: &str, divisor: u32, max_mib: u64) {
    let bench = Path::new(env!("CARGO_BIN_EXE_spindle-bench"));
    let program = bench.with_file_name("spindle");
    assert!(program.is_file(), "no program at {}: run `cargo build -p spindle` first", program.display());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(bench)
        .args(["memory", "--divide", &divisor.to_string(), "--only", load, "--deployment"])
        .arg(root)
        .arg("--program")
        .arg(program)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    // Visible if the test fails, or with `--no-capture`.
    println!("{table}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{load}: {}", output.status);
    let peak = table.lines().last().and_then(|row| row.split(" | ").nth(2)).unwrap();
    let peak_mib: u64 = peak.trim_end_matches(" MiB").parse().unwrap();
    assert!(peak_mib >= 5 && peak_mib <= max_mib, "{load}: {peak_mib} MiB, expected at most {max_mib}");
}

#[test]
fn the_hold_of_a_daemon_takes_what_it_counts() {
    // Some 50 MiB of it are the debug program itself, which grows with its code.
    check("hold", 8, 72);
}

#[test]
fn the_source_host_takes_little_while_nats_is_away() {
    check("host", 10, 60);
}

/// In flight is as much as under the whole load.
#[test]
fn a_writer_bounds_its_batches_while_influxdb_hangs() {
    check("hanging-influxdb", 4, 320);
}

#[test]
fn late_events_take_no_memory_for_what_is_stored() {
    check("late-events", 10, 80);
}

#[test]
fn late_events_take_no_memory_for_what_influxdb_stores() {
    // 75 to 81 MiB, of which the debug program itself is two thirds.
    check("late-events-influxdb", 10, 100);
}

#[test]
fn a_fleet_takes_few_bytes_per_series() {
    check("fleet", 10, 120);
}

#[test]
fn a_fleet_takes_few_bytes_per_series_on_influxdb() {
    check("fleet-influxdb", 10, 150);
}

#[test]
fn a_detector_takes_few_kilobytes_per_series() {
    check("series", 2, 120);
}

#[test]
fn a_reader_bounds_the_queries_that_wait() {
    check("large-queries", 4, 130);
}

#[test]
fn a_client_takes_few_bytes_per_logged_event() {
    check("alerts", 6, 80);
}

#[test]
fn the_web_bounds_the_answers_that_wait() {
    check("large-answers", 4, 120);
}

#[test]
fn all_roles_together_stay_small() {
    check("together", 4, 320);
}
