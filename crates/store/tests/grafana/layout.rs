//! Checks the layout of panels: position, legend, columns.

use serde_json::Value;

use crate::json::{list, panels, text};
use crate::links::{link_violations, variable};
use crate::query::{Token, tokens};

/// Columns of Grafana's page grid.
const PAGE_WIDTH: u64 = 24;

/// Finds overlapping or misplaced panels, missing variables, and broken links.
pub(crate) fn dashboard_violations(dashboard: &Value, all: &[(String, Value)]) -> Vec<String> {
    let mut violations = Vec::new();
    let placed = panels(dashboard);
    for (number, panel) in placed.iter().enumerate() {
        let title = text(&panel["title"]);
        match place(panel) {
            None => violations.push(format!("{title} has no place on the page")),
            Some(mine) => {
                let others = placed[..number].iter().filter(|other| place(other).is_some_and(|one| overlap(mine, one)));
                violations.extend(others.map(|other| format!("{title} overlaps {}", other["title"])));
            }
        }
        for target in list(&panel["targets"]) {
            let unknown = variables_of(text(&target["query"]));
            let unknown = unknown.into_iter().filter(|name| variable(dashboard, name).is_none());
            violations.extend(unknown.map(|name| format!("{title}: the dashboard has no variable {name}")));
        }
    }
    violations.extend(link_violations(dashboard, all));
    violations
}

/// Left, top, right, bottom; the last two are exclusive.
type Rect = (u64, u64, u64, u64);

fn place(panel: &Value) -> Option<Rect> {
    let side = |name: &str| panel["gridPos"][name].as_u64();
    let (x, y, w, h) = (side("x")?, side("y")?, side("w")?, side("h")?);
    (w > 0 && h > 0 && x + w <= PAGE_WIDTH).then_some((x, y, x + w, y + h))
}

fn overlap(one: Rect, other: Rect) -> bool {
    one.0 < other.2 && other.0 < one.2 && one.1 < other.3 && other.1 < one.3
}

/// Returns the names in `${…}`, without a format.
fn variables_of(query: &str) -> Vec<&str> {
    query.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next()).collect()
}

/// Checks that a chart names its lines, and that a table refers only to existing columns.
pub(crate) fn panel_violations(panel: &Value) -> Vec<String> {
    match text(&panel["type"]) {
        "timeseries" => chart_violations(panel),
        "table" => table_violations(panel),
        _ => Vec::new(),
    }
}

fn chart_violations(panel: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    if panel["options"]["legend"]["showLegend"] != true {
        violations.push("no legend".to_owned());
    }
    for target in list(&panel["targets"]) {
        if text(&target["alias"]).is_empty() {
            violations.push(format!("{}: no alias for the legend", target["refId"]));
        }
        let query = text(&target["query"]);
        if !query.contains("time($__interval)") || !query.contains("fill(") {
            violations.push(format!("{}: not grouped by the interval with a fill for gaps", target["refId"]));
        }
        // A sender slower than the interval leaves an empty interval after each value: no line would be drawn.
        let bridged = &panel["fieldConfig"]["defaults"]["custom"]["spanNulls"];
        if query.contains("fill(null)") && !bridged.is_number() {
            violations.push(format!("{}: gaps are not bridged up to a limit", target["refId"]));
        }
    }
    violations
}

fn table_violations(panel: &Value) -> Vec<String> {
    let mut columns = vec!["Time".to_owned()];
    for target in list(&panel["targets"]) {
        let names = tokens(text(&target["query"])).unwrap_or_default();
        columns.extend(names.into_iter().filter_map(|token| match token {
            Token::Name(name) => Some(name),
            _ => None,
        }));
    }
    let mut violations = Vec::new();
    for transformation in list(&panel["transformations"]) {
        let options = &transformation["options"];
        for key in ["excludeByName", "renameByName"] {
            let named = options[key].as_object().into_iter().flatten().map(|(name, _)| name);
            let lost = named.filter(|name| !columns.contains(name));
            violations.extend(lost.map(|name| format!("{key} refers to the column {name:?}, which does not exist")));
        }
    }
    let renamed = list(&panel["transformations"]).iter().filter_map(|one| one["options"]["renameByName"].as_object());
    let shown: Vec<&str> = renamed.flatten().map(|(_, name)| text(name)).chain(["Time"]).collect();
    let overridden = list(&panel["fieldConfig"]["overrides"]).iter().map(|one| text(&one["matcher"]["options"]));
    let sorted = list(&panel["options"]["sortBy"]).iter().map(|one| text(&one["displayName"]));
    let lost = overridden.chain(sorted).filter(|name| !shown.contains(name));
    violations.extend(lost.map(|name| format!("no column {name:?} to sort by or to format")));
    violations
}
