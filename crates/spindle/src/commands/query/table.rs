//! Responses as tables for a terminal.

mod judgement;

use serde_json::Value;

use crate::output;

/// Renders a response; the last line names the data it is based on.
pub(super) fn render(query_type: &str, response: &Value) -> String {
    let data = &response["data"];
    let body = match query_type {
        "devices" => devices(data, &response["basis"]),
        "device_health" => health(data),
        "anomaly_temperature" => pairs(data),
        "audit_gaps" => audit(response),
        "fleet_health" => judgement::fleet(response),
        "fleet" => judgement::columns(data),
        "fleet_history" => rows(data, &["time", "critical", "warning", "unknown"]),
        "fleet_series" => rows(data, &["time", "n_devices", "sum", "median", "max", "max_device"]),
        "pipeline" => rows(
            data,
            &[
                "time",
                "values_per_second",
                "events_per_second",
                "metrics_lag",
                "events_lag",
                "store_latency_p99_seconds",
            ],
        ),
        "incidents" => judgement::incidents(response),
        "health_history" => judgement::history(data),
        "anomalies" => judgement::anomalies(data),
        "series" => rows(data, &["time", "min", "mean", "max", "count"]),
        "alerts_critical" => {
            let columns = ["time", "source_device", "event_type", "criticality", "event_message"];
            let alerts = rows(data, &columns);
            match response["summary"].as_array().is_none_or(Vec::is_empty) {
                true => alerts,
                false => {
                    format!("{alerts}\n{}", rows(&response["summary"], &["source_device", "critical_event_count"]))
                }
            }
        }
        _ => rows(data, &["time", "source_device", "event_type", "criticality", "event_message"]),
    };
    format!("{body}{}", basis(&response["basis"]))
}

fn basis(basis: &Value) -> String {
    let from = basis["from"]
        .as_str()
        .map_or_else(|| "all of the past".to_owned(), |from| format!("from {}", short_time(from)));
    let until = basis["until"].as_str().map(short_time).unwrap_or_default();
    format!("based on {} point(s), {from}, until {until}\n", basis["n_points"])
}

/// The metrics with a column of their own; others are only counted.
const DEVICE_COLUMNS: [(&str, &str); 5] = [
    ("IOPs", "IOPs 1/s"),
    ("Latency", "Latency ms"),
    ("Utilization", "Utilization %"),
    ("DiskTemp", "DiskTemp °C"),
    ("CapacityUsed", "CapacityUsed %"),
];

fn devices(data: &Value, basis: &Value) -> String {
    let until = basis["until"].as_str().unwrap_or_default();
    let mut header = vec!["device", "last seen"];
    header.extend(DEVICE_COLUMNS.map(|(_, title)| title));
    header.push("more");
    // The date is omitted while it is that of the response.
    let seen = |time: &str| match (time.split_once('T'), until.split_once('T')) {
        (Some((day, _)), Some((today, _))) if day == today => short_time(time)[day.len() + 1..].to_owned(),
        _ => short_time(time),
    };
    let row = |device: &Value| {
        let metrics = &device["metrics"];
        let mut row = vec![text(&device["source_device"]), device["last_seen"].as_str().map(seen).unwrap_or_default()];
        row.extend(DEVICE_COLUMNS.map(|(name, _)| text(&metrics[name]["value"])));
        let n_columns = DEVICE_COLUMNS.iter().filter(|(name, _)| !metrics[*name].is_null()).count();
        row.push(metrics.as_object().map_or(0, |all| all.len() - n_columns).to_string());
        row
    };
    output::table(&header, data.as_array().into_iter().flatten().map(row).collect())
}

fn health(data: &Value) -> String {
    let score = if data["score"].is_null() { String::new() } else { format!(" (score {} of 100)", data["score"]) };
    let mut lines = format!("{} is {}{score}\n", text(&data["device"]), text(&data["health"]));
    if let Some(since) = data["since"].as_str() {
        lines += &format!("since {}\n", short_time(since));
    }
    for reason in data["reasons"].as_array().into_iter().flatten() {
        lines += &judgement::reason(reason);
    }
    lines.extend(decision(&data["acknowledged"], "acknowledged").map(|words| format!("{words}\n")));
    lines += &other_decisions(data);
    let last_seen = data["last_seen"].as_str().map_or_else(|| "never".to_owned(), short_time);
    let clock = data["clock_offset_seconds"].as_f64().map_or_else(String::new, |offset| {
        let direction = if offset > 0.0 { "ahead" } else { "behind" };
        format!("; its clock is {} s {direction}, or its values are late", offset.abs())
    });
    let received =
        data["last_received"].as_str().map_or_else(String::new, |time| format!(", received {}", short_time(time)));
    lines + &format!("last seen {last_seen}{received}{clock}\n")
}

/// Describes a decision in force.
fn decision(decision: &Value, verb: &str) -> Option<String> {
    let until = short_time(decision["until"].as_str()?);
    let by = decision["by"].as_str().map_or_else(String::new, |by| format!(" by {}", output::safe(by)));
    let reason = output::safe(decision["reason"].as_str().unwrap_or("no reason given"));
    Some(format!("{verb} until {until}{by}: {reason}"))
}

/// Lists the acceptances whose findings are not in the verdict, the decisions that are not understood, and those not read.
fn other_decisions(data: &Value) -> String {
    let each = |name: &str| data[name].as_array().cloned().unwrap_or_default();
    let reasons = each("reasons");
    let mut lines = String::new();
    for accepted in each("accepted") {
        let is_shown = |reason: &Value| reason["metric"] == accepted["metric"] && !reason["accepted"].is_null();
        if !reasons.iter().any(is_shown) {
            let up_to = accepted["value"].as_f64().map_or_else(String::new, |value| format!(" up to {value}"));
            let verb = format!("{}{up_to} accepted", text(&accepted["metric"]));
            lines.extend(decision(&accepted, &verb).map(|words| format!("{words}\n")));
        }
    }
    for odd in each("decisions_not_understood") {
        let time = odd["time"].as_str().map(short_time).unwrap_or_default();
        lines += &format!("{} of {time} decides nothing: {}\n", text(&odd["event_type"]), text(&odd["why"]));
    }
    lines + &judgement::cut_off(data)
}

fn audit(response: &Value) -> String {
    let columns = ["source_device", "state", "n_numbers", "n_missing", "n_doubled", "n_without_number", "n_runs"];
    let mut lines = rows(&response["summary"], &columns);
    let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for run in each(&response["data"]) {
        let of = format!("{} run {}", text(&run["source_device"]), run["run"]);
        for missing in each(&run["missing"]) {
            let time = |name: &str| missing[name].as_str().map_or_else(|| "?".to_owned(), short_time);
            let (from, to) = (missing["from"].to_string(), missing["to"].to_string());
            let which = if from == to { from } else { format!("{from} to {to}") };
            lines += &format!("  - {of}: missing {which}, between {} and {}\n", time("after"), time("before"));
        }
        for doubled in each(&run["doubled"]) {
            let times: Vec<_> = each(&doubled["times"]).iter().filter_map(Value::as_str).map(short_time).collect();
            lines += &format!("  - {of}: doubled {}, at {}\n", doubled["number"], times.join(" and "));
        }
    }
    lines
}

fn pairs(data: &Value) -> String {
    let row = |(name, value): (&String, &Value)| vec![name.clone(), text(value)];
    output::table(&[], data.as_object().into_iter().flatten().map(row).collect())
}

fn rows(data: &Value, columns: &[&str]) -> String {
    let cell = |row: &Value, column: &str| match column {
        "time" => row[column].as_str().map(short_time).unwrap_or_default(),
        "event_message" => event_message(row),
        _ => text(&row[column]),
    };
    let row = |row: &Value| columns.iter().map(|column| cell(row, column)).collect();
    output::table(columns, data.as_array().into_iter().flatten().map(row).collect())
}

/// Returns the message of an event; a decision is in its labels.
fn event_message(row: &Value) -> String {
    let message = text(&row["event_message"]);
    let label = |name: &str| row["labels"][name].as_str().map(|value| format!("{name} {}", output::safe(value)));
    match row["event_type"].as_str() {
        Some("FindingAccepted" | "IncidentAcknowledged") => {
            let labels: Vec<_> = ["metric", "value", "until", "by"].into_iter().filter_map(label).collect();
            if labels.is_empty() { message } else { format!("{message} ({})", labels.join(", ")) }
        }
        _ => message,
    }
}

/// Formats a value. Those of devices are untrusted, so control characters are escaped.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => output::safe(text),
        Value::Number(number) => number.as_f64().map_or_else(
            || number.to_string(),
            |value| {
                if value.fract() == 0.0 || value.abs() >= 1000.0 {
                    format!("{value:.0}")
                } else {
                    format!("{value:.2}")
                }
            },
        ),
        other => output::safe(&other.to_string()),
    }
}

/// Cuts a time to the second.
fn short_time(time: &str) -> String {
    match (time.find('.'), time.ends_with('Z')) {
        (Some(dot), true) => format!("{}Z", &time[..dot]),
        _ => time.to_owned(),
    }
}
