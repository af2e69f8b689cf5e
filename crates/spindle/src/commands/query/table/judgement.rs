//! Tables of verdicts and incidents: sentences first, as they are read, and no wider than a terminal.

use serde_json::Value;

use super::{decision, short_time, text};
use crate::output;

/// Renders a reason of a verdict as an item of a list.
pub(super) fn reason(reason: &Value) -> String {
    let accepted = decision(&reason["accepted"], "accepted").map_or_else(String::new, |words| format!(" ({words})"));
    let mut lines = item(&format!("  - {}{accepted}", text(&reason["why"])), 4);
    let facts = facts(reason);
    if !facts.is_empty() {
        lines += &item(&format!("    {facts}"), 4);
    }
    if let Some(advice) = reason["advice"].as_str() {
        lines += &item(&format!("    {}", output::safe(advice)), 4);
    }
    lines
}

/// Breaks a line between words at the width of the terminal; further lines are indented.
fn item(line: &str, indent: usize) -> String {
    wrapped(line, indent, output::width().map_or(usize::MAX, usize::from))
}

fn wrapped(line: &str, indent: usize, width: usize) -> String {
    let start = line.len() - line.trim_start().len();
    let (mut lines, mut column) = (" ".repeat(start), start);
    for (index, word) in line.trim_start().split(' ').enumerate() {
        let n_columns = word.chars().count();
        if index > 0 && column + 1 + n_columns > width {
            lines += &format!("\n{}", " ".repeat(indent));
            column = indent;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += n_columns;
    }
    lines + "\n"
}

/// Returns what was expected, the trend and the start of a finding, on one line.
fn facts(reason: &Value) -> String {
    let expected = reason["expected"].as_str().map(|expected| format!("expected {}", output::safe(expected)));
    let trend = reason["trend"].as_str().map(output::safe);
    let since = reason["since"].as_str().map(|since| format!("since {}", short_time(since)));
    expected.into_iter().chain(trend).chain(since).collect::<Vec<_>>().join(", ")
}

/// Renders `fleet_health`: counts, the devices, and the groups that are not well.
pub(super) fn fleet(response: &Value) -> String {
    let summary = &response["summary"];
    let counts = &summary["counts"];
    let mut lines = format!(
        "{}: {} critical, {} warning, {} unknown ({} asleep), {} ok\n",
        output::count(summary["n_devices"].as_u64().unwrap_or(0), "device"),
        counts["critical"],
        counts["warning"],
        counts["unknown"],
        summary["n_asleep"],
        counts["ok"]
    );
    for row in array(&response["data"]) {
        let reason = &row["reason"];
        let score = if row["score"].is_null() { String::new() } else { format!(" ({})", row["score"]) };
        let since = row["since"].as_str().or(reason["since"].as_str());
        let since = since.map_or_else(String::new, |since| format!(", since {}", short_time(since)));
        let acknowledged = if row["acknowledged"].is_null() { "" } else { ", acknowledged" };
        let place = place(&row["labels"]);
        let (health, device) = (text(&row["health"]), text(&row["source_device"]));
        lines += &item(&format!("{health}{score} {device}{place}{since}{acknowledged}"), 2);
        if !reason.is_null() {
            let why = text(&reason["why"]);
            let trend = reason["trend"].as_str().map(output::safe).filter(|trend| !why.contains(&**trend));
            let trend = trend.map_or_else(String::new, |trend| format!(", {trend}"));
            lines += &item(&format!("  {why}{trend}"), 2);
        }
        if let Some(advice) = reason["advice"].as_str() {
            lines += &item(&format!("  {}", output::safe(advice)), 2);
        }
    }
    let count = |group: &Value, name: &str| group[name].as_u64().unwrap_or(0);
    let is_ill = |group: &&Value| ["critical", "warning", "unknown"].iter().any(|name| count(group, name) > 0);
    let groups: Vec<Vec<String>> = array(&summary["groups"])
        .filter(is_ill)
        .map(|group| ["group", "critical", "warning", "unknown", "ok"].map(|name| text(&group[name])).to_vec())
        .collect();
    if groups.len() > 1 {
        lines += &output::table(&["group", "critical", "warning", "unknown", "ok"], groups);
    }
    let n_gone = summary["n_gone"].as_u64().unwrap_or(0);
    if n_gone > 0 {
        let shown: Vec<_> = array(&summary["gone"]).take(5).map(|gone| text(&gone["source_device"])).collect();
        let more = if n_gone > shown.len() as u64 { ", …" } else { "" };
        lines += &format!("gone: {} ({}{more})\n", output::count(n_gone, "device"), shown.join(", "));
    }
    lines + &cut_off(summary) + &detector(summary)
}

/// Renders `incidents`, each with its place, devices, reasons and advice.
pub(super) fn incidents(response: &Value) -> String {
    let summary = &response["summary"];
    let mut lines = format!(
        "{} open, {} acknowledged, {} closed\n",
        summary["n_open"], summary["n_acknowledged"], summary["n_closed"]
    );
    for incident in array(&response["data"]) {
        let devices: Vec<_> = array(&incident["devices"]).map(text).collect();
        let subject = match (&devices[..], incident["place"]["enclosure"].as_str()) {
            ([one], _) => format!("{one}{}", place(&incident["place"])),
            (several, Some(enclosure)) => format!("{}, {} devices", output::safe(enclosure), several.len()),
            (several, None) => format!("{} devices", several.len()),
        };
        let time = |name: &str| incident[name].as_str().map(short_time).unwrap_or_default();
        let until = if incident["until"].is_null() { String::new() } else { format!(" until {}", time("until")) };
        let (state, cause, criticality) =
            (text(&incident["state"]), text(&incident["cause"]), &incident["criticality"]);
        lines += &item(&format!("{state} {cause} ({criticality}): {subject}, since {}{until}", time("since")), 2);
        if devices.len() > 1 {
            let more = if devices.len() > 8 { ", …" } else { "" };
            lines += &item(&format!("  of {}{more}", devices[..devices.len().min(8)].join(", ")), 2);
        }
        for reason in array(&incident["reasons"]).take(3) {
            lines += &item(&format!("  - {}", text(&reason["why"])), 4);
        }
        if let Some(advice) = incident["advice"].as_str() {
            lines += &item(&format!("  {}", output::safe(advice)), 2);
        }
        lines.extend(decision(&incident["acknowledged"], "acknowledged").map(|words| item(&format!("  {words}"), 2)));
    }
    lines + &cut_off(summary) + &detector(summary)
}

/// Renders `fleet`, one device a line.
pub(super) fn columns(data: &Value) -> String {
    let metrics: Vec<&String> = data["metrics"].as_object().into_iter().flat_map(|metrics| metrics.keys()).collect();
    let mut header = vec!["device", "state", "enclosure", "bay", "heard s"];
    header.extend(metrics.iter().map(|metric| metric.as_str()));
    let label = |key: &str, index: usize| {
        let column = &data["labels"][key];
        let name = column["index"][index].as_u64().map(|at| &column["names"][at as usize]);
        name.map_or_else(|| "-".to_owned(), text)
    };
    let row = |(index, device): (usize, &Value)| {
        let state = data["state"][index].as_u64().map_or(&Value::Null, |state| &data["states"][state as usize]);
        let heard = text(&data["heard_seconds"][index]);
        let mut row = vec![text(device), text(state), label("enclosure", index), label("bay", index), heard];
        row.extend(metrics.iter().map(|metric| text(&data["metrics"][metric.as_str()]["values"][index])));
        row
    };
    output::table(&header, array(&data["device"]).enumerate().map(row).collect())
}

/// Renders `health_history`, one segment a line.
pub(super) fn history(data: &Value) -> String {
    let cell = |segment: &Value, name: &str| match name {
        "from" | "until" => segment[name].as_str().map(short_time).unwrap_or_default(),
        _ => text(&segment[name]),
    };
    let columns = ["from", "until", "health", "score", "why"];
    let row = |segment: &Value| columns.iter().map(|name| cell(segment, name)).collect();
    output::table(&columns, array(data).map(row).collect())
}

/// Renders `anomalies`, one a line.
pub(super) fn anomalies(data: &Value) -> String {
    let row = |row: &Value| {
        let range = match (row["expected_low"].is_null(), row["expected_high"].is_null()) {
            (false, false) => format!("{} to {}", text(&row["expected_low"]), text(&row["expected_high"])),
            _ => "-".to_owned(),
        };
        let time = row["time"].as_str().map(short_time).unwrap_or_default();
        let what = if row["metric"].is_null() { &row["event_type"] } else { &row["metric"] };
        vec![time, text(&row["source_device"]), text(what), text(&row["value"]), range, text(&row["score"])]
    };
    output::table(&["time", "device", "metric", "value", "expected", "score"], array(data).map(row).collect())
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns enclosure, or else host, and bay, in brackets.
fn place(labels: &Value) -> String {
    let known = |name: &str| labels[name].as_str().filter(|name| !name.is_empty()).map(output::safe);
    let bay = known("bay").map(|bay| format!("bay {bay}"));
    let parts: Vec<_> = known("enclosure").or_else(|| known("host")).into_iter().chain(bay).collect();
    if parts.is_empty() { String::new() } else { format!(" [{}]", parts.join(", ")) }
}

/// Names the types of which not all events were read.
pub(super) fn cut_off(summary: &Value) -> String {
    let mut types: Vec<_> = array(&summary["cut_off"]).map(text).collect();
    types.extend((summary["calls_cut_off"] == true).then(|| "other critical types".to_owned()));
    match types.is_empty() {
        true => String::new(),
        false => format!("not all events were read: there are too many of {}\n", types.join(", ")),
    }
}

fn detector(summary: &Value) -> String {
    match summary["detector_seen"].as_str() {
        Some(_) => String::new(),
        None => "no statement of the detector for a day: judged by limits and other events\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(shown: &str, expected: &[&str]) {
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }

    #[test]
    fn a_fleet_is_told_by_counts_and_its_worst_devices() {
        let counts = json!({ "ok": 9, "unknown": 1, "warning": 0, "critical": 1 });
        let row = json!({
            "source_device": "DiskUnit-0001", "health": "critical", "score": 39, "since": "2025-06-06T12:00:00.5Z",
            "reason": { "why": "DriveFailure at noon: head crash", "advice": "Replace it." },
            "labels": { "enclosure": "enclosure-01", "bay": "3" }, "acknowledged": null
        });
        let asleep = json!({ "source_device": "DiskUnit-0002", "health": "unknown", "score": null, "since": null, "reason": { "why": "asleep" }, "labels": {} });
        let gone = json!([{ "source_device": "old" }]);
        let summary = json!({ "n_devices": 11, "counts": counts, "n_asleep": 1, "groups": [], "n_gone": 1, "gone": gone, "detector_seen": "2025-06-06T12:00:00Z" });
        check(
            &fleet(&json!({ "data": [row, asleep], "summary": summary })),
            &[
                "11 devices: 1 critical, 0 warning, 1 unknown (1 asleep), 9 ok",
                "critical (39) DiskUnit-0001 [enclosure-01, bay 3], since 2025-06-06T12:00:00Z",
                "  DriveFailure at noon: head crash",
                "  Replace it.",
                "unknown DiskUnit-0002",
                "  asleep",
                "gone: 1 device (old)",
            ],
        );
    }

    #[test]
    fn an_incident_is_told_with_place_devices_and_advice() {
        let incident = json!({
            "state": "acknowledged", "cause": "DeviceSlow", "criticality": 7, "devices": ["a", "b"],
            "place": { "enclosure": "enclosure-01" }, "since": "2025-06-06T12:00:00Z", "until": null,
            "reasons": [{ "why": "DeviceSlow at noon: slow" }], "advice": "Check power.",
            "acknowledged": { "until": "2025-06-07T12:00:00Z", "reason": "on it" }
        });
        let summary = json!({ "n_open": 0, "n_acknowledged": 1, "n_closed": 0, "cut_off": ["DeviceSlow"], "calls_cut_off": true, "detector_seen": null });
        check(
            &incidents(&json!({ "data": [incident], "summary": summary })),
            &[
                "0 open, 1 acknowledged, 0 closed",
                "acknowledged DeviceSlow (7): enclosure-01, 2 devices, since 2025-06-06T12:00:00Z",
                "  of a, b",
                "  - DeviceSlow at noon: slow",
                "  Check power.",
                "  acknowledged until 2025-06-07T12:00:00Z: on it",
                "not all events were read: there are too many of DeviceSlow, other critical types",
                "no statement of the detector for a day: judged by limits and other events",
            ][..],
        );
    }

    #[test]
    fn long_lines_break_between_words() {
        check(&wrapped("  - one two three", 4, 11), &["  - one two", "    three"]);
        check(&wrapped("  - one two three", 4, usize::MAX), &["  - one two three"]);
        check(&wrapped("  unbreakable word", 2, 5), &["  unbreakable", "  word"]);
    }

    #[test]
    fn a_reason_says_what_was_expected_and_its_trend() {
        let told = reason(&json!({
            "why": "sectors", "expected": "below 1", "trend": "rose by 3 in 24 h", "since": "2025-06-06T12:00:00Z", "advice": "Replace it."
        }));
        check(
            &told,
            &["  - sectors", "    expected below 1, rose by 3 in 24 h, since 2025-06-06T12:00:00Z", "    Replace it."],
        );
    }
}
