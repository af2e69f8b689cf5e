//! HTTP client of one InfluxDB: version detection, credentials, writes, and query responses row by row.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde_json::Value;
use spindle_core::schema::DEVICE_METRICS;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::response::{self, Document, ResponseError, SeriesPart};
use super::settings::{InfluxSettings, InfluxVersion};
use super::write_outcome::{BROKEN_OFF, CREDENTIALS, WriteResponse, brief, is_own_header};
use crate::StoreError;

/// Largest error body read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// InfluxDB 3 responds to a write after its log is flushed, once a second; a busy disk takes longer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request fails after this long without an acknowledgement from the remote kernel (its program may well be slow):
/// it must not wait for [`WRITE_TIMEOUT`] on a connection that the other end has lost.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
const ROWS_PER_CHUNK: usize = 10_000;

/// Part of InfluxDB 3's message when a query would read too many files.
pub(super) const FILE_LIMIT: &str = "exceeding the file limit";

#[derive(Clone)]
pub(super) struct InfluxClient {
    http: reqwest::Client,
    base: Url,
    pub(super) settings: InfluxSettings,
}

impl fmt::Debug for InfluxClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfluxClient")
            .field("server", &self.address())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl InfluxClient {
    pub(super) fn new(settings: InfluxSettings) -> Result<Self, StoreError> {
        // Fails only if another provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = settings.redacted_host();
        let problem = |problem: String| StoreError::Configuration { server: server.clone(), problem };
        let base = base_url(&settings).map_err(problem)?;
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")));
        #[cfg(target_os = "linux")]
        let http = http.tcp_user_timeout(TCP_USER_TIMEOUT);
        let http = http.build().map_err(|error| problem(format!("cannot build the HTTP client: {error}")))?;
        Ok(Self { http, base, settings })
    }

    /// Returns the server's address without user and password.
    pub(super) fn address(&self) -> String {
        let mut redacted = self.base.clone();
        let _ = redacted.set_username("");
        let _ = redacted.set_password(None);
        redacted.as_str().trim_end_matches('/').to_owned()
    }

    pub(super) fn request(&self, method: Method, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        let whole = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&whole);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let mut request = self.http.request(method, url);
        if let Some(credentials) = self.credentials() {
            request = request.header(AUTHORIZATION, credentials);
        } else if let Some(user) = &self.settings.username {
            request = request.basic_auth(user, self.settings.password.as_deref());
        }
        request
    }

    /// Returns `Token T`, which versions 2 and 3 both accept. Version 1 accepts only `user:password` as a token.
    fn credentials(&self) -> Option<HeaderValue> {
        let token = self.settings.token.as_deref().filter(|token| !token.is_empty())?;
        if self.settings.username.is_some() && self.settings.version == Some(InfluxVersion::V1) {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("Token {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Returns the version configured or reported by the server.
    pub(super) async fn detect_version(&self) -> Result<InfluxVersion, StoreError> {
        if let Some(version) = self.settings.version {
            return Ok(version);
        }
        let response = self.send(self.request(Method::GET, "/ping", &[]), "request the version").await?;
        let status = response.status().as_u16();
        let version = response
            .headers()
            .get("x-influxdb-version")
            .map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        match version.as_deref().map(|text| text.trim_start_matches('v').split('.').next().unwrap_or_default()) {
            Some("0" | "1") => return Ok(InfluxVersion::V1),
            Some("2") => return Ok(InfluxVersion::V2),
            Some("3") => return Ok(InfluxVersion::V3),
            _ => {}
        }
        match status {
            401 => Err(self.misconfigured(
                "it requires credentials before it reports its version, as InfluxDB 3 does: set INFLUXDB_TOKEN to a valid token",
            )),
            429 | 500..=599 => Err(self.unavailable(format!("{status} to a request for its version"), None)),
            _ => self.detect_by_health(status).await,
        }
    }

    /// Detects the version behind a proxy that removes the version header.
    async fn detect_by_health(&self, ping_status: u16) -> Result<InfluxVersion, StoreError> {
        let response = self.send(self.request(Method::GET, "/health", &[]), "request the version").await?;
        let body = self.text(response).await?;
        let version =
            serde_json::from_str::<Value>(&body).ok().and_then(|health| health["version"].as_str().map(str::to_owned));
        match version.as_deref().map(|text| text.trim_start_matches('v').chars().next()) {
            Some(Some('1')) => Ok(InfluxVersion::V1),
            Some(Some('2')) => Ok(InfluxVersion::V2),
            _ if body.trim() == "OK" => Ok(InfluxVersion::V3),
            _ => Err(self.misconfigured(&format!(
                "it does not report a version of InfluxDB ({ping_status} to /ping): check INFLUXDB_HOST, or set INFLUXDB_VERSION to 1, 2 or 3"
            ))),
        }
    }

    /// Sends lines; every response of the server is an `Ok`.
    pub(super) async fn write(
        &self,
        version: InfluxVersion,
        lines: &str,
        is_compressed: bool,
    ) -> Result<WriteResponse, StoreError> {
        let database = self.settings.database.as_str();
        let org = self.settings.org.as_deref().unwrap_or_default();
        let request = match version {
            InfluxVersion::V1 => self.request(Method::POST, "/write", &[("db", database), ("precision", "ns")]),
            InfluxVersion::V2 => {
                self.request(Method::POST, "/api/v2/write", &[("org", org), ("bucket", database), ("precision", "ns")])
            }
            InfluxVersion::V3 => self.request(
                Method::POST,
                "/api/v3/write_lp",
                &[("db", database), ("precision", "nanosecond"), ("accept_partial", "true")],
            ),
        };
        let request = request.timeout(WRITE_TIMEOUT).header("content-type", "text/plain; charset=utf-8");
        let request = if is_compressed {
            request
                .header(CONTENT_ENCODING, "gzip")
                .body(compressed(lines).map_err(|error| self.unavailable(format!("gzip: {error}"), None))?)
        } else {
            request.body(lines.to_owned())
        };
        let response = match request.send().await {
            Ok(response) => response,
            // The server took the request and did not respond: some releases of InfluxDB 3 break off at a certain line.
            Err(error) if !error.is_connect() && !error.is_timeout() => {
                let body = innermost(&error);
                return Ok(WriteResponse {
                    status: BROKEN_OFF,
                    retry_after: None,
                    content_type: None,
                    has_own_header: false,
                    body,
                });
            }
            Err(error) => return Err(self.failed_request("write", &error)),
        };
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let has_own_header = response.headers().keys().any(|name| is_own_header(name.as_str()));
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        Ok(WriteResponse { status, retry_after, content_type, has_own_header, body: self.text(response).await? })
    }

    /// Returns the identity of the server's current run; `None` if the version reports none.
    pub(super) async fn server_incarnation(&self, version: InfluxVersion) -> Result<Option<String>, StoreError> {
        let (path, name) = match version {
            InfluxVersion::V1 => ("/debug/vars", "\"started\":\""),
            InfluxVersion::V2 => ("/health", ""),
            InfluxVersion::V3 => ("/ping", "\"process_id\":\""),
        };
        let (status, body) = self.fetch(self.request(Method::GET, path, &[])).await?;
        if matches!(status, 429 | 500..=599) {
            return Err(self.unavailable(format!("{status} to a request for its state"), None));
        }
        // Searched as text: the JSON is long, and longer than what is read of it.
        let rest = body.split_once(name).filter(|_| !name.is_empty() && status == 200).map(|(_, rest)| rest);
        Ok(rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned()))
    }

    /// Verifies server and credentials with a query that changes nothing. Returns `false` if the database does not exist.
    pub(super) async fn probe(&self) -> Result<bool, StoreError> {
        self.detect_version().await?;
        let (database, table) = (self.settings.database.as_str(), DEVICE_METRICS.name);
        // InfluxDB 1.6 reports a missing database to SELECT only.
        let text = format!("SELECT last(value) FROM {table} WHERE time >= now() - 1m AND time <= now()");
        let request = self.request(Method::POST, "/query", &[("q", text.as_str()), ("db", database)]);
        let (status, body) = self.fetch(request).await?;
        if body.contains("not found") {
            return Ok(false);
        }
        if status == 200 && !body.contains("\"error\"") {
            return Ok(true);
        }
        Err(self.misconfigured(&format!("{status} {}", body.trim())))
    }

    /// Sends a request other than a write or a query; returns status and body.
    pub(super) async fn fetch(&self, request: RequestBuilder) -> Result<(u16, String), StoreError> {
        let response = self.send(request, "send a request").await?;
        let status = response.status().as_u16();
        Ok((status, self.text(response).await?))
    }

    async fn send(&self, request: RequestBuilder, action: &str) -> Result<Response, StoreError> {
        request.timeout(REQUEST_TIMEOUT).send().await.map_err(|error| self.failed_request(action, &error))
    }

    async fn text(&self, mut response: Response) -> Result<String, StoreError> {
        let mut bytes = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| self.failed_request("read the response", &error))?
        {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_ERROR_BYTES {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the rows of an InfluxQL query as they arrive: at most two chunks are held.
    pub(super) async fn query(&self, text: &str) -> Result<ResponseRows, StoreError> {
        let chunk_size = ROWS_PER_CHUNK.to_string();
        let form = [
            ("db", self.settings.database.as_str()),
            ("q", text),
            ("epoch", "ns"),
            ("chunked", "true"),
            ("chunk_size", &chunk_size),
        ];
        let mut body = Url::parse("http://form/").map_err(|error| self.misconfigured(&error.to_string()))?;
        body.query_pairs_mut().extend_pairs(form);
        let request = self
            .request(Method::POST, "/query", &[])
            .header(ACCEPT, "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.query().unwrap_or_default().to_owned());
        let response = request.send().await.map_err(|error| self.failed_request("query", &error))?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        if status != 200 {
            let message = self.text(response).await?;
            return Err(self.refused(status, retry_after, &message));
        }
        let (send, receive) = mpsc::channel(1);
        let pieces = response.bytes_stream().map_err(io::Error::other);
        let reader = SyncIoBridge::new(StreamReader::new(Box::pin(pieces)));
        tokio::task::spawn_blocking(move || {
            for document in response::documents(reader) {
                let failed = document.is_err();
                // Without a receiver the connection closes and the server stops.
                if send.blocking_send(document).is_err() || failed {
                    return;
                }
            }
        });
        Ok(ResponseRows { receive, client: self.clone(), is_empty: true })
    }

    fn refused(&self, status: u16, retry_after: Option<Duration>, message: &str) -> StoreError {
        let message = brief(message);
        match status {
            401 | 403 => {
                self.misconfigured(&format!("{status} {message}: the credentials ({CREDENTIALS}) do not allow reads"))
            }
            404 => self.misconfigured(&format!("{status} {message}")),
            429 | 500..=599 if !message.contains(FILE_LIMIT) => {
                self.unavailable(format!("{status} {message}"), retry_after)
            }
            _ => self.query_error(message),
        }
    }

    pub(super) fn query_error(&self, message: String) -> StoreError {
        StoreError::Query { server: self.address(), message }
    }

    pub(super) fn misconfigured(&self, problem: &str) -> StoreError {
        StoreError::Configuration { server: self.address(), problem: problem.to_owned() }
    }

    pub(super) fn unavailable(&self, problem: String, retry_after: Option<Duration>) -> StoreError {
        StoreError::Unavailable { server: self.address(), problem, retry_after, responded: true }
    }

    fn failed_request(&self, action: &str, error: &reqwest::Error) -> StoreError {
        let reason = if error.is_timeout() { "timed out".to_owned() } else { innermost(error) };
        let problem = format!("could not {action}: {reason}");
        StoreError::Unavailable { server: self.address(), problem, retry_after: None, responded: false }
    }
}

/// Checks the settings and returns the server's URL.
fn base_url(settings: &InfluxSettings) -> Result<Url, String> {
    let has_scheme = settings.host.contains("://");
    let text = if has_scheme { settings.host.clone() } else { format!("http://{}", settings.host) };
    let base = Url::parse(&text).map_err(|error| format!("INFLUXDB_HOST is not an address: {error}"))?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err("INFLUXDB_HOST must be an http or https address".to_owned());
    }
    if settings.database.is_empty() || settings.database.contains(['"', '\n', '\\']) {
        return Err("INFLUXDB_BUCKET must name a database or bucket".to_owned());
    }
    // InfluxDB 3 would call the header malformed; one with a line feed could not even be sent.
    let is_invalid = |ch: char| ch.is_whitespace() || ch.is_control();
    if settings.token.as_deref().is_some_and(|token| token.contains(is_invalid)) {
        return Err("INFLUXDB_TOKEN contains whitespace or a control character: check how it was copied".to_owned());
    }
    Ok(base)
}

/// Returns the message of the innermost cause.
fn innermost(error: &reqwest::Error) -> String {
    let mut message = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message = inner.to_string();
        cause = inner.source();
    }
    message
}

/// Returns the pause that the server requests before the next attempt.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

fn compressed(lines: &str) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(lines.len() / 8), Compression::fast());
    gzip.write_all(lines.as_bytes())?;
    gzip.finish()
}

/// Response to a query, while it arrives.
pub(super) struct ResponseRows {
    receive: mpsc::Receiver<serde_json::Result<Document>>,
    client: InfluxClient,
    is_empty: bool,
}

impl ResponseRows {
    /// Returns the next series, or parts of series; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<SeriesPart>, StoreError> {
        while let Some(document) = self.receive.recv().await {
            self.is_empty &= document.is_err();
            match Document::series(document) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(ResponseError::Transient(message)) => return Err(self.client.unavailable(message, None)),
                Err(ResponseError::Misconfigured(message)) => return Err(self.client.misconfigured(&message)),
                Err(ResponseError::Refused(message)) => return Err(self.client.query_error(message)),
            }
        }
        match self.is_empty {
            true => Err(self.client.unavailable("empty response to a query".to_owned(), None)),
            false => Ok(Vec::new()),
        }
    }
}
