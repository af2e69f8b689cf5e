//! The truth harness with a fixed seed, each case as a test of its own. CONTRIBUTING.md describes it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may do what tests may")]

use std::path::Path;
use std::process::Command;

#[track_caller]
fn check(case: &str) {
    let bench = Path::new(env!("CARGO_BIN_EXE_spindle-bench"));
    let program = bench.with_file_name("spindle");
    assert!(program.is_file(), "no program at {}: run `cargo build -p spindle` first", program.display());
    let output = Command::new(bench).args(["truth", "--seed", "5", "--all", case, "--program"]).arg(program).output();
    let output = output.unwrap();
    // Visible if the test fails, or with `--no-capture`.
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{case}: {}", output.status);
}

#[test]
fn nothing_is_called_stored_while_others_answer_for_the_store() {
    check("foreign-answers");
}

#[test]
fn data_older_than_the_retention_is_a_dead_letter() {
    check("aged-data");
}

#[test]
fn distinct_events_are_all_stored() {
    check("identities");
}

#[test]
fn repeated_messages_are_counted_as_duplicates() {
    check("duplicates");
}

#[test]
fn messages_of_other_programs_are_read_where_their_meaning_is_certain() {
    check("foreign-messages");
}

#[test]
fn a_stream_that_loses_what_it_acknowledged_is_refused() {
    check("unsafe-streams");
}

#[test]
fn a_full_stream_and_its_holder_are_named() {
    check("full-stream");
}

#[test]
fn a_dead_drive_is_never_ok() {
    check("dead-drives");
}

#[test]
fn a_sound_drive_is_not_condemned() {
    check("sound-drives");
}

#[test]
fn a_start_without_a_store_does_not_sound_well() {
    check("refused-start");
}

#[test]
fn an_output_that_nobody_reads_stops_nothing() {
    check("undrained-output");
}

#[test]
fn nats_server_is_restarted_after_an_upgrade_in_place() {
    check("replaced-program");
}

#[test]
fn a_wrong_clock_leaves_nothing_that_refuses_later_starts() {
    check("wrong-clock");
}

#[test]
fn exit_codes_agree_with_the_outcome() {
    check("exit-codes");
}
