//! Version 2.7: paths, tokens, buckets, mappings, and responses to writes.

use serde_json::{Value, json};

use super::http::{Answer, Request, error, json_answer};
use super::query;
use super::{Generation, InfluxFacade, Right, Shared, State, lines};
use crate::influx::percent;

const ORG_ID: &str = "00000000000000a1";

pub(super) fn answer(shared: &Shared, request: &Request) -> Answer {
    match request.path.as_str() {
        "/ping" => return Answer::new(204, ""),
        "/health" => {
            let version = &shared.options.release;
            return json_answer(
                200,
                &json!({ "name": "influxdb", "message": "ready for queries and writes", "status": "pass", "checks": [], "version": version, "commit": "0" }),
            );
        }
        "/api/v2/setup" => return json_answer(200, &json!({ "allowed": false })),
        _ => {}
    }
    if !is_known(shared, request) {
        return error(401, "unauthorized", "unauthorized access");
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/query") => query::answer(shared, request),
        ("POST", "/api/v2/write") => write(shared, request),
        ("GET", "/api/v2/orgs") => orgs(shared, request),
        ("GET", "/api/v2/buckets") => buckets(shared, request),
        ("POST", "/api/v2/buckets") => create_bucket(shared, request),
        ("PATCH", path) if path.starts_with("/api/v2/buckets/") => keep_bucket(shared, request),
        ("GET", "/api/v2/dbrps") => mappings(shared, request),
        ("POST", "/api/v2/dbrps") => create_mapping(shared, request),
        _ => error(404, "not found", "path not found"),
    }
}

/// Accepts `Token T` in any case, and `Bearer T` except for InfluxQL.
fn is_known(shared: &Shared, request: &Request) -> bool {
    let Some((scheme, token)) = request.header("authorization").and_then(|text| text.split_once(' ')) else {
        return false;
    };
    let is_scheme = scheme.eq_ignore_ascii_case("token")
        || (scheme.eq_ignore_ascii_case("bearer") && request.path.starts_with("/api/"));
    is_scheme && Some(token) == shared.options.token.as_deref()
}

/// Response to a missing permission: a 401, whose message differs from that for a wrong token; only writes get a 403.
fn unauthorized(permission: &str) -> Answer {
    error(401, "unauthorized", &format!("{permission} is unauthorized"))
}

fn org_not_found(org: &str) -> Answer {
    error(404, "not found", &format!("organization name \"{org}\" not found"))
}

fn is_org(name: &str) -> bool {
    name == InfluxFacade::ORG || name == ORG_ID
}

fn internal(message: &str) -> Answer {
    error(500, "internal error", &format!("unexpected error writing points to database: {message}"))
}

fn orgs(shared: &Shared, request: &Request) -> Answer {
    let asked = request.parameter("org");
    if let Some(org) = asked.filter(|org| *org != InfluxFacade::ORG) {
        return org_not_found(org);
    }
    let orgs = match shared.state().lacks.contains(&Right::ReadOrg) {
        true => json!([]),
        false => json!([{ "id": ORG_ID, "name": InfluxFacade::ORG }]),
    };
    json_answer(200, &json!({ "orgs": orgs }))
}

fn bucket_json(state: &State, name: &str) -> Option<Value> {
    let found = state.databases.get(name)?;
    let rules = match found.retention_s {
        0 => json!([]),
        seconds => json!([{ "type": "expire", "everySeconds": seconds, "shardGroupDurationSeconds": 86_400 }]),
    };
    Some(json!({ "id": found.id, "orgID": ORG_ID, "type": "user", "name": name, "retentionRules": rules }))
}

/// Lists buckets. System buckets are listed for every token that may read the organization, whatever the name.
fn buckets(shared: &Shared, request: &Request) -> Answer {
    if let Some(org) = request.parameter("org").filter(|org| !is_org(org)) {
        return org_not_found(org);
    }
    let state = shared.state();
    let mut found = Vec::new();
    if !state.lacks.contains(&Right::ReadBucket) {
        let names = state.databases.keys();
        let asked = request.parameter("name");
        found.extend(
            names.filter(|name| asked.is_none_or(|asked| asked == *name)).filter_map(|name| bucket_json(&state, name)),
        );
    }
    if !state.lacks.contains(&Right::ReadOrg) {
        for (id, name) in [("000000000000000a", "_tasks"), ("000000000000000b", "_monitoring")] {
            let rules = json!([{ "type": "expire", "everySeconds": 604_800 }]);
            found.push(json!({ "id": id, "orgID": ORG_ID, "type": "system", "name": name, "retentionRules": rules }));
        }
    }
    json_answer(200, &json!({ "buckets": found }))
}

fn seconds(body: &Value) -> u64 {
    body["retentionRules"][0]["everySeconds"].as_u64().unwrap_or(0)
}

fn create_bucket(shared: &Shared, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let name = body["name"].as_str().unwrap_or_default();
    if body["orgID"] != ORG_ID || name.is_empty() {
        return error(400, "invalid", "organization id and name must be provided");
    }
    let mut state = shared.state();
    if state.lacks.contains(&Right::CreateBuckets) {
        return unauthorized(&format!("write:orgs/{ORG_ID}/buckets"));
    }
    if state.databases.contains_key(name) {
        return error(422, "conflict", &format!("bucket with name {name} already exists"));
    }
    if let Err(failure) = shared.create(&mut state, name, seconds(&body)) {
        return error(500, "internal error", &failure.to_string());
    }
    json_answer(201, &bucket_json(&state, name).unwrap_or_default())
}

fn keep_bucket(shared: &Shared, request: &Request) -> Answer {
    let id = request.path.rsplit('/').next().unwrap_or_default();
    let mut state = shared.state();
    let Some(name) = state.databases.iter().find(|(_, found)| found.id == id).map(|(name, _)| name.clone()) else {
        return error(404, "not found", "bucket not found");
    };
    if state.lacks.contains(&Right::WriteBucket) {
        return unauthorized(&format!("write:orgs/{ORG_ID}/buckets/{id}"));
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if let Err(failure) = shared.keep(&mut state, &name, seconds(&body)) {
        return error(500, "internal error", &failure.to_string());
    }
    json_answer(200, &bucket_json(&state, &name).unwrap_or_default())
}

/// Lists mappings; those of buckets that the token may not read are hidden.
fn mappings(shared: &Shared, request: &Request) -> Answer {
    if request.parameter("orgID") != Some(ORG_ID) {
        return error(400, "invalid", "Please provide either orgID or org");
    }
    let state = shared.state();
    let is_readable = !state.lacks.contains(&Right::ReadBucket);
    let asked = request.parameter("db");
    let found = state
        .databases
        .iter()
        .filter(|(name, found)| is_readable && found.is_mapped && asked.is_none_or(|asked| asked == name.as_str()));
    let content: Vec<Value> = found.map(|(name, found)| {
        json!({ "id": found.id, "database": name, "retention_policy": "autogen", "default": true, "virtual": shared.options.maps_buckets, "orgID": ORG_ID, "bucketID": found.id })
    }).collect();
    json_answer(200, &json!({ "content": content }))
}

fn create_mapping(shared: &Shared, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut state = shared.state();
    let is_refused = state.lacks.contains(&Right::WriteBucket);
    // A mapping under another name would need a separate table here; nothing needs one.
    let found =
        state.databases.iter_mut().find(|(name, found)| found.id == body["bucketID"] && **name == body["database"]);
    match found {
        Some((_, found)) if is_refused => unauthorized(&format!("write:orgs/{ORG_ID}/buckets/{}", found.id)),
        Some((_, found)) if body["default"] == true && body["orgID"] == ORG_ID => {
            found.is_mapped = true;
            json_answer(201, &body)
        }
        _ => error(400, "invalid", "invalid mapping"),
    }
}

fn write(shared: &Shared, request: &Request) -> Answer {
    let Some(org) = request.parameter("org").or_else(|| request.parameter("orgID")).filter(|org| !org.is_empty())
    else {
        return error(400, "invalid", "Please provide either orgID or org");
    };
    if !is_org(org) {
        return org_not_found(org);
    }
    let bucket = request.parameter("bucket").unwrap_or_default();
    {
        let state = shared.state();
        if !state.databases.contains_key(bucket) {
            return error(404, "not found", &format!("bucket \"{bucket}\" not found"));
        }
        if state.lacks.contains(&Right::WriteBucket) {
            return error(403, "forbidden", "insufficient permissions for write");
        }
    }
    let precision = match request.parameter("precision").unwrap_or("ns") {
        "us" => "u",
        known @ ("ns" | "ms" | "s") => known,
        _ => return error(400, "invalid", "invalid precision; valid precision units are ns, us, ms, and s"),
    };
    if request.size_bytes.max(request.body.len()) > shared.options.max_body_bytes {
        return error(413, "request too large", "request too large");
    }
    if request.encoding_error.is_some() {
        return error(500, "internal error", "An internal error has occurred - check server logs");
    }
    // One invalid line refuses all of them.
    let body = request.text();
    let refused: Vec<String> = lines::lines_of(&body)
        .filter_map(|line| Some(format!("unable to parse '{line}': {}", lines::parse(line, Generation::V2).err()?)))
        .collect();
    if !refused.is_empty() {
        return error(400, "invalid", &refused.join("\n"));
    }
    let target = format!("/write?db={}&precision={precision}", percent(bucket));
    let Ok((status, answer)) = shared.server.forward("POST", &target, "text/plain", body.as_bytes()) else {
        return internal("engine is closed");
    };
    let error_body: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let message = error_body["error"].as_str().unwrap_or_default();
    match status {
        204 => Answer::new(204, ""),
        400 if message.starts_with("partial write: unable to parse") => error(400, "invalid", message),
        400 if message.starts_with("partial write: ") => {
            error(422, "unprocessable entity", &format!("failure writing points to database: {message}"))
        }
        400 if message.starts_with("unable to parse") => error(400, "invalid", message),
        _ => internal(message),
    }
}
