//! `/query`: runs InfluxQL on the InfluxDB behind the facade, and translates its response into that of versions 2 and 3.

use serde_json::{Value, json};

use super::http::{Answer, Request, decode_form, error, json_answer};
use super::{Generation, Right, Shared};
use crate::influx::percent;

/// Time span of one file of version 3.
pub(super) const FILE_NS: i64 = 600_000_000_000;
/// Size of a chunk, which may end between or inside documents.
const CHUNK_BYTES: usize = 4096;

/// Statements that version 3 lacks: it supports only SELECT and five kinds of SHOW.
const NOT_IN_V3: [&str; 9] =
    ["CREATE ", "ALTER ", "DROP ", "DELETE ", "SHOW SERIES", "SHOW STATS", " SLIMIT ", " SOFFSET ", " INTO "];
/// Statements that version 2 lacks: its databases are managed elsewhere.
const NOT_IN_V2: [&str; 4] = ["CREATE ", "ALTER ", "SHOW STATS", "GRANT "];

pub(super) fn answer(shared: &Shared, request: &Request) -> Answer {
    let content_type = request.header("content-type").unwrap_or_default();
    let is_form = content_type.starts_with("application/x-www-form-urlencoded");
    let mut form = request.query.clone();
    if is_form {
        form.extend(decode_form(&request.text()));
    }
    let parameter = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let accept = request.header("accept").unwrap_or("*/*");
    if shared.generation == Generation::V3 && !["application/json", "*/*"].contains(&accept) {
        return json_answer(400, &json!({ "error": format!("invalid mime type ({accept})") }));
    }
    if shared.generation == Generation::V2 && request.method == "POST" && content_type.is_empty() {
        return error(400, "invalid", "mime: no media type");
    }
    let (text, database, epoch) = (parameter("q"), parameter("db"), parameter("epoch"));
    if text.is_empty() {
        return json_answer(400, &json!({ "error": "missing required parameter \"q\"" }));
    }
    let is_epoch_known = ["", "ns", "u", "ms", "s", "m", "h"].contains(&epoch);
    if shared.generation == Generation::V3 && !is_epoch_known {
        return json_answer(400, &json!({ "error": format!("invalid epoch: {epoch}") }));
    }
    if let Some(refused) = refused(shared, text, database) {
        return refused;
    }
    let target = format!(
        "/query?db={}&epoch={}&chunked={}&chunk_size={}",
        percent(database),
        percent(epoch),
        percent(parameter("chunked")),
        percent(parameter("chunk_size"))
    );
    let form = format!("q={}", percent(text));
    match shared.server.forward("POST", &target, "application/x-www-form-urlencoded", form.as_bytes()) {
        Ok((status, body)) => translate(shared, status, &body),
        Err(_) => Answer::new(500, "query error: the engine is closed"),
    }
}

/// Refuses statements that InfluxDB 1 would answer, but not this version.
fn refused(shared: &Shared, text: &str, name: &str) -> Option<Answer> {
    let upper = format!("{} ", without_strings(text).to_uppercase());
    let unsupported = |list: &[&'static str]| list.iter().copied().find(|text| upper.contains(*text)).map(str::trim);
    let state = shared.state();
    let database = state.databases.get(name);
    match shared.generation {
        // It has statements of its own.
        Generation::OpenGemini => None,
        Generation::V2 => {
            if let Some(statement) = unsupported(&NOT_IN_V2) {
                return Some(failed(&format!("not implemented: {statement}")));
            }
            let is_found = database.is_some_and(|found| found.is_mapped) && !state.lacks.contains(&Right::ReadBucket);
            (!is_found).then(|| failed(&format!("database not found: {name}")))
        }
        Generation::V3 => {
            if let Some(statement) = unsupported(&NOT_IN_V3) {
                return Some(failed(&format!("This feature is not implemented: {statement}")));
            }
            let Some(database) = database else {
                return Some(if shared.is_before(7) {
                    json_answer(404, &json!({ "error": format!("query error: database not found: {name}") }))
                } else {
                    failed(&format!("Cannot retrieve database: External error: database not found: {name}"))
                });
            };
            let bound = |sign: &str| text.split(sign).nth(1)?.trim().split([' ', ')']).next()?.parse::<i64>().ok();
            let from = bound("time >=").unwrap_or(i64::MIN).div_euclid(FILE_NS);
            let until = bound("time <=").unwrap_or(i64::MAX).div_euclid(FILE_NS);
            let n_files = database.files.range(from..=until.max(from)).count();
            (n_files > shared.options.max_files).then(|| {
                let message = format!("External error: Query would scan {n_files} Parquet files, exceeding the file limit. InfluxDB 3 Core caps file access to prevent performance degradation and memory issues. Use a narrower time range, or increase the limit with --query-file-limit (this may cause slower queries or instability).");
                if shared.is_before(7) { Answer::new(500, message) } else { failed(&message) }
            })
        }
    }
}

/// Removes quoted text, in which nothing is a keyword.
fn without_strings(text: &str) -> String {
    let (mut quote, mut is_escaped) = (None, false);
    let mut keep = |ch: char| {
        let was_quoted = quote.is_some();
        match quote {
            _ if is_escaped => is_escaped = false,
            Some(_) if ch == '\\' => is_escaped = true,
            Some(open) if open == ch => quote = None,
            None if ch == '\'' || ch == '"' => quote = Some(ch),
            _ => {}
        }
        !was_quoted
    };
    text.chars().filter(|ch| keep(*ch)).collect()
}

fn translate(shared: &Shared, status: u16, body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body);
    match shared.generation {
        Generation::V2 if status == 400 => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let message =
                body["error"].as_str().unwrap_or_default().replace("error parsing query", "failed to parse query");
            error(400, "invalid", &message)
        }
        Generation::V3 if status == 400 && shared.is_before(7) => Answer::new(500, text.into_owned()),
        Generation::V3 if status == 400 => {
            failed(&format!("error in InfluxQL statement: parsing error: {}", text.trim()))
        }
        Generation::V3 if text.starts_with("json: ") => {
            json_answer(200, &json!({ "error": "json: unsupported value: +Inf" }))
        }
        // One document per line here. Version 3 puts nothing in between; its first releases CR LF, and they lack `partial`.
        Generation::V3 if shared.is_before(7) => {
            documents(status, text.replace(",\"partial\":true", "").replace('\n', "\r\n").into_bytes())
        }
        Generation::V3 => documents(status, text.replace('\n', "").into_bytes()),
        Generation::V2 | Generation::OpenGemini => documents(status, body.to_vec()),
    }
}

pub(super) fn documents(status: u16, body: Vec<u8>) -> Answer {
    Answer { chunk_bytes: Some(CHUNK_BYTES), ..Answer::new(status, body).with("Content-Type", "application/json") }
}

/// Response to a failed statement: still a 200.
pub(super) fn failed(message: &str) -> Answer {
    json_answer(200, &json!({ "results": [{ "statement_id": 0, "error": message }] }))
}
