//! openGemini 1.5: the paths of version 1 with statements, messages and delays of its own.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::http::{Answer, Request, decode_form, json_answer};
use super::lines::{self, Kind};
use super::{Database, Generation, Shared, State, WEEK_S, lag, query};
use crate::influx::percent;

pub(super) fn answer(shared: &Shared, request: &Request) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/ping") => Answer::new(204, ""),
        ("GET", "/debug/vars") => {
            json_answer(200, &json!({ "perfstat": { "name": "perfstat", "tags": {}, "values": {} } }))
        }
        ("GET" | "POST", "/query") => statement(shared, request),
        ("POST", "/write") => write(shared, request),
        _ => Answer::new(404, "404 page not found\n"),
    }
}

fn error(status: u16, message: &str) -> Answer {
    json_answer(status, &json!({ "error": message })).with("X-Influxdb-Error", message)
}

fn done(rows: Option<Value>) -> Answer {
    let mut result = json!({ "statement_id": 0 });
    if let Some(rows) = rows {
        result["series"] = json!([rows]);
    }
    json_answer(200, &json!({ "results": [result] }))
}

fn statement(shared: &Shared, request: &Request) -> Answer {
    let mut form = request.query.clone();
    form.extend(decode_form(&request.text()));
    let parameter = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let (text, database) = (parameter("q"), parameter("db"));
    let upper = text.to_uppercase();
    if let Err(failure) = lag::show(shared, Some(Instant::now())) {
        return error(500, &failure.to_string());
    }
    let named = text.split('"').nth(if upper.starts_with("ALTER ") { 3 } else { 1 }).unwrap_or_default();
    let mut state = shared.state();
    if upper.starts_with("CREATE DATABASE ") {
        return create(shared, &mut state, named, number_after(&upper, "REPLICATION "));
    }
    if upper.starts_with("SHOW DATABASES") {
        let names: Vec<Value> = state.databases.keys().map(|name| json!([name])).collect();
        return done(Some(json!({ "name": "databases", "columns": ["name"], "values": names })));
    }
    let of = if upper.contains("RETENTION POLIC") { named } else { database };
    let Some(found) = state.databases.get(of) else { return query::failed(&format!("database not found: {of}")) };
    if upper.starts_with("SHOW RETENTION POLICIES ") {
        return done(Some(policies(found)));
    }
    if upper.starts_with("ALTER RETENTION POLICY ") {
        return alter(&mut state, named, &upper);
    }
    let measurement = upper.find(" FROM ").map(|at| text[at + 6..].split([' ', ';']).next().unwrap_or_default());
    if measurement.is_some_and(|name| !found.columns.contains_key(name.trim_matches('"'))) {
        return query::failed("measurement not found");
    }
    drop(state);
    let target = format!(
        "/query?db={}&epoch={}&chunked={}&chunk_size={}",
        percent(database),
        percent(parameter("epoch")),
        percent(parameter("chunked")),
        percent(parameter("chunk_size"))
    );
    let form = format!("q={}", percent(text));
    match shared.server.forward("POST", &target, "application/x-www-form-urlencoded", form.as_bytes()) {
        Ok((status, body)) => query::documents(status, body),
        Err(_) => error(500, "no connections available, node: 2"),
    }
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = &text[text.find(word)? + word.len()..];
    rest.split(|ch: char| !ch.is_ascii_digit()).next()?.parse().ok()
}

/// The first names a database with copies; a second one fails if anything was changed since.
fn create(shared: &Shared, state: &mut State, name: &str, copies: Option<u64>) -> Answer {
    if let Some(found) = state.databases.get(name) {
        let is_same = found.retention_s == 0 && found.shard_s == WEEK_S && copies == Some(found.n_copies);
        return match copies {
            Some(_) if !is_same => query::failed("retention policy conflicts with an existing policy"),
            _ => done(None),
        };
    }
    if let Err(failure) = shared.create(state, name, 0) {
        return error(500, &failure.to_string());
    }
    if let Some(database) = state.databases.get_mut(name) {
        database.n_copies = copies.unwrap_or(1);
    }
    done(None)
}

fn policies(found: &Database) -> Value {
    let text = |seconds: u64| format!("{}h{}m{}s", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    json!({
        "columns": ["name", "duration", "shardGroupDuration", "hot duration", "warm duration", "index duration", "replicaN", "default"],
        "values": [["autogen", text(found.retention_s), text(found.shard_s), "0s", "0s", "168h0m0s", found.n_copies, true]]
    })
}

fn alter(state: &mut State, name: &str, upper: &str) -> Answer {
    let Some(found) = state.databases.get_mut(name) else { return query::failed("database not found") };
    let (plain, shard) = upper.split_once(" SHARD ").map_or((upper, None), |(plain, shard)| (plain, Some(shard)));
    let seconds = |text: &str| {
        let length = number_after(text, "DURATION ")?;
        let unit = text.rsplit(|ch: char| ch.is_ascii_digit()).next().unwrap_or_default().trim();
        Some(
            length
                * match unit {
                    "H" => 3_600,
                    "D" => 86_400,
                    _ => 1,
                },
        )
    };
    let retention_s = seconds(plain).unwrap_or(found.retention_s);
    let shard_s = shard.and_then(seconds).unwrap_or(found.shard_s);
    if retention_s != 0 && retention_s < shard_s {
        return query::failed("retention policy duration must be greater than the shard duration");
    }
    (found.retention_s, found.shard_s) = (retention_s, shard_s);
    done(None)
}

/// Accepts each line that it can store; the response names the last reason.
fn write(shared: &Shared, request: &Request) -> Answer {
    let name = request.parameter("db").unwrap_or_default();
    let mut state = shared.state();
    if !state.databases.contains_key(name) {
        return error(404, &format!("database not found: {name:?}"));
    }
    let body = request.text();
    let lines: Vec<&str> = lines::lines_of(&body).filter(|line| !has_empty_field(line)).collect();
    let mut parsed = Vec::new();
    for line in &lines {
        match lines::parse(line, Generation::OpenGemini) {
            Ok(of) => parsed.push(of),
            Err(reason) if reason == "bad timestamp" => {
                let time = line.rsplit(' ').next().unwrap_or_default();
                return error(400, &format!("cannot parse timestamp {time:?}: bad timestamp"));
            }
            Err(reason) => return error(400, &format!("cannot parse field value for \"v\": {reason}")),
        }
    }
    let mut partial = None;
    let mut n_dropped = 0;
    for line in parsed {
        match take(&mut state, name, &line) {
            Ok(()) => {
                let series = lines::split(line.content, ' ').map_or(line.content, |(series, _)| series);
                let text = format!("{} {}", line.content, line.time.unwrap_or_else(now_ns));
                lag::hide(shared, &mut state, name, series, text);
            }
            Err(reason) => {
                n_dropped += 1;
                partial = Some(reason);
            }
        }
    }
    match partial {
        Some(reason) => error(400, &format!("partial write: {reason} dropped={n_dropped}")),
        None => Answer::new(204, ""),
    }
}

/// A field without a value makes openGemini lose the line in silence.
fn has_empty_field(line: &str) -> bool {
    let Some((_, rest)) = lines::split(line, ' ') else { return false };
    let fields = lines::split(rest, ' ').map_or(rest, |(fields, _)| fields);
    lines::split_all(fields, ',').iter().any(|field| field.ends_with('='))
}

/// Records the types of a line's fields, or refuses it.
fn take(state: &mut State, name: &str, line: &lines::Line<'_>) -> Result<(), String> {
    let time = line.time.unwrap_or_else(now_ns);
    if !(i64::MIN + 2..i64::MAX).contains(&time) {
        return Err(format!("time outside range {} - {}", i64::MIN + 2, i64::MAX - 1));
    }
    let Some(database) = state.databases.get_mut(name) else { return Err("database not found".to_owned()) };
    let retention_ns = i128::from(database.retention_s) * 1_000_000_000;
    if retention_ns > 0 && i128::from(time) < i128::from(now_ns()) - retention_ns {
        return Err("point time is expired, compared with rp duration".to_owned());
    }
    let table = database.columns.entry(line.table.clone()).or_default();
    for (column, kind) in &line.columns {
        let stored = *table.entry(column.clone()).or_insert(*kind);
        if stored != *kind {
            let (came, stored) = (kind_name(*kind), kind_name(stored));
            return Err(format!(
                "field type conflict: input field \"{column}\" on measurement \"{}\" is type {came}, already exists as type {stored}",
                line.table
            ));
        }
    }
    Ok(())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tag => "tag",
        Kind::Float => "float",
        Kind::Integer | Kind::Unsigned => "integer",
        Kind::Text => "string",
        Kind::Boolean => "boolean",
    }
}

fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
