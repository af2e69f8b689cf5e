//! A small scorecard with fixed seeds: floors that the judgement must hold. docs/judgement.md has the whole one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may do what tests may")]

use std::process::Command;

use serde_json::Value;

fn scorecard(arguments: &[&str]) -> Value {
    let bench = env!("CARGO_BIN_EXE_spindle-bench");
    let output = Command::new(bench).args(["scorecard", "--format", "json"]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // Visible if the test fails, or with `--no-capture`.
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn at_least(card: &Value, key: &str, floor: f64) {
    let value = card["all"][key].as_f64().unwrap_or(f64::NAN);
    assert!(value >= floor, "{key}: {value}, expected at least {floor}");
}

#[track_caller]
fn at_most(card: &Value, key: &str, ceiling: f64) {
    let value = card["all"][key].as_f64().unwrap_or(f64::NAN);
    assert!(value <= ceiling, "{key}: {value}, expected at most {ceiling}");
}

/// Twice the faults of the default, so that a day has enough.
#[test]
fn failing_drives_are_found_before_they_fail() {
    let cards = scorecard(&["--devices", "10", "--hours", "24", "--seeds", "1", "--rates", "2"]);
    let card = &cards[0];
    at_least(card, "n_failures", 8.0);
    at_least(card, "recall_page", 0.8);
    at_least(card, "recall_verdict", 0.8);
    at_least(card, "page_lead_share", 0.4);
    at_least(card, "pages_precision", 0.95);
    at_most(card, "pages_per_failure", 2.0);
    at_most(card, "unaccused_share", 0.1);
}

#[test]
fn a_sound_fleet_calls_nobody() {
    let cards = scorecard(&["--devices", "10", "--hours", "36", "--seeds", "1", "--interval", "120s", "--rates", "0"]);
    let card = &cards[0];
    at_most(card, "n_failures", 0.0);
    at_most(card, "pages_per_year", 0.0);
    at_most(card, "accused_share", 0.15);
    at_most(card, "changes_per_day", 1.0);
}

/// Two drives, a value a day for 40 days; one reaches a limit on day 20, the other fails on day 30 without a sign.
#[test]
fn times_and_cases_of_a_recording_are_those_of_its_days() {
    let day = |day: u64| format!("2025-{:02}-{:02}T00:00:00Z", 1 + day / 28, 1 + day % 28);
    let mut lines = Vec::new();
    for number in 0..40 {
        let value = if number < 20 { 0 } else { 60 };
        for (device, value) in [("worn", value), ("sound", 0)] {
            if device == "worn" || number <= 30 {
                lines.push(format!(
                    r#"{{"timestamp":"{}","sourceDevice":"{device}","metricType":"smart_5_raw","value":{value}}}"#,
                    day(number)
                ));
            }
        }
        if number == 30 {
            lines.push(format!(
                r#"{{"id":"0190d5a0-0000-7000-8000-000000000001","criticality":9,"timestamp":"{}","sourceDevice":"sound","eventType":"DriveFailure"}}"#,
                day(number)
            ));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("days.ndjson");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let path = path.to_str().unwrap();
    let cards = scorecard(&["--recording", path]);
    let card = &cards[0];
    at_least(card, "n_failures", 1.0);
    at_most(card, "n_failures", 1.0);
    // One change in 39 days; the drive that fails is not sound.
    at_least(card, "changes_per_day", 0.02);
    at_most(card, "changes_per_day", 0.06);
    at_most(card, "notes_per_year", 40.0);
    let cases = Command::new(env!("CARGO_BIN_EXE_spindle-bench"))
        .args(["scorecard", "--cases", "--recording", path])
        .output()
        .unwrap();
    let cases = String::from_utf8(cases.stdout).unwrap();
    assert!(cases.contains("failed without a page: sound, drive failure of 47520 min"), "{cases}");
}
