//! One planted violation for each kind that the check must find.

use serde_json::{Value, json};
use spindle_core::metric::METRICS;

use crate::check::{Boards, violations};
use crate::query::examine;

/// Replaces `old` by `new` in every text under `grafana/`.
fn replaced(old: &str, new: &str) -> Boards {
    let boards = Boards::read();
    let quoted = |text: &str| text.replace('"', "\\\"");
    let replace = |value: &Value| serde_json::from_str(&value.to_string().replace(&quoted(old), &quoted(new))).unwrap();
    let changed = Boards {
        dashboards: boards.dashboards.iter().map(|(file, board)| (file.clone(), replace(board))).collect(),
        alerts: replace(&boards.alerts),
    };
    assert!(changed.dashboards != boards.dashboards || changed.alerts != boards.alerts, "{old} occurs nowhere");
    changed
}

fn expect_violation(boards: &Boards, message: &str) {
    let found = violations(boards);
    assert!(found.iter().any(|violation| violation.contains(message)), "{message} is not in {found:?}");
}

#[test]
fn planted_violations_are_found() {
    for (old, new, message) in [
        ("FROM \"device_metrics\"", "FROM \"device_metric\"", "no measurement \"device_metric\""),
        ("\"criticality\"", "\"severity\"", "has no \"severity\""),
        ("max(\"criticality\")", "max(\"event_message\")", "which is text"),
        ("'DiskTemp'", "'DiskTemperature'", "the metric table has no \"DiskTemperature\""),
        ("'Latency'", "'DiskTemp'", "DiskTemp is shown in"),
        ("${SourceDevice:regex}", "${Device:regex}", "no variable Device"),
        ("last(\"value\")", "sample(\"value\", 1)", "sample is neither"),
        (" AND time <= now()", "", "its own bounds"),
        ("raw}/device/", "raw}/devices/", "is not the page of a device"),
        ("&to=${__to:date:iso}", "", "is not the page of a device"),
        ("to=${__to:date:iso}", "to=${__to}", "unexpected format of __to"),
    ] {
        expect_violation(&replaced(old, new), message);
    }
    for (path, value, message) in [
        ("/panels/0/fieldConfig/defaults/unit", json!("fahrenheit"), "DiskTemp is shown in \"fahrenheit\""),
        ("/panels/0/fieldConfig/defaults/thresholds/steps/0/value", json!(54), "DiskTemp has the thresholds"),
        ("/panels/1/fieldConfig/defaults/thresholds/steps/1/value", json!(99), "Latency has the thresholds"),
        ("/panels/0/datasource/uid", json!("other"), "data source"),
        ("/panels/1/gridPos/x", json!(2), "Latency overlaps \"Temperature\""),
        ("/links/0/url", json!("/d/nowhere"), "\"nowhere\", which is not there"),
        ("/templating/list/1/query", json!("javascript:alert(1)"), "is not the page of a device"),
        ("/templating/list/1/name", json!("spindle"), "no variable spindle_url"),
    ] {
        let mut boards = Boards::read();
        let (_, device) = boards.dashboards.iter_mut().find(|(file, _)| file == "device.json").unwrap();
        *device.pointer_mut(path).unwrap() = value;
        expect_violation(&boards, message);
    }
    for (path, value, message) in [
        ("/groups/0/rules/0/noDataState", Value::Null, "what no data means"),
        ("/groups/0/rules/0/panelId", json!(999), "its panel is not there"),
    ] {
        let mut boards = Boards::read();
        *boards.alerts.pointer_mut(path).unwrap() = value;
        expect_violation(&boards, message);
    }
}

#[test]
fn names_are_found_wherever_they_stand() {
    let check = |query: &str, message: &str| {
        let error = examine(query).unwrap_err();
        assert!(error.contains(message), "{query}: {error}");
    };
    check(r#"SELECT mean("valeu") FROM "device_metrics""#, "valeu");
    check(r#"SELECT mean("value") FROM "device_metrics" GROUP BY "metric""#, "metric");
    check(r#"SELECT count("m") FROM (SELECT last("value") AS "n" FROM "device_metrics")"#, "\"m\"");
    check(r#"SELECT last("value") FROM "device_metrics" WHERE "source" =~ /^"x"$/"#, "source");
    check("SELECT 1", "no measurement");
    let good = examine(
        r#"SELECT last("value") FROM "device_metrics" WHERE "source_device" =~ /^"no name"$/ AND "metric_type" = 'IOPs'"#,
    );
    assert_eq!(good.unwrap().metric_types.into_iter().collect::<Vec<_>>(), ["IOPs"]);
}

#[test]
fn the_device_dashboard_shows_every_metric_type() {
    let queries = Boards::read().queries();
    for kind in METRICS {
        let literal = format!("'{}'", kind.name);
        let is_of_table = ["PowerCycles", "IsFlash", "DiskTempHighest"].contains(&kind.name)
            || ["smart_", "nvme_", "scsi_"].iter().any(|log| kind.name.starts_with(log));
        let is_shown = queries.iter().filter(|query| query.name.starts_with("device.json")).any(|query| {
            query.text.contains(&literal)
                || is_of_table
                    && query.text.contains("=~ /^(smart|nvme|scsi)_|^(PowerCycles|IsFlash|DiskTempHighest)$/ AND")
        });
        assert!(is_shown, "{} is not shown", kind.name);
    }
}
