//! Detection of the version: by the headers of `/ping`, else by what only one version answers.

use reqwest::Method;
use serde_json::Value;
use tracing::warn;

use super::client::InfluxClient;
use super::foreign::title;
use super::identity::{ServerIdentity, version_of};
use super::settings::InfluxVersion;
use super::write_outcome::brief;
use crate::StoreError;

/// Returns the version configured or reported by the server.
pub(super) async fn detect_version(client: &InfluxClient) -> Result<InfluxVersion, StoreError> {
    let version = match client.settings.version {
        // openGemini answers like version 1, and reads lag there.
        Some(InfluxVersion::V1) if is_open_gemini(client).await => {
            warn!("INFLUXDB_VERSION is 1, and the server is an openGemini: treated as one");
            InfluxVersion::OpenGemini
        }
        Some(version) => version,
        None => reported(client).await?,
    };
    client.set_version(version);
    Ok(version)
}

async fn is_open_gemini(client: &InfluxClient) -> bool {
    let answer = client.send(client.request(Method::GET, "/ping", &[]), "request the version").await;
    answer.is_ok_and(|answer| ServerIdentity::of(answer.headers()).version == Some(InfluxVersion::OpenGemini))
}

async fn reported(client: &InfluxClient) -> Result<InfluxVersion, StoreError> {
    let response = client.send(client.request(Method::GET, "/ping", &[]), "request the version").await?;
    let status = response.status().as_u16();
    let identity = ServerIdentity::of(response.headers());
    if let Some(version) = identity.version {
        return Ok(version);
    }
    let server =
        response.headers().get("server").map(|name| format!(" of {}", String::from_utf8_lossy(name.as_bytes())));
    let server = server.unwrap_or_default();
    let body = client.text(response).await?;
    match status {
        401 | 403 => {
            return Err(client.misconfigured(&format!(
                "{status} {}{server}: it requires credentials before it reports its version, as InfluxDB 3 does: set INFLUXDB_TOKEN to a valid token",
                brief(&body)
            )));
        }
        429 | 500..=599 => {
            return Err(client.unavailable(format!("{status} {} to a request for its version", brief(&body)), None));
        }
        _ => {}
    }
    // Built without a release version, or behind a proxy that removes the headers.
    if let Some(version) = by_ping(&body) {
        return Ok(version);
    }
    if let Some(version) = by_paths(client).await? {
        return Ok(version);
    }
    let release = match identity.release.as_str() {
        "" => String::new(),
        release => format!(", which calls itself version '{}'", brief(release)),
    };
    let page =
        client.fetch(client.request(Method::GET, "/", &[])).await.map(|(_, page)| title(&page)).unwrap_or_default();
    Err(client.misconfigured(&format!(
        "it answers unlike any InfluxDB or openGemini ({status} '{}'{server} to /ping{release}; '{page}' to /): check INFLUXDB_HOST, or set INFLUXDB_VERSION to 1, 2, 3 or opengemini if a proxy hides the version",
        brief(&body)
    )))
}

/// InfluxDB 3 reports its process and version in the body.
fn by_ping(body: &str) -> Option<InfluxVersion> {
    let ping: Value = serde_json::from_str(body).ok()?;
    ping["process_id"].is_string().then_some(InfluxVersion::V3)
}

/// Asks for paths that only one version has.
async fn by_paths(client: &InfluxClient) -> Result<Option<InfluxVersion>, StoreError> {
    let get = async |path: &str, parameters: &[(&str, &str)]| -> Result<(u16, Value), StoreError> {
        let (status, body) = client.fetch(client.request(Method::GET, path, parameters)).await?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
    };
    let (_, health) = get("/health", &[]).await?;
    if health["name"] == "influxdb"
        && let Some(version) = health["version"].as_str().and_then(version_of)
    {
        return Ok(Some(version));
    }
    let (_, setup) = get("/api/v2/setup", &[]).await?;
    if setup["allowed"].is_boolean() {
        return Ok(Some(InfluxVersion::V2));
    }
    let (status, databases) = get("/api/v3/configure/database", &[("format", "json")]).await?;
    if status == 200 && databases.as_array().is_some_and(|all| all.iter().all(|row| row["iox::database"].is_string())) {
        return Ok(Some(InfluxVersion::V3));
    }
    let request = client.request(Method::POST, "/query", &[("q", "SHOW DATABASES")]);
    let (status, body) = client.fetch(request).await?;
    let answer: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let is_answered = status == 200 && answer["results"][0]["statement_id"].is_number();
    let is_refused = status == 401 && answer["error"].as_str().is_some_and(|error| error.contains("authenti"));
    Ok((is_answered || is_refused).then_some(InfluxVersion::V1))
}
