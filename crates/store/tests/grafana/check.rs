//! The check: lists the violations in the files under `grafana/`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spindle_core::metric::{self, Limits, MetricKind, Unit};

use crate::files;
use crate::json::{list, panels, rules, text};
use crate::layout;
use crate::query::{Query, Subject, examine};

pub(crate) const SOURCE_UID: &str = "spindle-influxdb";
/// Grafana's data source of expressions.
const EXPRESSION_UID: &str = "__expr__";
const KINDS: [&str; 5] = ["timeseries", "stat", "table", "bargauge", "row"];

/// Dashboards and alert rules.
#[derive(Clone, Debug)]
pub(crate) struct Boards {
    pub(crate) dashboards: Vec<(String, Value)>,
    pub(crate) alerts: Value,
}

impl Boards {
    pub(crate) fn read() -> Boards {
        Boards { dashboards: files::dashboards(), alerts: files::alert_rules() }
    }

    /// Returns every query: of panels, of variables, of alert rules.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for (file, dashboard) in &self.dashboards {
            for panel in panels(dashboard) {
                queries.extend(panel_queries(file, panel));
            }
            for variable in list(&dashboard["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
                queries.push(Query {
                    name: format!("{file}: variable {}", text(&variable["name"])),
                    text: text(&variable["query"]).to_owned(),
                });
            }
        }
        for rule in rules(&self.alerts) {
            for step in list(&rule["data"]).iter().filter(|step| step["datasourceUid"] != EXPRESSION_UID) {
                queries.push(Query {
                    name: format!("rule {}: {}", text(&rule["title"]), text(&step["refId"])),
                    text: text(&step["model"]["query"]).to_owned(),
                });
            }
        }
        queries
    }
}

pub(crate) fn violations(boards: &Boards) -> Vec<String> {
    let mut found = Vec::new();
    for query in boards.queries() {
        if let Err(violation) = examine(&query.text) {
            found.push(format!("{}: {violation}", query.name));
        }
    }
    let uids: Vec<&str> = boards.dashboards.iter().map(|(_, dashboard)| text(&dashboard["uid"])).collect();
    found.extend(twice(&uids).map(|uid| format!("two dashboards are {uid:?}")));
    for (file, dashboard) in &boards.dashboards {
        found.extend(
            dashboard_violations(dashboard, &boards.dashboards)
                .into_iter()
                .map(|violation| format!("{file}: {violation}")),
        );
        for panel in panels(dashboard).into_iter().filter(|panel| panel["type"] != "row") {
            let title = text(&panel["title"]);
            found.extend(
                panel_violations(file, panel).into_iter().map(|violation| format!("{file}: {title}: {violation}")),
            );
        }
    }
    for rule in rules(&boards.alerts) {
        let title = text(&rule["title"]);
        found.extend(rule_violations(rule, boards).into_iter().map(|violation| format!("rule {title}: {violation}")));
    }
    let rule_uids: Vec<&str> = rules(&boards.alerts).iter().map(|rule| text(&rule["uid"])).collect();
    found.extend(twice(&rule_uids).map(|uid| format!("two rules are {uid:?}")));
    found
}

fn dashboard_violations(dashboard: &Value, all: &[(String, Value)]) -> Vec<String> {
    let mut violations = layout::dashboard_violations(dashboard, all);
    for key in ["uid", "title", "description", "refresh"] {
        if text(&dashboard[key]).is_empty() {
            violations.push(format!("no {key}"));
        }
    }
    if !["now-1h", "now-15m"].contains(&text(&dashboard["time"]["from"])) {
        violations.push(format!("opens with {}", dashboard["time"]["from"]));
    }
    let ids: Vec<String> = panels(dashboard).iter().map(|panel| panel["id"].to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    violations.extend(twice(&ids).map(|id| format!("two panels have the id {id}")));
    for variable in list(&dashboard["templating"]["list"]) {
        let query = text(&variable["query"]);
        if variable["type"] == "query" && variable["datasource"]["uid"] != SOURCE_UID {
            violations.push("a variable has another data source".to_owned());
        }
        if query.starts_with("SHOW") && !query.contains("time >=") {
            violations.push(format!("{query}: InfluxDB 3 reads 24 h only without a bound of time"));
        }
    }
    violations
}

fn panel_violations(file: &str, panel: &Value) -> Vec<String> {
    let mut violations = layout::panel_violations(panel);
    let defaults = &panel["fieldConfig"]["defaults"];
    if !KINDS.contains(&text(&panel["type"])) {
        violations.push(format!("kind {}", panel["type"]));
    }
    for (name, value) in [
        ("title", &panel["title"]),
        ("description", &panel["description"]),
        ("unit", &defaults["unit"]),
        ("noValue", &defaults["noValue"]),
    ] {
        if text(value).is_empty() {
            violations.push(format!("no {name}"));
        }
    }
    if list(&panel["targets"]).is_empty() {
        violations.push("no query".to_owned());
    }
    let sources = list(&panel["targets"]).iter().map(|target| &target["datasource"]).chain([&panel["datasource"]]);
    for source in sources.filter(|source| source["uid"] != SOURCE_UID) {
        violations.push(format!("data source {source}"));
    }
    for target in list(&panel["targets"]) {
        if target["rawQuery"] != true || !is_bounded(text(&target["query"])) {
            violations.push(format!("{}: not a raw query with a bound on time", target["refId"]));
        }
    }
    let subjects: Vec<Subject> =
        panel_queries(file, panel).iter().filter_map(|query| examine(&query.text).ok()).collect();
    violations.extend(metric_violations(defaults, &subjects));
    for name in subjects.iter().flat_map(|subject| &subject.self_metrics) {
        if !self_metric_units(name).contains(&text(&defaults["unit"])) {
            violations.push(format!("{name} is shown in {}", defaults["unit"]));
        }
    }
    violations
}

/// Returns whether a query has both bounds of time. Without an end, versions differ in where gaps are filled.
fn is_bounded(query: &str) -> bool {
    query.contains("$timeFilter") || (query.contains("time >= now() -") && query.contains("time <= now()"))
}

/// Returns Grafana's ids of the units allowed for a self metric; its name ends with its unit.
fn self_metric_units(name: &str) -> &'static [&'static str] {
    match name {
        _ if name.ends_with("_per_second") => &["wps", "mps", "ops"],
        _ if name.ends_with("_seconds") => &["s"],
        _ => &["short"],
    }
}

/// Compares units, thresholds and bounds of a panel of metrics with the metric table.
fn metric_violations(defaults: &Value, subjects: &[Subject]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut kinds: Vec<&MetricKind> = Vec::new();
    for name in subjects.iter().flat_map(|subject| &subject.metric_types) {
        match metric::lookup(name) {
            Some(kind) => kinds.push(kind),
            None => violations.push(format!("the metric table has no {name:?}")),
        }
    }
    let bounds: Vec<f64> = subjects.iter().flat_map(|subject| subject.bounds.iter().copied()).collect();
    if !bounds.is_empty() {
        // The panel counts devices at or above a limit: the unit is that of a count, the bound that of the table.
        for bound in bounds.iter().filter(|bound| !kinds.iter().any(|kind| has_limit(kind, **bound))) {
            violations.push(format!("{bound} is not a limit of the metric table"));
        }
        return violations;
    }
    for kind in &kinds {
        if defaults["unit"] != unit_id(kind.unit) {
            violations.push(format!(
                "{} is shown in {} instead of {:?}",
                kind.name,
                defaults["unit"],
                unit_id(kind.unit)
            ));
        }
        let expected = expected_thresholds(kind.limits);
        let shown: Vec<&Value> = list(&defaults["thresholds"]["steps"]).iter().map(|step| &step["value"]).collect();
        let agrees = |expected: &[Value]| {
            shown.len() == expected.len() && shown.iter().zip(expected).all(|(one, other)| same_number(one, other))
        };
        // The limits of a temperature depend on the drive, so a panel may do without those of the table.
        if !(agrees(&expected) || kind.unit == Unit::Celsius && agrees(&expected_thresholds(None))) {
            violations.push(format!("{} has the thresholds {shown:?} instead of {expected:?}", kind.name));
        }
    }
    violations
}

fn has_limit(kind: &MetricKind, bound: f64) -> bool {
    kind.limits.is_some_and(|limits| [limits.warning, limits.critical].contains(&bound))
}

fn expected_thresholds(limits: Option<Limits>) -> Vec<Value> {
    match limits {
        Some(limits) => vec![Value::Null, json!(limits.warning), json!(limits.critical)],
        None => vec![Value::Null],
    }
}

fn same_number(one: &Value, other: &Value) -> bool {
    one.as_f64() == other.as_f64() && one.is_null() == other.is_null()
}

/// Returns Grafana's id of a unit.
pub(crate) fn unit_id(unit: Unit) -> &'static str {
    match unit {
        Unit::Celsius => "celsius",
        Unit::PerSecond => "iops",
        Unit::Milliseconds => "ms",
        Unit::Percent => "percent",
        Unit::BytesPerSecond => "Bps",
        Unit::Hours => "h",
        Unit::Count => "short",
    }
}

fn rule_violations(rule: &Value, boards: &Boards) -> Vec<String> {
    let mut violations = Vec::new();
    for key in ["uid", "title", "condition", "for"] {
        if text(&rule[key]).is_empty() {
            violations.push(format!("no {key}"));
        }
    }
    // Without them Grafana chooses; the meaning of silence and failures must be explicit, rule by rule.
    if !["OK", "Alerting", "NoData", "KeepLast"].contains(&text(&rule["noDataState"])) {
        violations.push("does not define what no data means".to_owned());
    }
    if !["OK", "Alerting", "Error", "KeepLast"].contains(&text(&rule["execErrState"])) {
        violations.push("does not define what a failing query means".to_owned());
    }
    for key in ["summary", "description"] {
        if text(&rule["annotations"][key]).is_empty() {
            violations.push(format!("no {key}"));
        }
    }
    if rule["annotations"].to_string().contains('$') {
        violations.push("a dollar sign in an annotation: Grafana may replace it while it reads the file".to_owned());
    }
    let steps = list(&rule["data"]);
    let ids: Vec<&str> = steps.iter().map(|step| text(&step["refId"])).collect();
    violations.extend(twice(&ids).map(|id| format!("two steps are {id}")));
    if !ids.contains(&text(&rule["condition"])) {
        violations.push("the condition is none of its steps".to_owned());
    }
    for step in steps {
        let model = &step["model"];
        let source = text(&step["datasourceUid"]);
        if ![SOURCE_UID, EXPRESSION_UID].contains(&source) || model["datasource"]["uid"] != source {
            violations.push(format!("data source {source:?}"));
        }
        if source == SOURCE_UID && (text(&model["query"]).contains('$') || !is_bounded(text(&model["query"]))) {
            violations
                .push(format!("{}: a query carries its own bounds on time, both, and no variable", step["refId"]));
        }
        if let Some(of) = model["expression"].as_str() {
            let named: Vec<&str> = match of.split_once('$') {
                None => vec![of],
                Some(_) => of.split('$').skip(1).filter_map(|part| part.get(..1)).collect(),
            };
            let lost = named.into_iter().filter(|name| !ids.contains(name));
            violations.extend(lost.map(|name| format!("{} refers to {name}", step["refId"])));
        }
    }
    let dashboard = boards.dashboards.iter().find(|(_, dashboard)| dashboard["uid"] == rule["dashboardUid"]);
    let shown = dashboard.is_some_and(|(_, board)| panels(board).iter().any(|panel| panel["id"] == rule["panelId"]));
    if !shown {
        violations.push("its panel is not there".to_owned());
    }
    violations
}

fn panel_queries(file: &str, panel: &Value) -> Vec<Query> {
    let title = text(&panel["title"]);
    let query = |target: &Value| Query {
        name: format!("{file}: {title}: {}", text(&target["refId"])),
        text: text(&target["query"]).to_owned(),
    };
    list(&panel["targets"]).iter().map(query).collect()
}

fn twice<'a>(names: &[&'a str]) -> impl Iterator<Item = &'a str> {
    let mut seen = BTreeSet::new();
    names.iter().copied().filter(|name| !seen.insert(*name)).collect::<Vec<_>>().into_iter()
}
