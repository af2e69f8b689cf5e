//! `spindle query`: runs one query and prints the response as a table or as JSON.

mod table;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spindle_bus::Bus;
use spindle_core::query::Query;

use crate::cli::Question;
use crate::clock;
use crate::config::Config;
use crate::data_dir::run_file;
use crate::outcome::Outcome;
use crate::output;

/// Queries the reader and prints the response. Not found or unhealthy is an outcome, not an error.
pub(crate) async fn run(config: &Config, question: Question) -> Result<Outcome> {
    // Reports invalid parameters before it connects.
    Query::body_from_words(&question.query_type, &question.params, clock::now())?;
    let mut settings = run_file::nats_settings(config)?;
    settings.connect_timeout = question.timeout;
    let bus = Bus::connect_with_notice(&settings, "spindle-query", output::message)
        .await
        .context("is the system running?")?;
    let mut response = page(&bus, config, &question, &question.params).await?;
    while let Some(params) = next_page(&question, &response) {
        append(&mut response, page(&bus, config, &question, &params).await?);
    }
    let text = if question.as_json {
        serde_json::to_string_pretty(&response)? + "\n"
    } else {
        table::render(&question.query_type, &response)
    };
    output::data(text.as_bytes())?;
    hint_at_next_page(&response);
    Ok(outcome(&question.query_type, &response))
}

async fn page(bus: &Bus, config: &Config, question: &Question, params: &[(String, String)]) -> Result<Value> {
    let body = Query::body_from_words(&question.query_type, params, clock::now())?;
    let reply = bus.request(&config.reader.subject, body.into(), question.timeout).await?;
    let response: Value = serde_json::from_slice(&reply).context("the reader's response is not JSON")?;
    if response["status"] == "error" {
        bail!("{}", response["message"].as_str().unwrap_or("the reader gave no reason"));
    }
    Ok(response)
}

/// Returns the parameters of the next page of an audit, unless the user asked for one page: its verdict needs all of
/// them. Lists are read a page at a time.
fn next_page(question: &Question, response: &Value) -> Option<Vec<(String, String)>> {
    let is_one_page = question.params.iter().any(|(name, _)| name == "limit" || name == "after");
    if question.query_type != "audit_gaps" || is_one_page {
        return None;
    }
    let next = response["next"].as_object()?;
    let mut params = question.params.clone();
    params.retain(|(name, _)| !next.contains_key(name) && name != "since_minutes");
    params.extend(next.iter().map(|(name, value)| (name.clone(), plain(value))));
    Some(params)
}

/// Appends a page to the ones before it.
fn append(response: &mut Value, page: Value) {
    for name in ["data", "summary"] {
        if let (Some(rows), Value::Array(more)) = (response[name].as_array_mut(), page[name].clone()) {
            rows.extend(more);
        }
    }
    let n_points = |of: &Value| of["basis"]["n_points"].as_u64().unwrap_or(0);
    response["basis"]["n_points"] = (n_points(response) + n_points(&page)).into();
    response["next"] = page["next"].clone();
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Prints to stderr how to get the next page, if there is one.
fn hint_at_next_page(response: &Value) {
    let Some(next) = response["next"].as_object() else { return };
    let params: Vec<_> = next.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
    output::message(&format!("there is more: query again with {}", output::safe(&params.join(" "))));
}

fn outcome(query_type: &str, response: &Value) -> Outcome {
    let data = &response["data"];
    let good = match query_type {
        "device_health" => data["health"] == "ok",
        "anomaly_temperature" => data["anomaly"] == false && !data["ratio"].is_null(),
        // An empty list of alerts is good news; that something was odd is no verdict.
        "alerts_critical" | "anomalies" => true,
        "fleet" => data["device"].as_array().is_some_and(|devices| !devices.is_empty()),
        "fleet_health" => {
            let counts = &response["summary"]["counts"];
            let n_ill = ["critical", "warning", "unknown"].iter().filter_map(|name| counts[name].as_u64()).sum::<u64>();
            n_ill == 0 && counts["ok"].as_u64().is_some_and(|n_ok| n_ok > 0)
        }
        "incidents" => response["summary"]["n_open"] == 0,
        // No gaps are good news only if there was something to miss, and all of it was audited.
        "audit_gaps" => {
            let is_whole = response["next"].is_null() && data.as_array().is_some_and(Vec::is_empty);
            let states: Vec<_> =
                response["summary"].as_array().into_iter().flatten().map(|row| &row["state"]).collect();
            is_whole
                && states.iter().any(|state| *state == "complete")
                && states.iter().all(|state| *state != "not_counted")
        }
        _ => data.as_array().is_none_or(|rows| !rows.is_empty()),
    };
    if good { Outcome::Good } else { Outcome::NotGood }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_audit_is_asked_to_its_end_unless_a_page_is_wanted() {
        let question = |query_type: &str, params: &[(&str, &str)]| Question {
            query_type: query_type.to_owned(),
            params: params.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            as_json: true,
            timeout: std::time::Duration::from_secs(1),
        };
        let next = json!({ "after": "b", "from": "2025-06-06T12:00:00Z", "until": "2025-06-06T13:00:00Z" });
        let mut response = json!({ "data": [1], "summary": [{}], "basis": { "n_points": 3 }, "next": next });
        // The window stays that of the first page, though time passes.
        let params = next_page(&question("audit_gaps", &[("since_minutes", "5")]), &response).unwrap();
        let names: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(names[0], ("after", "b"));
        assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["after", "from", "until"]);
        assert_eq!(next_page(&question("audit_gaps", &[("limit", "5")]), &response), None);
        assert_eq!(next_page(&question("devices", &[]), &response), None);
        append(&mut response, json!({ "data": [2], "summary": [{}, {}], "basis": { "n_points": 4 }, "next": null }));
        let whole = json!({ "data": [1, 2], "summary": [{}, {}, {}], "basis": { "n_points": 7 }, "next": null });
        assert_eq!(response, whole);
        assert_eq!(next_page(&question("audit_gaps", &[]), &response), None);
    }

    #[test]
    fn an_audit_is_good_only_if_numbers_were_there_and_all_was_looked_at() {
        let check =
            |response: Value, expect: Outcome| assert_eq!(outcome("audit_gaps", &response), expect, "{response}");
        let states = |states: &[&str]| states.iter().map(|state| json!({ "state": state })).collect::<Vec<_>>();
        let good = states(&["complete", "no_data", "no_numbers"]);
        check(json!({ "data": [], "summary": good, "next": null }), Outcome::Good);
        check(json!({ "data": [], "summary": good, "next": { "after": "a" } }), Outcome::NotGood);
        check(json!({ "data": [{}], "summary": states(&["gaps", "complete"]), "next": null }), Outcome::NotGood);
        for nothing in
            [states(&[]), states(&["no_data"]), states(&["no_numbers"]), states(&["complete", "not_counted"])]
        {
            check(json!({ "data": [], "summary": nothing, "next": null }), Outcome::NotGood);
        }
    }
}
