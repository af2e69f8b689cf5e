//! The check sees what it is there to see.

use serde_json::{Value, json};
use spindle_core::metric::METRICS;

use crate::check::{Boards, panels, text, violations};
use crate::query::examine;

/// Replaces `old` by `new` in every text under `grafana/`.
fn spoilt(old: &str, new: &str) -> Boards {
    let boards = Boards::read();
    let replaced = |value: &Value| {
        let quoted = |text: &str| text.replace('"', "\\\"");
        serde_json::from_str(&value.to_string().replace(&quoted(old), &quoted(new))).unwrap()
    };
    let spoilt = Boards {
        dashboards: boards.dashboards.iter().map(|(file, board)| (file.clone(), replaced(board))).collect(),
        alerts: replaced(&boards.alerts),
    };
    let is_spoilt = spoilt.dashboards != boards.dashboards || spoilt.alerts != boards.alerts;
    assert!(is_spoilt, "{old} stands nowhere: nothing is spoilt");
    spoilt
}

#[test]
fn a_misspelt_name_is_refused() {
    let check = |old: &str, new: &str, words: &str| {
        let found = violations(&spoilt(old, new));
        assert!(found.iter().any(|fault| fault.contains(words)), "{old} -> {new}: {words} is not in {found:?}");
    };
    check("FROM \"device_metrics\"", "FROM \"device_metric\"", "no measurement \"device_metric\"");
    check("FROM \"events\"", "FROM events", "a measurement stands in double quotes");
    check("FROM \"events\"", "FROM \"device_labels\"", "device_labels has no \"criticality\"");
    check("\"source_device\"", "\"sourceDevice\"", "has no \"sourceDevice\"");
    check("\"event_type\"", "\"event_typ\"", "has no \"event_typ\"");
    check("\"criticality\"", "\"severity\"", "has no \"severity\"");
    check("\"metrics_lag\"", "\"metric_lag\"", "has no \"metric_lag\"");
    check("last(\"ready\")", "last(ready)", "ready is neither in quotes");
    check("max(\"criticality\")", "max(\"event_message\")", "which is text");
    check("count(\"event_id\")", "count(\"event_type\")", "is a tag");
    check("'DiskTemp'", "'DiskTemperature'", "the metric table has no \"DiskTemperature\"");
    check("'Latency'", "'DiskTemp'", "DiskTemp is shown in");
    check("\"metrics_lag\"", "\"pipeline_lag\"", "rule Writer stalled: A: spindle_pipeline has no \"pipeline_lag\"");
    check("\"instance\"", "\"writer\"", "has no \"writer\"");
    check("${SourceDevice:regex}", "${Device:regex}", "no variable Device");
    check("var-SourceDevice", "var-Device", "a link sets the variable \"Device\"");
}

/// What InfluxDB 3 has not, or reads in another way.
#[test]
fn what_not_every_version_answers_is_refused() {
    let check = |old: &str, new: &str, words: &str| {
        let found = violations(&spoilt(old, new));
        assert!(found.iter().any(|fault| fault.contains(words)), "{old} -> {new}: {words} is not in {found:?}");
    };
    check("LIMIT 200", "SLIMIT 200", "SLIMIT is neither");
    check("last(\"value\")", "sample(\"value\", 1)", "sample is neither");
    check("max(\"value\")", "holt_winters(max(\"value\"), 1, 1)", "holt_winters is neither");
    check(" AND time <= now()", "", "its own bounds");
    check(
        " AND time <= now() GROUP BY \"label\"",
        " GROUP BY \"label\"",
        "Labels: \"A\": not a raw query with a bound",
    );
    check(" AND $timeFilter GROUP BY", " GROUP BY", "not a raw query with a bound");
}

#[test]
fn a_spoilt_panel_is_refused() {
    let check = |path: &str, value: Value, words: &str| {
        let mut boards = Boards::read();
        let (_, device) = boards.dashboards.iter_mut().find(|(file, _)| file == "device.json").unwrap();
        *device.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        let found = violations(&boards);
        assert!(found.iter().any(|fault| fault.contains(words)), "{path}: {words} is not in {found:?}");
    };
    assert!(violations(&Boards::read()).is_empty());
    check("/panels/1/id", json!(1), "two panels have the id 1");
    check("/panels/0/datasource/uid", json!("other"), "data source");
    check("/panels/0/targets/0/datasource/uid", json!("${DS}"), "data source");
    check("/panels/0/fieldConfig/defaults/unit", json!(""), "no unit");
    check("/panels/0/fieldConfig/defaults/unit", json!("fahrenheit"), "DiskTemp is shown in \"fahrenheit\"");
    check("/panels/0/fieldConfig/defaults/noValue", Value::Null, "no noValue");
    check("/panels/0/fieldConfig/defaults/thresholds/steps/1/value", json!(54), "DiskTemp has the thresholds");
    check("/panels/3/fieldConfig/defaults/thresholds/steps", json!([]), "IOPs has the thresholds");
    check("/panels/0/description", json!(""), "no description");
    check("/links/0/url", json!("/d/nowhere"), "\"nowhere\", which is not there");
    check(
        "/panels/10/transformations/0/options/renameByName",
        json!({"severity": "Criticality"}),
        "column \"severity\"",
    );
    check("/panels/10/fieldConfig/overrides/0/matcher/options", json!("criticality"), "no column \"criticality\"");
    check("/panels/1/gridPos/x", json!(2), "Latency overlaps \"Temperature\"");
    check("/panels/5/gridPos/w", json!(5), "has no place");
    check("/panels/6/options/legend/showLegend", json!(false), "no legend");
    check("/panels/6/targets/0/alias", Value::Null, "no alias");
    check("/panels/6/fieldConfig/defaults/custom/spanNulls", json!(false), "not bridged");
    check("/templating/list/0/name", json!("Device"), "no variable SourceDevice");
    check(
        "/templating/list/0/query",
        json!("SHOW TAG VALUES FROM \"events\" WITH KEY = \"source_device\""),
        "24 h only",
    );
    check("/uid", json!("spindle-fleet"), "two dashboards are");
    check("/refresh", json!(""), "no refresh");
    let mut boards = Boards::read();
    let (_, pipeline) = boards.dashboards.iter_mut().find(|(file, _)| file == "pipeline.json").unwrap();
    pipeline["panels"][3]["fieldConfig"]["defaults"]["unit"] = json!("ms");
    let found = violations(&boards);
    assert_eq!(found, ["pipeline.json: Store latency: store_latency_seconds is shown in \"ms\""]);
    // Inside of a collapsed row, too.
    let rows = Boards::read().dashboards.iter().flat_map(|(_, board)| panels(board).len().checked_sub(1)).count();
    assert!(rows > 0);
    check("/panels/18/panels/0/fieldConfig/defaults/unit", json!("ms"), "smart_194_raw is shown in \"ms\"");
}

#[test]
fn a_spoilt_rule_is_refused() {
    let check = |path: &str, value: Value, words: &str| {
        let mut boards = Boards::read();
        *boards.alerts.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        let found = violations(&boards);
        assert!(found.iter().any(|fault| fault.contains(words)), "{path}: {words} is not in {found:?}");
    };
    check("/groups/0/rules/0/noDataState", Value::Null, "what no data means");
    check("/groups/0/rules/0/execErrState", json!("Whatever"), "what a failing query means");
    check("/groups/0/rules/0/condition", json!("Z"), "the condition is none");
    check("/groups/0/rules/0/panelId", json!(999), "its panel is not there");
    check("/groups/0/rules/1/uid", json!("spindle-critical-events"), "two rules are");
    check("/groups/0/rules/0/annotations/summary", json!("{{ $labels.x }}"), "a dollar sign");
    check("/groups/0/rules/0/data/0/datasourceUid", json!("other"), "data source \"other\"");
    check("/groups/0/rules/0/data/1/model/expression", json!("Q"), "speaks of Q");
    check(
        "/groups/0/rules/0/data/0/model/query",
        json!("SELECT count(\"event_id\") FROM \"events\""),
        "its own bounds",
    );
}

#[test]
fn names_are_found_wherever_they_stand() {
    let check = |query: &str, words: &str| {
        let fault = examine(query).unwrap_err();
        assert!(fault.contains(words), "{query}: {fault}");
    };
    check(r#"SELECT mean("valeu") FROM "device_metrics""#, "valeu");
    check(r#"SELECT mean("value") FROM "device_metrics" GROUP BY "metric""#, "metric");
    check(r#"SELECT count("n") FROM (SELECT last("valu") AS "n" FROM "device_metrics")"#, "valu");
    check(r#"SELECT count("m") FROM (SELECT last("value") AS "n" FROM "device_metrics")"#, "\"m\"");
    check(r#"SELECT last("value") FROM "device_metrics" WHERE "source" =~ /^"x"$/"#, "source");
    check(r#"SELECT last("value) FROM "device_metrics""#, "");
    check(r#"SELECT sample("value", 3) FROM "device_metrics""#, "sample");
    check("SELECT 1", "no measurement");
    let good = examine(
        r#"SELECT last("value") FROM "device_metrics" WHERE "source_device" =~ /^"no name"$/ AND "metric_type" = 'IOPs'"#,
    );
    assert_eq!(good.unwrap().metric_types.into_iter().collect::<Vec<_>>(), ["IOPs"]);
}

#[test]
fn the_device_dashboard_shows_every_metric_type() {
    let boards = Boards::read();
    for kind in METRICS {
        let literal = format!("'{}'", kind.name);
        let is_shown =
            boards.queries().iter().any(|query| query.name.starts_with("device.json") && query.text.contains(&literal));
        assert!(is_shown, "{} is not shown", kind.name);
    }
    assert!(
        boards.dashboards.iter().any(|(file, board)| file == "fleet.json" && text(&board["uid"]) == "spindle-fleet")
    );
}
