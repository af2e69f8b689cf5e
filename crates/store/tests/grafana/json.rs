//! Access to dashboards and alert rules as JSON.

use serde_json::Value;

/// Returns the panels of a dashboard, including rows and the panels inside rows.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for panel in list(&dashboard["panels"]) {
        found.push(panel);
        found.extend(list(&panel["panels"]));
    }
    found
}

pub(crate) fn rules(alerts: &Value) -> Vec<&Value> {
    list(&alerts["groups"]).iter().flat_map(|group| list(&group["rules"])).collect()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
