//! The dashboards and alert rules under `grafana/` match the store: every name in every query is in the schema, units
//! and limits are those of the metric table, and a real InfluxDB filled by the real store returns data for every query.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

mod answers;
mod check;
mod files;
mod firing;
mod json;
mod layout;
mod links;
mod mutations;
mod query;

use check::{Boards, violations};

#[test]
fn dashboards_and_rules_agree_with_the_schema_and_the_metric_table() {
    let found = violations(&Boards::read());
    assert!(found.is_empty(), "{} violations:\n  {}", found.len(), found.join("\n  "));
}

/// The parser of these tests reads JSON; these two files are YAML, short, and compared line by line.
#[test]
fn the_data_source_takes_everything_from_the_environment() {
    let source = files::text("provisioning/datasources/influxdb.yaml");
    let lines: Vec<&str> = source.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    for expected in [
        &format!("uid: {}", check::SOURCE_UID),
        "type: influxdb",
        "version: InfluxQL",
        "httpMode: POST",
        "url: $INFLUXDB_HOST",
        "database: $INFLUXDB_BUCKET",
        "dbName: $INFLUXDB_BUCKET",
        "httpHeaderName1: Authorization",
        "httpHeaderValue1: $GRAFANA_INFLUXDB_AUTHORIZATION",
    ] {
        assert_eq!(lines.iter().filter(|line| **line == expected).count(), 1, "{expected}");
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("- name:")).count(), 1, "one data source");
    let provider = files::text("provisioning/dashboards/spindle.yaml");
    assert!(provider.lines().any(|line| line.trim() == "path: /etc/grafana/dashboards"));
}
