//! Checks the links of a dashboard: to other dashboards, and to Spindle's page.

use reqwest::Url;
use serde_json::Value;

use crate::json::{list, text};

/// A name that needs encoding, and a time, in the forms that Grafana gives them.
const NAME: &str = "vm%3A%2Fa%20b";
const TIME: &str = "2026-01-01T00:00:00.000Z";

/// Finds links that lead nowhere, and variables that the dashboard lacks.
pub(crate) fn link_violations(dashboard: &Value, all: &[(String, Value)]) -> Vec<String> {
    let mut links = Vec::new();
    collect(dashboard, &mut links);
    links.iter().filter_map(|url| violation(url, dashboard, all).err()).collect()
}

/// Collects the value of every field `url`.
fn collect<'a>(value: &'a Value, links: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            links.extend(fields.get("url").and_then(Value::as_str));
            fields.values().for_each(|field| collect(field, links));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, links)),
        _ => {}
    }
}

fn violation(url: &str, dashboard: &Value, all: &[(String, Value)]) -> Result<(), String> {
    let address = filled(url, dashboard)?;
    match url.strip_prefix("/d/") {
        Some(path) => to_dashboard(path, all),
        None => to_device_page(&address).ok_or_else(|| format!("{url} is not the page of a device: {address}")),
    }
}

/// Checks a link `/d/<uid>?var-<variable>=…`: both must exist.
fn to_dashboard(path: &str, all: &[(String, Value)]) -> Result<(), String> {
    let uid = path.split(['?', '/']).next().unwrap_or_default();
    let Some((_, dashboard)) = all.iter().find(|(_, dashboard)| dashboard["uid"] == uid) else {
        return Err(format!("a link leads to the dashboard {uid:?}, which is not there"));
    };
    let named = path.split("var-").skip(1).filter_map(|rest| rest.split('=').next());
    match named.into_iter().find(|name| variable(dashboard, name).is_none()) {
        Some(lost) => Err(format!("a link sets the variable {lost:?}, which {uid} has not")),
        None => Ok(()),
    }
}

/// Checks that an address is what the live page reads: `/device/NAME?from=TIME&to=TIME`.
fn to_device_page(address: &str) -> Option<()> {
    let url = Url::parse(address).ok()?;
    let has_range = url.query()? == format!("from={TIME}&to={TIME}");
    (matches!(url.scheme(), "http" | "https") && url.path() == format!("/device/{NAME}") && has_range).then_some(())
}

/// Fills in the variables of a link as Grafana does.
fn filled(url: &str, dashboard: &Value) -> Result<String, String> {
    let mut parts = url.split("${");
    let mut address = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once('}').ok_or_else(|| format!("{url}: a brace is open"))?;
        let (name, format) = inner.split_once(':').unwrap_or((inner, ""));
        let value = match (name, format, variable(dashboard, name)) {
            ("__value.raw", "percentencode", _) => NAME,
            ("__from" | "__to", "date:iso", _) => TIME,
            ("__url_time_range", "", _) => "from=now-1h&to=now",
            (_, "percentencode", Some(_)) => NAME,
            (_, "raw", Some(variable)) if variable["type"] == "textbox" => text(&variable["query"]),
            (_, _, None) if !name.starts_with("__") => {
                return Err(format!("a link: the dashboard has no variable {name}"));
            }
            _ => return Err(format!("{url}: unexpected format of {name}")),
        };
        address = address + value + rest;
    }
    Ok(address)
}

/// Returns a variable of the dashboard.
pub(crate) fn variable<'a>(dashboard: &'a Value, name: &str) -> Option<&'a Value> {
    list(&dashboard["templating"]["list"]).iter().find(|variable| variable["name"] == name)
}
