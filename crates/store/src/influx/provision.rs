//! Provisioning: creates the database or bucket and sets its retention, as far as the credentials permit.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tracing::info;

use super::client::{InfluxClient, REPLICATION_ELSEWHERE};
use super::settings::InfluxVersion;
use super::write_outcome::{NOT_INFLUXDB, brief};
use crate::StoreError;

/// Shortest retention that InfluxDB supports.
const MIN_RETENTION: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) async fn provision(client: &InfluxClient, version: InfluxVersion) -> Result<(), StoreError> {
    if client.settings.retention.is_some_and(|retention| retention < MIN_RETENTION) {
        return Err(client.misconfigured(
            "the retention (store.retention) must be at least 1h, the shortest that InfluxDB supports",
        ));
    }
    if client.settings.replication.is_some() && version != InfluxVersion::OpenGemini {
        return Err(client.misconfigured(REPLICATION_ELSEWHERE));
    }
    match version {
        InfluxVersion::V1 => provision_v1(client).await,
        InfluxVersion::OpenGemini => provision_open_gemini(client).await,
        InfluxVersion::V2 => provision_v2(client).await,
        InfluxVersion::V3 => provision_v3(client).await,
    }
}

/// Runs a statement of InfluxQL. Returns the response, or status and message of the server's error.
async fn statement(client: &InfluxClient, text: &str) -> Result<Result<Value, (u16, String)>, StoreError> {
    statement_on(client, None, text).await
}

async fn statement_on(
    client: &InfluxClient,
    database: Option<&str>,
    text: &str,
) -> Result<Result<Value, (u16, String)>, StoreError> {
    let mut parameters = vec![("q", text), ("epoch", "ns")];
    parameters.extend(database.map(|database| ("db", database)));
    let request = client.request(Method::POST, "/query", &parameters);
    let (status, body) = client.fetch(request).await?;
    if matches!(status, 429 | 500..=599) {
        return Err(client.unavailable(format!("{status} {}", brief(&body)), None));
    }
    let response: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let error = response["error"].as_str().or_else(|| response["results"][0]["error"].as_str());
    match error {
        Some(message) => Ok(Err((status, brief(message)))),
        None if status == 200 && response["results"].is_array() => Ok(Ok(response)),
        None => Err(client.misconfigured(&format!("{status} '{}' to a statement: {NOT_INFLUXDB}", brief(&body)))),
    }
}

async fn provision_v1(client: &InfluxClient) -> Result<(), StoreError> {
    let database = &client.settings.database;
    if let Err((status, message)) = statement(client, &format!("CREATE DATABASE \"{database}\"")).await? {
        return check_v1(client, status, &message).await;
    }
    match client.settings.retention {
        Some(retention) => set_retention_v1(client, retention).await,
        None => Ok(()),
    }
}

/// Checks an existing database after CREATE DATABASE failed: a user without that right may still write.
async fn check_v1(client: &InfluxClient, status: u16, message: &str) -> Result<(), StoreError> {
    let database = &client.settings.database;
    if status == 401 {
        return Err(client.misconfigured(&format!(
            "401 {message}: set INFLUXDB_USERNAME and INFLUXDB_PASSWORD of a user with write access to '{database}'"
        )));
    }
    let found = statement_on(client, Some(database), "SHOW MEASUREMENTS LIMIT 1").await?.err();
    let (_, found) = found.unwrap_or_default();
    if found.contains("database not found") {
        return Err(client.misconfigured(&format!(
            "database '{database}' does not exist and the user may not create it ({status} {message}): create it as an administrator, or grant the right"
        )));
    }
    if found.contains("not authorized") {
        return Err(client.misconfigured(&format!("the user has no right on database '{database}', or it does not exist: as an administrator, CREATE DATABASE \"{database}\", then GRANT ALL ON \"{database}\" TO the user")));
    }
    Ok(())
}

/// Default retention policy of a database.
struct RetentionPolicy {
    name: String,
    /// `24h0m0s`
    duration: String,
    n_copies: Option<u64>,
}

/// Reads the default retention policy; an inner error is the server's. The columns differ between the stores.
async fn default_policy(client: &InfluxClient) -> Result<Result<RetentionPolicy, (u16, String)>, StoreError> {
    let database = &client.settings.database;
    let response = match statement(client, &format!("SHOW RETENTION POLICIES ON \"{database}\"")).await? {
        Ok(response) => response,
        Err(refused) => return Ok(Err(refused)),
    };
    let series = &response["results"][0]["series"][0];
    let column = |name: &str| series["columns"].as_array().into_iter().flatten().position(|column| column == name);
    let cell = |row: &Value, name: &str| column(name).map_or(Value::Null, |at| row[at].clone());
    let policies = series["values"].as_array().into_iter().flatten();
    let Some(policy) = policies.into_iter().find(|row| cell(row, "default") == true) else {
        return Err(client.misconfigured(&format!("database '{database}' has no default retention policy")));
    };
    let text = |name: &str| cell(policy, name).as_str().unwrap_or_default().to_owned();
    Ok(Ok(RetentionPolicy {
        name: text("name"),
        duration: text("duration"),
        n_copies: cell(policy, "replicaN").as_u64(),
    }))
}

async fn set_retention_v1(client: &InfluxClient, retention: Duration) -> Result<(), StoreError> {
    let database = &client.settings.database;
    let seconds = retention.as_secs();
    let policy = match default_policy(client).await? {
        Ok(policy) => policy,
        Err((status, message)) => {
            return Err(client.misconfigured(&format!("cannot read the retention of '{database}': {status} {message}")));
        }
    };
    let policy = policy.name;
    let alter = format!("ALTER RETENTION POLICY \"{policy}\" ON \"{database}\" DURATION {seconds}s");
    let mut altered = statement(client, &alter).await?;
    // The server keeps whole shards, seven days by default, and accepts none longer than the retention.
    if altered.as_ref().is_err_and(|(_, message)| message.contains("shard duration")) {
        let shard = if retention < DAY * 2 { "1h" } else { "1d" };
        altered = statement(client, &format!("{alter} SHARD DURATION {shard}")).await?;
    }
    match altered {
        Ok(_) => {
            info!(database, policy, seconds, "InfluxDB retention set");
            Ok(())
        }
        Err((status, message)) => {
            Err(client.misconfigured(&format!("cannot set the retention of '{database}': {status} {message}")))
        }
    }
}

/// Creates the database if it is missing. `CREATE DATABASE` with copies fails on one whose retention was changed since,
/// so it is looked for first.
async fn provision_open_gemini(client: &InfluxClient) -> Result<(), StoreError> {
    let database = &client.settings.database;
    let copies = client.settings.replication;
    let mut found = default_policy(client).await?;
    if found.as_ref().is_err_and(|(_, message)| message.contains("database not found")) {
        let with_copies = copies.map(|copies| format!(" WITH REPLICATION {copies}")).unwrap_or_default();
        let created = statement(client, &format!("CREATE DATABASE \"{database}\"{with_copies}")).await?;
        found = default_policy(client).await?;
        // Another writer may have created it in between.
        if let (Err((status, message)), true) = (created, found.is_err()) {
            return check_v1(client, status, &message).await.and_then(|()| {
                Err(client.misconfigured(&format!("cannot create database '{database}': {status} {message}")))
            });
        }
    }
    let policy = match found {
        Ok(policy) => policy,
        Err((status, message)) => return check_v1(client, status, &message).await,
    };
    if let (Some(copies), Some(n_copies)) = (copies, policy.n_copies)
        && u64::from(copies) != n_copies
    {
        return Err(client.misconfigured(&format!(
            "database '{database}' has {n_copies} copies and INFLUXDB_REPLICATION asks for {copies}, which cannot be changed afterwards and needs ha-policy = \"replication\" in the cluster: set it to {n_copies}, or name another database in INFLUXDB_BUCKET"
        )));
    }
    match client.settings.retention {
        Some(retention) if policy.duration != duration_text(retention) => set_retention_v1(client, retention).await,
        Some(_) | None => Ok(()),
    }
}

/// Writes a duration as the server does: `24h0m0s`.
fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}h{}m{}s", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Sends a request of the version 2 or 3 API, whose responses are JSON.
async fn api(
    client: &InfluxClient,
    method: Method,
    path: &str,
    parameters: &[(&str, &str)],
    body: Option<Value>,
) -> Result<(u16, Value), StoreError> {
    let mut request = client.request(method, path, parameters);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let (status, text) = client.fetch(request).await?;
    match status {
        429 | 500..=599 => Err(client.unavailable(format!("{status} {}", brief(&text)), None)),
        // Version 2 responds 401 to a missing right as well, with another message: the caller reports which right.
        401 if !text.contains(" is unauthorized") => {
            Err(client.misconfigured(&format!("401 {}: set INFLUXDB_TOKEN to a valid token", reason(&text))))
        }
        _ => match serde_json::from_str(&text) {
            Ok(response) => Ok((status, response)),
            Err(_) if path.starts_with("/api/v2/") => Err(client.misconfigured(&format!(
                "it has none of the paths of InfluxDB 2 ({status} '{}' to {path}): check INFLUXDB_HOST and INFLUXDB_VERSION, and that no proxy is in between",
                brief(&text)
            ))),
            Err(_) => Ok((status, Value::String(text))),
        },
    }
}

async fn provision_v2(client: &InfluxClient) -> Result<(), StoreError> {
    let bucket = client.settings.database.as_str();
    let Some(org) = client.settings.org.as_deref().filter(|org| !org.is_empty()) else {
        return Err(client.misconfigured("InfluxDB 2 requires an organization: set INFLUXDB_ORG"));
    };
    let rules = client
        .settings
        .retention
        .map_or(json!([]), |retention| json!([{ "type": "expire", "everySeconds": retention.as_secs() }]));
    let (_, found) = api(client, Method::GET, "/api/v2/buckets", &[("org", org), ("name", bucket)], None).await?;
    let found_bucket = found["buckets"].as_array().into_iter().flatten().find(|found| found["name"] == bucket).cloned();
    let (bucket_id, org_id) = match found_bucket {
        Some(found) => {
            set_retention_v2(client, &found, rules).await?;
            (found["id"].clone(), found["orgID"].clone())
        }
        None => create_bucket(client, org, bucket, &rules).await?,
    };
    // Since 2.4 a bucket is its own mapping; before, and after the mapping was deleted, queries need one.
    let org_id_text = org_id.as_str().unwrap_or_default();
    let (status, mappings) =
        api(client, Method::GET, "/api/v2/dbrps", &[("orgID", org_id_text), ("db", bucket)], None).await?;
    if status == 200 && mappings["content"].as_array().is_some_and(Vec::is_empty) {
        let mapping = json!({ "orgID": org_id, "bucketID": bucket_id, "database": bucket, "retention_policy": "autogen", "default": true });
        let (status, response) = api(client, Method::POST, "/api/v2/dbrps", &[], Some(mapping)).await?;
        if status != 201 {
            return Err(client.misconfigured(&format!("InfluxQL requires a DBRP mapping for bucket '{bucket}', which could not be created: {status} {}: give the token the right to read the bucket and to write DBRP mappings", message(&response))));
        }
    }
    Ok(())
}

/// Sets the retention of an existing bucket, if it differs from the configured one.
async fn set_retention_v2(client: &InfluxClient, found: &Value, rules: Value) -> Result<(), StoreError> {
    let bucket = client.settings.database.as_str();
    let current_s = found["retentionRules"][0]["everySeconds"].as_u64().unwrap_or(0);
    let Some(retention) = client.settings.retention.filter(|retention| retention.as_secs() != current_s) else {
        return Ok(());
    };
    let path = format!("/api/v2/buckets/{}", found["id"].as_str().unwrap_or_default());
    let (status, response) = api(client, Method::PATCH, &path, &[], Some(json!({ "retentionRules": rules }))).await?;
    if status != 200 {
        return Err(client.misconfigured(&format!("cannot set the retention of bucket '{bucket}': {status} {}: give the token the right to write buckets, or set the retention there", message(&response))));
    }
    info!(bucket, seconds = retention.as_secs(), "InfluxDB retention set");
    Ok(())
}

async fn create_bucket(
    client: &InfluxClient,
    org: &str,
    bucket: &str,
    rules: &Value,
) -> Result<(Value, Value), StoreError> {
    let (status, orgs) = api(client, Method::GET, "/api/v2/orgs", &[("org", org)], None).await?;
    if status == 404 {
        return Err(client.misconfigured(&format!("{status} {}: check INFLUXDB_ORG", message(&orgs))));
    }
    let Some(org_id) = orgs["orgs"][0]["id"].as_str() else {
        return Err(client.misconfigured(&format!(
            "the token sees neither bucket '{bucket}' nor organization '{org}' ({status} {}); a token for single buckets sees no organization, so either may be missing: create bucket '{bucket}' and give the token the right to read and write it, give the token the right to read organizations and write buckets, or correct INFLUXDB_BUCKET and INFLUXDB_ORG",
            message(&orgs)
        )));
    };
    let request = json!({ "orgID": org_id, "name": bucket, "retentionRules": rules });
    let (status, response) = api(client, Method::POST, "/api/v2/buckets", &[], Some(request)).await?;
    match status {
        201 => Ok((response["id"].clone(), Value::String(org_id.to_owned()))),
        422 => Err(client.misconfigured(&format!("bucket '{bucket}' exists, but the token may not read it: give it the right to read and write that bucket"))),
        _ => Err(client.misconfigured(&format!("bucket '{bucket}' does not exist or the token may not read it, and the token may not create it ({status} {}): create it and give the token the right to read and write it, or give the token the right to write buckets", message(&response)))),
    }
}

async fn provision_v3(client: &InfluxClient) -> Result<(), StoreError> {
    let database = &client.settings.database;
    let mut request = json!({ "db": database });
    if let Some(retention) = client.settings.retention {
        request["retention_period"] = Value::String(format!("{}s", retention.as_secs()));
    }
    let (status, response) =
        api(client, Method::POST, "/api/v3/configure/database", &[], Some(request.clone())).await?;
    match status {
        200 | 201 | 204 => Ok(()),
        409 if client.settings.retention.is_none() => Ok(()),
        409 => match api(client, Method::PUT, "/api/v3/configure/database", &[], Some(request)).await? {
            (200..=204, _) => Ok(()),
            (status, response) => Err(client.misconfigured(&format!(
                "cannot set the retention of database '{database}': {status} {}",
                message(&response)
            ))),
        },
        404 | 405 => Err(client.misconfigured(&format!(
            "it has none of the paths of InfluxDB 3 ({status} {}): check INFLUXDB_VERSION, and that no proxy is in between",
            message(&response)
        ))),
        _ => {
            Err(client.misconfigured(&format!("cannot create database '{database}': {status} {}", message(&response))))
        }
    }
}

/// Returns the server's message in a response.
fn message(response: &Value) -> String {
    let message = response["message"].as_str().or_else(|| response["error"].as_str()).or_else(|| response.as_str());
    brief(&message.map_or_else(|| response.to_string(), str::to_owned))
}

/// Returns the server's message in a body that may be no JSON.
fn reason(body: &str) -> String {
    serde_json::from_str(body).map_or_else(|_| brief(body), |response| message(&response))
}
