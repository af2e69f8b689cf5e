//! Responses of openGemini to writes, as seen on 1.5.2 and in its source.

use super::write_outcome::{WriteOutcome, WriteResponse};

fn outcome(status: u16, error: &str) -> WriteOutcome {
    let body = serde_json::json!({ "error": error }).to_string();
    WriteResponse { status, retry_after: None, content_type: None, has_own_header: true, body }.outcome(&["x"])
}

#[test]
fn what_it_dropped_is_told_from_what_it_could_not_read() {
    use WriteOutcome as W;
    let expired = "partial write: point time is expired, compared with rp duration dropped=1";
    assert!(matches!(outcome(400, expired), W::BeyondRetention { .. }));
    for partial in [
        "partial write: time outside range -9223372036854775806 - 9223372036854775806 dropped=1",
        r#"partial write: field type conflict: input field "v" on measurement "m" is type string, already exists as type float dropped=1"#,
    ] {
        assert!(matches!(outcome(400, partial), W::StoredExcept { lines, .. } if lines.is_empty()), "{partial}");
    }
    for unreadable in [
        r#"cannot parse field value for "i": strconv.ParseInt: value out of range"#,
        r#"cannot parse timestamp "-9223372036854775809": bad timestamp"#,
    ] {
        assert!(matches!(outcome(400, unreadable), W::Bisect { .. }), "{unreadable}");
    }
}

#[test]
fn a_limit_of_series_keeps_new_ones_out() {
    let error = "partial write: too many series in database fleet. upper limit: 5; current: 5 dropped=0";
    let outcome = outcome(400, error);
    assert!(matches!(outcome, WriteOutcome::StoredExcept { is_limit: true, .. }), "{outcome:?}");
}

/// None of these is the fault of a point.
#[test]
fn what_an_operator_must_fix_blames_no_line() {
    for (status, error) in [
        (400, "readonly now and writing is not allowed"),
        (403, "disable write!"),
        (403, r#""fleet" user is not authorized to write to database "fleet""#),
    ] {
        let WriteOutcome::Misconfigured { message } = outcome(status, error) else { panic!("{error}") };
        assert_eq!(message.contains("credentials"), error.contains("not authorized"), "{message}");
    }
    let missing = outcome(404, r#"database not found: "nodb""#);
    assert!(matches!(missing, WriteOutcome::DatabaseMissing { .. }), "{missing:?}");
}
