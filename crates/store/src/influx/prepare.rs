//! Makes sure that the database or bucket is there, with its retention, when it may.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tracing::info;

use super::client::{Client, InfluxVersion};
use crate::StoreError;

/// InfluxDB keeps no retention shorter than this.
const LEAST_RETENTION: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) async fn prepare(client: &Client, version: InfluxVersion) -> Result<(), StoreError> {
    if client.settings.retention.is_some_and(|kept| kept < LEAST_RETENTION) {
        return Err(
            client.operator("the retention (store.retention) must be at least 1h: InfluxDB keeps no shorter one")
        );
    }
    match version {
        InfluxVersion::V1 => prepare_v1(client).await,
        InfluxVersion::V2 => prepare_v2(client).await,
        InfluxVersion::V3 => prepare_v3(client).await,
    }
}

/// The `error` of a query's answer, if any, and the answer.
async fn statement(client: &Client, text: &str) -> Result<Result<Value, (u16, String)>, StoreError> {
    let request = client.request(Method::POST, "/query", &[("q", text), ("epoch", "ns")]);
    let (status, body) = client.ask(request).await?;
    if matches!(status, 429 | 500..=599) {
        return Err(client.away(format!("{status} {}", body.trim()), None));
    }
    let answer: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let error = answer["error"].as_str().or_else(|| answer["results"][0]["error"].as_str());
    Ok(match error {
        Some(words) => Err((status, words.to_owned())),
        None if status == 200 => Ok(answer),
        None => Err((status, body.trim().to_owned())),
    })
}

async fn prepare_v1(client: &Client) -> Result<(), StoreError> {
    let database = &client.settings.database;
    if let Err((status, words)) = statement(client, &format!("CREATE DATABASE \"{database}\"")).await? {
        if status == 401 {
            return Err(client.operator(&format!(
                "401 {words}: set INFLUXDB_USERNAME and INFLUXDB_PASSWORD of a user that may write to '{database}'"
            )));
        }
        // Who may not create may still write, if it is there.
        let request = client.request(Method::POST, "/query", &[("q", "SHOW MEASUREMENTS LIMIT 1"), ("db", database)]);
        let (_, body) = client.ask(request).await?;
        if body.contains("database not found") {
            return Err(client.operator(&format!(
                "database '{database}' does not exist and the user may not create it ({status} {words}): create it as an administrator, or grant the right"
            )));
        }
        if body.contains("not authorized") {
            return Err(client.operator(&format!("the user has no right on database '{database}', or it does not exist: as an administrator CREATE DATABASE \"{database}\", then GRANT ALL ON \"{database}\" TO the user")));
        }
        return Ok(());
    }
    let Some(kept) = client.settings.retention else { return Ok(()) };
    let seconds = kept.as_secs();
    let policies = match statement(client, &format!("SHOW RETENTION POLICIES ON \"{database}\"")).await? {
        Ok(answer) => answer["results"][0]["series"][0]["values"].as_array().cloned().unwrap_or_default(),
        Err((status, words)) => {
            return Err(client.operator(&format!("retention of '{database}' cannot be read: {status} {words}")));
        }
    };
    let Some(policy) = policies.iter().find(|row| row[4] == true).and_then(|row| row[0].as_str()) else {
        return Err(client.operator(&format!("database '{database}' has no default retention policy")));
    };
    let alter = format!("ALTER RETENTION POLICY \"{policy}\" ON \"{database}\" DURATION {seconds}s");
    let mut altered = statement(client, &alter).await?;
    // It keeps whole shards, of seven days unless told otherwise, and none longer than the retention.
    if altered.as_ref().is_err_and(|(_, words)| words.contains("shard duration")) {
        let shard = if kept < DAY * 2 { "1h" } else { "1d" };
        altered = statement(client, &format!("{alter} SHARD DURATION {shard}")).await?;
    }
    match altered {
        Ok(_) => {
            info!(database, policy, seconds, "retention set in InfluxDB");
            Ok(())
        }
        Err((status, words)) => {
            Err(client.operator(&format!("retention of '{database}' cannot be set: {status} {words}")))
        }
    }
}

/// A request of the version 2 API, whose answers are JSON.
async fn api(
    client: &Client,
    method: Method,
    path: &str,
    parameters: &[(&str, &str)],
    body: Option<Value>,
) -> Result<(u16, Value), StoreError> {
    let mut request = client.request(method, path, parameters);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let (status, text) = client.ask(request).await?;
    match status {
        429 | 500..=599 => Err(client.away(format!("{status} {}", text.trim()), None)),
        // Version 2 says 401 to a right that is missing as well, in other words: the caller knows which.
        401 if !text.contains(" is unauthorized") => {
            Err(client.operator("401 unauthorized: set INFLUXDB_TOKEN to a token that it knows"))
        }
        _ => Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text)))),
    }
}

async fn prepare_v2(client: &Client) -> Result<(), StoreError> {
    let bucket = client.settings.database.as_str();
    let Some(org) = client.settings.org.as_deref().filter(|org| !org.is_empty()) else {
        return Err(client.operator("InfluxDB 2 wants an organization: set INFLUXDB_ORG"));
    };
    let rules = client
        .settings
        .retention
        .map_or(json!([]), |kept| json!([{ "type": "expire", "everySeconds": kept.as_secs() }]));
    let (_, found) = api(client, Method::GET, "/api/v2/buckets", &[("org", org), ("name", bucket)], None).await?;
    let found_bucket = found["buckets"].as_array().into_iter().flatten().find(|found| found["name"] == bucket).cloned();
    let (bucket_id, org_id) = match found_bucket {
        Some(found) => {
            let stored = found["retentionRules"][0]["everySeconds"].as_u64().unwrap_or(0);
            if let Some(kept) = client.settings.retention.filter(|kept| kept.as_secs() != stored) {
                let path = format!("/api/v2/buckets/{}", found["id"].as_str().unwrap_or_default());
                let (status, answer) =
                    api(client, Method::PATCH, &path, &[], Some(json!({ "retentionRules": rules }))).await?;
                if status != 200 {
                    return Err(client.operator(&format!("the retention of bucket '{bucket}' cannot be set: {status} {}: give the token the right to write buckets, or set it there", words(&answer))));
                }
                info!(bucket, seconds = kept.as_secs(), "retention set in InfluxDB");
            }
            (found["id"].clone(), found["orgID"].clone())
        }
        None => create_bucket(client, org, bucket, &rules).await?,
    };
    // Since 2.4 a bucket is its own mapping; before, and after somebody took it away, queries need one.
    let org_id_text = org_id.as_str().unwrap_or_default();
    let (status, mappings) =
        api(client, Method::GET, "/api/v2/dbrps", &[("orgID", org_id_text), ("db", bucket)], None).await?;
    if status == 200 && mappings["content"].as_array().is_some_and(Vec::is_empty) {
        let mapping = json!({ "orgID": org_id, "bucketID": bucket_id, "database": bucket, "retention_policy": "autogen", "default": true });
        let (status, answer) = api(client, Method::POST, "/api/v2/dbrps", &[], Some(mapping)).await?;
        if status != 201 {
            return Err(client.operator(&format!("InfluxQL needs a DBRP mapping for bucket '{bucket}', and it cannot be made: {status} {}: give the token the right to read the bucket and to write DBRP mappings", words(&answer))));
        }
    }
    Ok(())
}

async fn create_bucket(client: &Client, org: &str, bucket: &str, rules: &Value) -> Result<(Value, Value), StoreError> {
    let (status, orgs) = api(client, Method::GET, "/api/v2/orgs", &[("org", org)], None).await?;
    let Some(org_id) = orgs["orgs"][0]["id"].as_str() else {
        return Err(client.operator(&format!(
            "organization '{org}' is not there, or the token may not see it ({status} {}): check INFLUXDB_ORG",
            words(&orgs)
        )));
    };
    let wanted = json!({ "orgID": org_id, "name": bucket, "retentionRules": rules });
    let (status, answer) = api(client, Method::POST, "/api/v2/buckets", &[], Some(wanted)).await?;
    match status {
        201 => Ok((answer["id"].clone(), Value::String(org_id.to_owned()))),
        422 => Err(client.operator(&format!("bucket '{bucket}' exists but the token may not read it: give it the right to read and write that bucket"))),
        _ => Err(client.operator(&format!("bucket '{bucket}' does not exist or the token may not read it, and the token may not create it ({status} {}): create it and give the token the right to read and write it, or give the token the right to write buckets", words(&answer)))),
    }
}

async fn prepare_v3(client: &Client) -> Result<(), StoreError> {
    let database = &client.settings.database;
    let mut wanted = json!({ "db": database });
    if let Some(kept) = client.settings.retention {
        wanted["retention_period"] = Value::String(format!("{}s", kept.as_secs()));
    }
    let (status, answer) = api(client, Method::POST, "/api/v3/configure/database", &[], Some(wanted.clone())).await?;
    match status {
        200 | 201 | 204 => Ok(()),
        409 if client.settings.retention.is_none() => Ok(()),
        409 => match api(client, Method::PUT, "/api/v3/configure/database", &[], Some(wanted)).await? {
            (200..=204, _) => Ok(()),
            (status, answer) => Err(client.operator(&format!(
                "the retention of database '{database}' cannot be set: {status} {}",
                words(&answer)
            ))),
        },
        404 | 405 => Err(client.operator(&format!(
            "it does not know the paths of InfluxDB 3 ({status}): is INFLUXDB_VERSION right, and no proxy in between?"
        ))),
        _ => Err(client.operator(&format!("database '{database}' cannot be made: {status} {}", words(&answer)))),
    }
}

/// The server's words in an answer.
fn words(answer: &Value) -> String {
    let words = answer["message"].as_str().or_else(|| answer["error"].as_str()).or_else(|| answer.as_str());
    words.map_or_else(|| answer.to_string(), str::to_owned).trim().chars().take(300).collect()
}
