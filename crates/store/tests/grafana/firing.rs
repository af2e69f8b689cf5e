//! Evaluates alert rules as Grafana does: queries, reductions to the last value, a threshold or a formula.

use std::collections::BTreeMap;

use serde_json::Value;
use spindle_testkit::InfluxServer;

use crate::json::{list, text};

/// Values by the tags of their series, such as `instance=writer-1`; the empty text without tags.
type Values = BTreeMap<String, f64>;

/// Returns the series for which the rule fires; `None` without data, when its `noDataState` decides.
pub(crate) fn firing(rule: &Value, server: &InfluxServer, database: &str) -> Option<Vec<String>> {
    let mut known: BTreeMap<&str, Values> = BTreeMap::new();
    for step in list(&rule["data"]) {
        let model = &step["model"];
        let of = text(&model["expression"]);
        let values = match text(&model["type"]) {
            "reduce" => {
                assert_eq!(model["reducer"], "last", "no other reducer is supported here");
                known[of].clone()
            }
            "threshold" => {
                let evaluator = &model["conditions"][0]["evaluator"];
                let limit = evaluator["params"][0].as_f64().unwrap();
                let holds = |value: f64| holds(value, text(&evaluator["type"]), limit);
                known[of].iter().map(|(series, value)| (series.clone(), f64::from(holds(*value)))).collect()
            }
            "math" => formula(of, &known),
            "" => last_values(&server.query(database, text(&model["query"])).unwrap()),
            other => panic!("a step of the type {other:?} is not supported here"),
        };
        known.insert(text(&step["refId"]), values);
    }
    let condition = &known[text(&rule["condition"])];
    let fires = condition.iter().filter(|(_, value)| **value != 0.0).map(|(series, _)| series.clone());
    (!condition.is_empty()).then(|| fires.collect())
}

/// Evaluates `reduce` with `last` and `dropNN`: the newest value that is a number.
fn last_values(answer: &Value) -> Values {
    let mut values = Values::new();
    for series in list(&answer["results"][0]["series"]) {
        let tags = series["tags"].as_object().into_iter().flatten();
        let name: Vec<String> = tags.map(|(key, value)| format!("{key}={}", text(value))).collect();
        let newest = list(&series["values"]).iter().rev().find_map(|row| row[1].as_f64());
        values.extend(newest.map(|value| (name.join(" "), value)));
    }
    values
}

fn holds(value: f64, comparison: &str, limit: f64) -> bool {
    match comparison {
        "gt" | ">" => value > limit,
        "lt" | "<" => value < limit,
        "==" => value == limit,
        other => panic!("the comparison {other:?} is not supported here"),
    }
}

/// Evaluates `($A > 0 && $B == 0) || (…)` for each series that all of its steps have.
fn formula(text: &str, known: &BTreeMap<&str, Values>) -> Values {
    let comparison = |text: &str| {
        let parts: Vec<&str> = text.trim().trim_matches(['(', ')']).split(' ').collect();
        let [step, sign, limit] = parts[..] else { panic!("{parts:?} is not a comparison") };
        (step[1..].to_owned(), sign.to_owned(), limit.parse::<f64>().unwrap())
    };
    let either: Vec<Vec<_>> = text.split("||").map(|all| all.split("&&").map(comparison).collect()).collect();
    let steps: Vec<&Values> = either.iter().flatten().map(|(step, ..)| &known[step.as_str()]).collect();
    let in_all = |series: &&String| steps.iter().all(|values| values.contains_key(*series));
    let is_met = |series: &String| {
        let met = |(step, sign, limit): &(String, String, f64)| holds(known[step.as_str()][series], sign, *limit);
        either.iter().any(|all| all.iter().all(met))
    };
    steps[0].keys().filter(in_all).map(|series| (series.clone(), f64::from(is_met(series)))).collect()
}
