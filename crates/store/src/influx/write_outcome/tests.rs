//! Responses of servers and proxies, and their meaning.

use super::*;

fn response(status: u16, body: &str, has_own_header: bool) -> WriteResponse {
    let content_type = Some("text/html".to_owned());
    WriteResponse { status, retry_after: None, content_type, has_own_header, body: body.to_owned() }
}

fn outcome(status: u16, body: &str, lines: &[&str]) -> WriteOutcome {
    response(status, body, true).outcome(lines)
}

#[test]
fn each_answer_of_the_contract_is_understood() {
    use WriteOutcome as W;
    let name = |outcome: WriteOutcome| match outcome {
        W::Stored => "stored",
        W::BeyondRetention { .. } => "retention",
        W::StoredExcept { is_limit: true, .. } => "limit",
        W::StoredExcept { .. } => "except",
        W::Retry { .. } => "retry",
        W::Split { .. } => "split",
        W::Bisect { .. } => "bisect",
        W::RetryUncompressed { .. } => "retry uncompressed",
        W::DatabaseMissing { .. } => "missing",
        W::Misconfigured { .. } => "misconfigured",
        W::Foreign { .. } => "foreign",
    };
    for (status, body, expect) in [
        (204, "", "stored"),
        (408, "", "retry"),
        (BROKEN_OFF, "connection reset", "retry"),
        (413, "Request Entity Too Large", "split"),
        (500, "max request size (10485760 bytes) exceeded", "split"),
        (
            400,
            r#"{"error":"partial write: max-series-per-database exceeded database=x limit=1000000 dropped=3"}"#,
            "limit",
        ),
        (422, r#"{"error":"Adding a new database would exceed limit of 5 databases"}"#, "misconfigured"),
        (
            422,
            r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"Update to schema would exceed number of columns","line_number":1}]}"#,
            "limit",
        ),
        (400, r#"{"error":"partial write: points beyond retention policy dropped=1"}"#, "retention"),
        (
            422,
            r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 2 points outside retention policy of duration 1h0m0s - oldest"}"#,
            "retention",
        ),
        (400, r#"{"error":"partial write: point time is expired, compared with rp duration dropped=1"}"#, "retention"),
        (400, r#"{"error":"partial write: field type conflict: input field \"f\" dropped=1"}"#, "except"),
        (400, r#"{"error":"line protocol parsing error","data":{"line_number":1}}"#, "bisect"),
        (400, r#"{"code":"invalid","message":"unable to parse 'x': bad"}"#, "bisect"),
        (400, r#"{"error":"field type conflict"}"#, "retry uncompressed"),
        (500, r#"{"error":"engine: field type conflict"}"#, "retry uncompressed"),
        (400, r#"{"code":"invalid","message":"write buffer error: error from wal: wal is shutdown"}"#, "retry"),
        (500, r#"{"code":"internal error","message":"unable to read data: unexpected EOF"}"#, "retry uncompressed"),
        (401, r#"{"error":"authorization failed"}"#, "misconfigured"),
        (403, r#"{"code":"forbidden","message":"insufficient permissions for write"}"#, "misconfigured"),
        (400, r#"{"error": "Authorization header was malformed, x"}"#, "misconfigured"),
        (404, r#"{"error":"database not found: \"x\""}"#, "missing"),
        (404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#, "missing"),
        (500, r#"{"error":"retention policy not found: x"}"#, "misconfigured"),
        (400, r#"{"error":"database is required"}"#, "misconfigured"),
        (503, "request throttled, queue full", "retry"),
        (500, r#"{"error":"timeout"}"#, "retry"),
        (500, "Internal Server Error", "retry"),
        (422, r#"{"message":"something new"}"#, "bisect"),
        (200, "<html>", "misconfigured"),
    ] {
        assert_eq!(name(outcome(status, body, &["x"])), expect, "{status} {body}");
    }
}

/// A condition of the server is not blamed on a line.
#[test]
fn a_full_disk_is_said_and_no_line_is_suspected() {
    let may_be_poison = |status, body: &str| match outcome(status, body, &["x"]) {
        WriteOutcome::Retry { may_be_poison, .. } => may_be_poison,
        other => panic!("{other:?}"),
    };
    let full = r#"{"error":"engine: error writing WAL entry: write /x/_00001.wal: no space left on device"}"#;
    assert!(!may_be_poison(500, full) && !may_be_poison(500, r#"{"error":"timeout"}"#));
    assert!(may_be_poison(500, "Internal Server Error") && may_be_poison(BROKEN_OFF, "reset"));
    let WriteOutcome::Retry { message, .. } = outcome(500, full, &["x"]) else { panic!() };
    assert!(message.contains("no space left on device") && message.ends_with(WHEN_FULL), "{message}");
}

#[test]
fn a_line_that_is_named_twice_is_refused_once() {
    let body = r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"bad","line_number":1},{"error_message":"worse","line_number":1},{"line_number":2},{"line_number":0},{"line_number":3}]}"#;
    let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a", "b"]) else { panic!() };
    assert_eq!(lines, [(0, "bad".to_owned()), (1, "(no message)".to_owned())]);
    let body = r#"{"error":"partial write: unable to parse 'a': bad\nunable to parse 'a': worse dropped=0"}"#;
    let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a", "a"]) else { panic!() };
    assert_eq!(lines, [(0, "bad".to_owned())]);
}

#[test]
fn words_are_one_short_line() {
    let body = format!(
        r#"{{"error":"partial write of line protocol occurred","data":[{{"error_message":"a\r\u001b[31m{}\nb","line_number":1}}]}}"#,
        "ü".repeat(400)
    );
    let WriteOutcome::StoredExcept { lines, .. } = outcome(400, &body, &["a"]) else { panic!() };
    assert!(lines[0].1.starts_with("a  [31mü") && lines[0].1.chars().count() == 300, "{}", lines[0].1);
    let WriteOutcome::Retry { message, .. } = outcome(BROKEN_OFF, "reset\nby peer", &[]) else { panic!() };
    assert_eq!(message, "could not write: the connection broke off: reset");
    let WriteOutcome::Misconfigured { message } = response(302, "\n<html>\u{85}\r\n<b>", false).outcome(&[]) else {
        panic!()
    };
    assert!(message.starts_with("302 text/html: <html> : is this"), "{message}");
    let WriteOutcome::Retry { message, .. } = outcome(503, " \n", &[]) else { panic!() };
    assert_eq!(message, "503 (no message)");
}

#[test]
fn refused_lines_are_found() {
    let body = r#"{"error":"partial write: unable to parse 'b x=1': missing tag value\nunable to parse 'c': missing fields dropped=0"}"#;
    let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a x=1", "b x=1", "c"]) else { panic!() };
    assert_eq!(lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    let body =
        r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"bad","line_number":2}]}"#;
    let WriteOutcome::StoredExcept { lines, .. } = outcome(400, body, &["a", "b"]) else { panic!() };
    assert_eq!(lines, [(1, "bad".to_owned())]);
}

/// Only a header or an error form of InfluxDB's own makes a refusal its own.
#[test]
fn what_a_proxy_refuses_is_not_a_refusal_of_the_server() {
    let html = "<html><head><title>400 Bad Request</title></head></html>";
    let foreign = [
        html,
        "",
        "unable to parse 'x': bad timestamp",
        "{}",
        "[]",
        "null",
        r#""error""#,
        r#"{"message":"Forbidden"}"#,
        r#"{"error":{"code":400}}"#,
        r#"{"error":"Bad Request","status":400,"path":"/write"}"#,
        r#"{"code":400,"message":"bad"}"#,
        r#"{"code":"invalid","message":"bad","requestId":"7"}"#,
    ];
    for status in [400, 402, 403, 404, 405, 406, 407, 410, 411, 415, 418, 422, 431, 451] {
        for body in foreign {
            let WriteOutcome::Foreign { message } = response(status, body, false).outcome(&["x"]) else {
                panic!("{status} {body}: {:?}", response(status, body, false).outcome(&["x"]))
            };
            assert!(message.starts_with(&format!("{status} text/html: ")), "{message}");
        }
    }
    for status in [200, 202, 301, 302, 307, 308] {
        assert!(matches!(response(status, html, false).outcome(&[]), WriteOutcome::Misconfigured { .. }), "{status}");
    }
    // Patience and credentials mean the same from anybody, and so does a size.
    assert!(matches!(response(503, html, false).outcome(&[]), WriteOutcome::Retry { .. }));
    assert!(matches!(response(429, html, false).outcome(&[]), WriteOutcome::Retry { .. }));
    assert!(matches!(response(401, "", false).outcome(&[]), WriteOutcome::Misconfigured { .. }));
    assert!(matches!(response(413, html, false).outcome(&[]), WriteOutcome::Split { is_own: false, .. }));
    for own in [r#"{"error":"something new"}"#, r#"{"code":"invalid","message":"something new"}"#] {
        assert!(matches!(response(400, own, false).outcome(&[]), WriteOutcome::Bisect { .. }), "{own}");
    }
    assert!(matches!(response(400, html, true).outcome(&[]), WriteOutcome::Bisect { .. }));
    for (name, is_own) in [
        ("x-influxdb-version", true),
        ("x-influxdb-error", true),
        ("x-platform-error-code", true),
        ("x-geminidb-build", true),
        ("x-influx", false),
        ("server", false),
    ] {
        assert_eq!(is_own_header(name), is_own, "{name}");
    }
}

#[test]
fn the_number_of_dropped_points_is_read() {
    let dropped = |message: &str| n_dropped(&message.to_lowercase());
    assert_eq!(dropped("points beyond retention policy dropped=17"), Some(17));
    assert_eq!(dropped("dropped 10 points outside retention policy of duration 1h0m0s - oldest"), Some(10));
    assert_eq!(dropped("field type conflict: input field \"dropped=3\" is of type x dropped=4"), Some(4));
    assert_eq!(dropped("max-values-per-tag limit exceeded (3/3): measurement=\"m\" tag=\"t\" dropped=9"), Some(9));
    assert_eq!(dropped("something else"), None);
    assert_eq!(dropped("dropped=99999999999999999999999"), None);
}

/// The lines that a limit keeps out come first; the others are named when they are sent again.
#[test]
fn a_limit_is_told_from_a_bad_line() {
    let body = r#"{"error":"partial write of line protocol occurred","data":[{"error_message":"Update to schema would exceed number of tables","line_number":1},{"error_message":"bad","line_number":2}]}"#;
    let WriteOutcome::StoredExcept { lines, is_limit, .. } = outcome(422, body, &["a", "b", "c"]) else { panic!() };
    assert!(is_limit);
    assert_eq!(lines, [(0, "Update to schema would exceed number of tables".to_owned())]);
}
