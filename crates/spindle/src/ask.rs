//! `spindle query`: one question, one answer, as a table for people or JSON for programs.

mod table;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spindle_bus::Bus;
use spindle_core::query::Query;

use crate::Outcome;
use crate::cli::Question;
use crate::clock;
use crate::config::Config;
use crate::output;
use crate::supervisor::runfile;

/// Asks the reader and prints the answer. Not found or unhealthy is an outcome, not an error.
pub(crate) async fn run(config: &Config, question: Question) -> Result<Outcome> {
    // Wrong words are said before anything is connected.
    Query::body_from_words(&question.query_type, &question.params, clock::now())?;
    let mut settings = runfile::nats_settings(config)?;
    settings.connect_timeout = question.timeout;
    let bus =
        Bus::connect_with_notice(&settings, "spindle-query", output::say).await.context("is the system running?")?;
    let mut answer = page(&bus, config, &question, &question.params).await?;
    while let Some(params) = next_page(&question, &answer) {
        join(&mut answer, page(&bus, config, &question, &params).await?);
    }
    let text = if question.as_json {
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        table::render(&question.query_type, &answer)
    };
    output::data(text.as_bytes())?;
    say_the_rest(&answer);
    Ok(outcome(&question.query_type, &answer))
}

async fn page(bus: &Bus, config: &Config, question: &Question, params: &[(String, String)]) -> Result<Value> {
    let body = Query::body_from_words(&question.query_type, params, clock::now())?;
    let reply = bus.request(&config.reader_subject, body.into(), question.timeout).await?;
    let answer: Value = serde_json::from_slice(&reply).context("the reader's answer is no JSON")?;
    if answer["status"] == "error" {
        bail!("{}", answer["message"].as_str().unwrap_or("the reader gives no reason"));
    }
    Ok(answer)
}

/// An audit is for its verdict, which only all pages give; they are asked for unless a page was. Lists are for
/// looking at, a page at a time.
fn next_page(question: &Question, answer: &Value) -> Option<Vec<(String, String)>> {
    let is_one_page = question.params.iter().any(|(name, _)| name == "limit" || name == "after");
    if question.query_type != "audit_gaps" || is_one_page {
        return None;
    }
    let next = answer["next"].as_object()?;
    let mut params = question.params.clone();
    params.retain(|(name, _)| !next.contains_key(name) && name != "since_minutes");
    params.extend(next.iter().map(|(name, value)| (name.clone(), word(value))));
    Some(params)
}

/// Puts a page behind those before it.
fn join(answer: &mut Value, page: Value) {
    for name in ["data", "summary"] {
        if let (Some(rows), Value::Array(more)) = (answer[name].as_array_mut(), page[name].clone()) {
            rows.extend(more);
        }
    }
    let n_points = |of: &Value| of["basis"]["n_points"].as_u64().unwrap_or(0);
    answer["basis"]["n_points"] = (n_points(answer) + n_points(&page)).into();
    answer["next"] = page["next"].clone();
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What does not fit is said, on stderr, with how to see it.
fn say_the_rest(answer: &Value) {
    let Some(next) = answer["next"].as_object() else { return };
    let words: Vec<_> = next.iter().map(|(name, value)| format!("{name}={}", word(value))).collect();
    output::say(&format!("there is more: ask again with {}", output::safe(&words.join(" "))));
}

fn outcome(query_type: &str, answer: &Value) -> Outcome {
    let data = &answer["data"];
    let good = match query_type {
        "device_health" => data["health"] == "ok",
        "anomaly_temperature" => data["anomaly"] == false && !data["ratio"].is_null(),
        // No alert is good news.
        "alerts_critical" => true,
        // No gap is good news only if something was there to be missed, and all of it was looked at.
        "audit_gaps" => {
            let is_whole = answer["next"].is_null() && data.as_array().is_some_and(Vec::is_empty);
            let states: Vec<_> = answer["summary"].as_array().into_iter().flatten().map(|row| &row["state"]).collect();
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
        let mut answer = json!({ "data": [1], "summary": [{}], "basis": { "n_points": 3 }, "next": next });
        // The window stays the one of the first page, though the clock goes on.
        let params = next_page(&question("audit_gaps", &[("since_minutes", "5")]), &answer).unwrap();
        let names: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(names[0], ("after", "b"));
        assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["after", "from", "until"]);
        assert_eq!(next_page(&question("audit_gaps", &[("limit", "5")]), &answer), None);
        assert_eq!(next_page(&question("devices", &[]), &answer), None);
        join(&mut answer, json!({ "data": [2], "summary": [{}, {}], "basis": { "n_points": 4 }, "next": null }));
        let whole = json!({ "data": [1, 2], "summary": [{}, {}, {}], "basis": { "n_points": 7 }, "next": null });
        assert_eq!(answer, whole);
        assert_eq!(next_page(&question("audit_gaps", &[]), &answer), None);
    }

    #[test]
    fn an_audit_is_good_only_if_numbers_were_there_and_all_was_looked_at() {
        let check = |answer: Value, expect: Outcome| assert_eq!(outcome("audit_gaps", &answer), expect, "{answer}");
        let states = |words: &[&str]| words.iter().map(|word| json!({ "state": word })).collect::<Vec<_>>();
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
