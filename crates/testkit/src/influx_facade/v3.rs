//! Version 3 Core: paths, tokens, databases, and responses to writes.

use serde_json::{Value, json};

use super::http::{Answer, Request, json_answer};
use super::lines::{self, Kind, Line};
use super::query::{self, FILE_NS};
use super::{Database, Generation, Shared, State};
use crate::influx::percent;

/// Limit of columns per table.
const MAX_COLUMNS: usize = 500;

pub(super) fn answer(shared: &Shared, request: &Request) -> Answer {
    if let Some(refused) = refused(shared, request) {
        return refused;
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "POST", "/ping") => {
            let version = &shared.options.release;
            json_answer(
                200,
                &json!({ "product_name": "InfluxDB 3 Core", "version": version, "revision": "0", "process_id": "0" }),
            )
        }
        ("GET", "/health") => Answer::new(200, "OK"),
        ("POST", "/query") => query::answer(shared, request),
        ("POST", "/api/v3/write_lp") => write(shared, request),
        ("POST" | "PUT" | "GET", "/api/v3/configure/database") => configure(shared, request),
        _ => Answer::new(404, "Not found"),
    }
}

/// Refuses a request without `Bearer T` or `Token T`, in exactly this form.
fn refused(shared: &Shared, request: &Request) -> Option<Answer> {
    let Some(token) = &shared.options.token else { return None };
    let unauthenticated = || {
        if shared.is_before(8) {
            return Answer::new(401, "");
        }
        json_answer(401, &json!({ "error": "the request was not authenticated" })).with("cluster-uuid", "0")
    };
    let Some(text) = request.header("authorization") else { return Some(unauthenticated()) };
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["Bearer" | "Token", given] if given == token => None,
        ["Bearer" | "Token" | "Basic", _] => Some(unauthenticated()),
        _ => Some(json_answer(
            400,
            &json!({ "error": "Authorization header was malformed, the request was not in the form of 'Authorization: <auth-scheme> <token>'" }),
        )),
    }
}

fn configure(shared: &Shared, request: &Request) -> Answer {
    let mut state = shared.state();
    if request.method == "GET" {
        let names: Vec<Value> = state.databases.keys().map(|name| json!({ "iox::database": name })).collect();
        return match request.parameter("format") {
            Some("json") => json_answer(200, &json!(names)),
            _ => Answer::new(400, "serde error: missing field `format`"),
        };
    }
    if request.header("content-type") != Some("application/json") {
        return Answer::new(415, "invalid content type");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let Some(name) = body["db"].as_str() else { return Answer::new(400, "serde json error: missing field `db`") };
    let Some(retention_s) = seconds(&body["retention_period"]) else {
        return Answer::new(400, "serde json error: invalid retention period");
    };
    let is_there = state.databases.contains_key(name);
    let done = match request.method.as_str() {
        "PUT" if is_there => shared.keep(&mut state, name, retention_s),
        "PUT" => return Answer::new(404, "the requested resource was not found"),
        _ if is_there => return Answer::new(409, "attempted to create a resource that already exists"),
        _ => match create(shared, &mut state, name, retention_s) {
            Ok(()) => Ok(()),
            Err(refused) => return *refused,
        },
    };
    match done {
        Ok(()) => Answer::new(200, ""),
        Err(error) => Answer::new(500, error.to_string()),
    }
}

fn create(shared: &Shared, state: &mut State, name: &str, retention_s: u64) -> Result<(), Box<Answer>> {
    let is_inner = |ch: char| ch.is_ascii_alphanumeric() || "-_".contains(ch);
    if !name.starts_with(|ch: char| ch.is_ascii_alphanumeric())
        || !name.split('/').all(|part| part.chars().all(is_inner))
    {
        let error = format!("invalid character in database or rp name: {name}");
        return Err(Box::new(json_answer(400, &json!({ "error": error }))));
    }
    let limit = shared.options.max_databases;
    if state.databases.len() >= limit {
        let error = format!("Adding a new database would exceed limit of {limit} databases");
        return Err(Box::new(json_answer(422, &json!({ "error": error }))));
    }
    shared.create(state, name, retention_s).map_err(|error| Box::new(Answer::new(500, error.to_string())))
}

/// Parses `30d`, `3600s`; null keeps everything.
fn seconds(period: &Value) -> Option<u64> {
    let Some(text) = period.as_str() else { return period.is_null().then_some(0) };
    let (digits, unit) = text.split_at(text.find(|ch: char| !ch.is_ascii_digit())?);
    let length = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(length)
}

/// Returns the nanoseconds of a unit; an inner `None` means to guess from the size of the number.
fn unit_ns(shared: &Shared, name: &str) -> Option<Option<i64>> {
    let is_new = !shared.is_before(6);
    Some(Some(match name {
        "auto" => return Some(None),
        "second" => 1_000_000_000,
        "millisecond" => 1_000_000,
        "microsecond" => 1_000,
        "nanosecond" => 1,
        "s" if is_new => 1_000_000_000,
        "ms" if is_new => 1_000_000,
        "us" | "u" if is_new => 1_000,
        "ns" | "n" if is_new => 1,
        _ => return None,
    }))
}

fn guessed_unit_ns(time: i64) -> i64 {
    match time.unsigned_abs() / 1_000_000_000 {
        0..5 => 1_000_000_000,
        5..5_000 => 1_000_000,
        5_000..5_000_000 => 1_000,
        _ => 1,
    }
}

fn write(shared: &Shared, request: &Request) -> Answer {
    let Some(name) = request.parameter("db") else {
        return Answer::new(400, "serde error: missing field `db`");
    };
    let precision = request.parameter("precision").unwrap_or("auto");
    let Some(unit) = unit_ns(shared, precision) else {
        return Answer::new(400, format!("serde error: unknown variant `{precision}`"));
    };
    let body = match body_of(shared, request) {
        Ok(body) => body,
        Err(refused) => return *refused,
    };
    let mut state = shared.state();
    if !state.databases.contains_key(name)
        && let Err(refused) = create(shared, &mut state, name, 0)
    {
        return *refused;
    }
    let Some(database) = state.databases.get_mut(name) else { return Answer::new(500, "no database") };
    let Taken { accepted, refused, is_limit } = take_all(database, body, unit);
    if request.parameter("accept_partial") == Some("false") && !refused.is_empty() {
        return json_answer(400, &json!({ "error": "line protocol parsing error", "data": refused[0] }));
    }
    drop(state);
    if let Err(failed) = store(shared, name, &accepted) {
        return *failed;
    }
    if refused.is_empty() {
        return Answer::new(204, "");
    }
    let body = json!({ "error": "partial write of line protocol occurred", "data": refused });
    json_answer(if is_limit { 422 } else { 400 }, &body)
}

/// Returns the body of a write, or refuses it.
fn body_of<'a>(shared: &Shared, request: &'a Request) -> Result<&'a str, Box<Answer>> {
    let is_old = shared.is_before(10);
    let refused = |status, message: String| Err(Box::new(Answer::new(if is_old { 500 } else { status }, message)));
    let limit = shared.options.max_body_bytes;
    if request.size_bytes.max(request.body.len()) > limit {
        return refused(413, format!("max request size ({limit} bytes) exceeded"));
    }
    if let Some(error) = &request.encoding_error {
        return refused(400, format!("error decoding gzip stream: {error}"));
    }
    let Ok(body) = std::str::from_utf8(&request.body) else {
        return refused(400, "body content is not valid utf8".to_owned());
    };
    if lines::lines_of(body).next().is_none() {
        return Err(Box::new(Answer::new(400, "incoming write was empty")));
    }
    Ok(body)
}

/// The lines of a write.
#[derive(Default)]
struct Taken {
    /// Lines for InfluxDB 1.
    accepted: String,
    refused: Vec<Value>,
    /// A line was refused because of the limit of columns.
    is_limit: bool,
}

fn take_all(database: &mut Database, body: &str, unit: Option<i64>) -> Taken {
    let mut taken = Taken::default();
    for (number, text) in lines::lines_of(body).enumerate() {
        let outcome = lines::parse(text, Generation::V3).and_then(|line| take(database, line, unit));
        match outcome {
            Ok(line) => taken.accepted += &line,
            Err(message) => {
                taken.is_limit |= message.starts_with("Update to schema");
                let start: String = text.chars().take(20).collect();
                let line = json!({ "error_message": message, "line_number": number + 1, "original_line": start });
                taken.refused.push(line);
            }
        }
    }
    taken
}

/// Writes the accepted lines into the InfluxDB 1 behind the facade.
fn store(shared: &Shared, name: &str, accepted: &str) -> Result<(), Box<Answer>> {
    let target = format!("/write?db={}&precision=n", percent(name));
    let detail = match shared.server.forward("POST", &target, "text/plain", accepted.as_bytes()) {
        Ok((204, _)) => return Ok(()),
        // Points older than the retention are accepted all the same, and never seen again.
        Ok((_, answer)) if String::from_utf8_lossy(&answer).contains("points beyond retention policy") => return Ok(()),
        Ok((status, answer)) => format!("{status} {}", String::from_utf8_lossy(&answer)),
        Err(error) => error.to_string(),
    };
    let message = format!("write buffer error: error from wal: error writing wal file: {detail}");
    Err(Box::new(Answer::new(500, message)))
}

/// Translates a line for InfluxDB 1, and records its columns.
fn take(database: &mut Database, line: Line<'_>, unit: Option<i64>) -> Result<String, String> {
    let table = database.columns.entry(line.table.clone()).or_default();
    for (column, kind) in &line.columns {
        match table.get(column) {
            Some(stored) if stored != kind => return Err(lines::clash(column, *stored, *kind)),
            Some(_) => {}
            None if table.len() >= MAX_COLUMNS => {
                return Err(format!(
                    "Update to schema would exceed number of columns per table limit of {MAX_COLUMNS} columns"
                ));
            }
            None => {
                table.insert(column.clone(), *kind);
            }
        }
    }
    let Some(time) = line.time else { return Ok(format!("{}\n", line.content)) };
    let unit = unit.unwrap_or_else(|| guessed_unit_ns(time));
    let time = time.checked_mul(unit).ok_or("Overflow")?;
    database.files.insert(time.div_euclid(FILE_NS));
    // InfluxDB 1 lacks unsigned integers.
    let is_storable = !line.columns.iter().any(|(_, kind)| *kind == Kind::Unsigned);
    if !is_storable {
        return Err("the InfluxDB 1 behind this facade stores no unsigned integers".to_owned());
    }
    Ok(format!("{} {time}\n", line.content))
}
