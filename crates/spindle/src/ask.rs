//! `spindle query`: one question, one answer, as a table for people or JSON for programs.

mod table;

use std::io::Write;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spindle_bus::Bus;
use spindle_core::query::Query;

use crate::Outcome;
use crate::cli::Question;
use crate::clock;
use crate::config::Config;
use crate::supervisor::runfile;

/// Asks the reader and prints the answer. Not found or unhealthy is an outcome, not an error.
pub(crate) async fn run(config: &Config, question: Question) -> Result<Outcome> {
    let body = Query::body_from_words(&question.query_type, &question.params, clock::now())?;
    let mut settings = runfile::nats_settings(config)?;
    settings.patience = question.timeout;
    let bus = Bus::connect(&settings, "spindle-query").await.context("is the system running?")?;
    let reply = bus.request(&config.reader_subject, body.into(), question.timeout).await?;
    let answer: Value = serde_json::from_slice(&reply).context("the reader's answer is no JSON")?;
    if answer["status"] == "error" {
        bail!("{}", answer["message"].as_str().unwrap_or("the reader gives no reason"));
    }
    let text = if question.as_json {
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        table::render(&question.query_type, &answer)
    };
    // A reader that went away (`| head`) is no fault.
    let _ = std::io::stdout().write_all(text.as_bytes());
    say_the_rest(&answer);
    Ok(outcome(&question.query_type, &answer))
}

/// What does not fit is said, on stderr, with how to see it.
fn say_the_rest(answer: &Value) {
    let Some(next) = answer["next"].as_object() else { return };
    let words: Vec<_> = next
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let _ = writeln!(std::io::stderr(), "there is more: ask again with {}", words.join(" "));
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
