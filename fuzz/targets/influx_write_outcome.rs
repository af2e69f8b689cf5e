//! Any bytes as InfluxDB's response to a write, with each significant status.

#![no_main]

mod influx;

use influx::write_outcome::{WriteOutcome, WriteResponse};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use spindle_fuzz::is_one_line;

const STATUSES: [u16; 16] = [0, 200, 204, 302, 400, 401, 403, 404, 408, 413, 422, 429, 499, 500, 503, 504];

// Input: a byte that selects the status and whether InfluxDB's own header is there, a byte for the number of lines sent, these lines, and the response's body.
fuzz_target!(|data: &[u8]| {
    let [status, n_lines, text @ ..] = data else { return };
    let Ok(mut body) = std::str::from_utf8(text) else { return };
    let has_own_header = *status >= 128;
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let mut lines = Vec::new();
    for _ in 0..n_lines % 5 {
        let Some((line, rest)) = body.split_once('\n') else { break };
        lines.push(line);
        body = rest;
    }
    is_safe(status, &outcome(status, has_own_header, body, &lines), lines.len());
    lines.iter().filter(|line| is_ours(line)).for_each(|line| an_echo_decides_nothing(line, &lines));
});

fn outcome(status: u16, has_own_header: bool, body: &str, lines: &[&str]) -> WriteOutcome {
    let body = body.to_owned();
    WriteResponse { status, retry_after: None, content_type: None, has_own_header, body }.outcome(lines)
}

/// Checks that only the known responses count lines as stored or condemn one.
fn is_safe(status: u16, outcome: &WriteOutcome, n_lines: usize) {
    match outcome {
        WriteOutcome::Stored => assert_eq!(status, 204),
        WriteOutcome::BeyondRetention { message, .. } => {
            is_one_line(message);
            assert!(matches!(status, 400 | 422));
        }
        WriteOutcome::StoredExcept { lines, message, .. } | WriteOutcome::Bisect { lines, message } => {
            is_one_line(message);
            assert!(matches!(status, 400 | 422));
            let mut numbers: Vec<usize> = lines.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert!(numbers.len() == lines.len() && numbers.iter().all(|number| *number < n_lines), "{lines:?}");
            lines.iter().for_each(|(_, message)| drop(is_one_line(message)));
        }
        WriteOutcome::Foreign { message } => {
            is_one_line(message);
            assert!(matches!(status, 400..=499));
        }
        WriteOutcome::RetryUncompressed { message } => {
            is_one_line(message);
            assert!(matches!(status, 400 | 500));
        }
        WriteOutcome::Retry { message, .. }
        | WriteOutcome::Split { message, .. }
        | WriteOutcome::DatabaseMissing { message }
        | WriteOutcome::Misconfigured { message } => {
            is_one_line(message);
        }
    }
}

/// Returns whether the store could have written a line: it begins with a measurement, ends with a time, and has no
/// control character.
fn is_ours(line: &str) -> bool {
    line.starts_with("device_metrics,") && line.ends_with(|ch: char| ch.is_ascii_digit()) && !line.chars().any(|ch| ch.is_control() || ch == '\'')
}

/// Versions 1 and 2 quote lines in their messages: the name of a device must not change the outcome.
fn an_echo_decides_nothing(line: &str, lines: &[&str]) {
    let quoted = format!("unable to parse '{line}': missing fields");
    let (v1, v2) =
        (json!({ "error": quoted }).to_string(), json!({ "code": "invalid", "message": quoted }).to_string());
    for body in [v1, v2] {
        assert!(matches!(outcome(400, true, &body, lines), WriteOutcome::Bisect { .. }), "{body}");
    }
    let body = json!({ "error": format!("partial write: {quoted} dropped=0") }).to_string();
    let WriteOutcome::StoredExcept { lines: named, .. } = outcome(400, true, &body, lines) else { panic!("{body}") };
    assert!(named.iter().any(|(number, _)| lines[*number] == line), "{body} names {named:?}");
}
