//! Reads the files under `grafana/`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("grafana")
}

pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("grafana/{path}: {error}"))
}

/// Returns every dashboard, by file name.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let mut names: Vec<String> = fs::read_dir(folder().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let parsed = |name: &String| serde_json::from_str(&text(&format!("dashboards/{name}"))).unwrap();
    names.iter().map(|name| (name.clone(), parsed(name))).collect()
}

/// Returns the alert rules: the file holds comment lines, then JSON, which is valid YAML.
pub(crate) fn alert_rules() -> Value {
    let text = text("provisioning/alerting/spindle.yaml");
    let json: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    serde_json::from_str(&json).unwrap()
}
