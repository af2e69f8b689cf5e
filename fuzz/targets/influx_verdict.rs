//! Any bytes as InfluxDB's answer to a write, of each status that decides something.

#![no_main]

mod influx;

use influx::verdict::{Answer, Verdict};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use spindle_fuzz::is_one_line;

const STATUSES: [u16; 16] = [0, 200, 204, 302, 400, 401, 403, 404, 408, 413, 422, 429, 499, 500, 503, 504];

// Input: a byte that chooses the status, one for the number of lines that were sent, these, and the answer's body.
fuzz_target!(|data: &[u8]| {
    let [status, n_lines, text @ ..] = data else { return };
    let Ok(mut body) = std::str::from_utf8(text) else { return };
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let mut lines = Vec::new();
    for _ in 0..n_lines % 5 {
        let Some((line, rest)) = body.split_once('\n') else { break };
        lines.push(line);
        body = rest;
    }
    is_safe(status, &verdict(status, body, &lines), lines.len());
    lines.iter().filter(|line| is_ours(line)).for_each(|line| an_echo_decides_nothing(line, &lines));
});

fn verdict(status: u16, body: &str, lines: &[&str]) -> Verdict {
    Answer { status, retry_after: None, body: body.to_owned() }.verdict(lines)
}

/// No answer but the contract's makes us believe that something is stored, or condemn a line.
fn is_safe(status: u16, verdict: &Verdict, n_lines: usize) {
    match verdict {
        Verdict::Stored => assert_eq!(status, 204),
        Verdict::StoredWithinRetention { words } => {
            is_one_line(words);
            assert!(matches!(status, 400 | 422));
        }
        Verdict::StoredExcept { lines, words } => {
            is_one_line(words);
            assert!(matches!(status, 400 | 422));
            let mut numbers: Vec<usize> = lines.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert!(numbers.len() == lines.len() && numbers.iter().all(|number| *number < n_lines), "{lines:?}");
            lines.iter().for_each(|(_, words)| drop(is_one_line(words)));
        }
        Verdict::Bisect { words } => {
            is_one_line(words);
            assert!(matches!(status, 400 | 422));
        }
        Verdict::OnceMore { words } => {
            is_one_line(words);
            assert!(matches!(status, 400 | 500));
        }
        Verdict::Later { words, .. }
        | Verdict::Split { words }
        | Verdict::Missing { words }
        | Verdict::Operator { words } => {
            is_one_line(words);
        }
    }
}

/// What can be a line of ours: it begins with a measurement and holds no control character.
fn is_ours(line: &str) -> bool {
    line.starts_with("device_metrics,") && !line.chars().any(|letter| letter.is_control() || letter == '\'')
}

/// Versions 1 and 2 quote our lines in their words: whatever a device is called, the verdict stays the same.
fn an_echo_decides_nothing(line: &str, lines: &[&str]) {
    let quoted = format!("unable to parse '{line}': missing fields");
    let (v1, v2) =
        (json!({ "error": quoted }).to_string(), json!({ "code": "invalid", "message": quoted }).to_string());
    for body in [v1, v2] {
        assert!(matches!(verdict(400, &body, lines), Verdict::Bisect { .. }), "{body}");
    }
    let body = json!({ "error": format!("partial write: {quoted} dropped=0") }).to_string();
    let Verdict::StoredExcept { lines: named, .. } = verdict(400, &body, lines) else { panic!("{body}") };
    assert!(named.iter().any(|(number, _)| lines[*number] == line), "{body} names {named:?}");
}
