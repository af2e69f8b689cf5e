//! HTTP to one InfluxDB: who it is, with which credentials, and its InfluxQL answers row by row.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::TryStreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url, redirect};
use serde_json::Value;
use spindle_core::schema::DEVICE_METRICS;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::InfluxSettings;
use super::answer::{self, Document, Fault, Series};
use super::verdict::{Answer, BROKEN_OFF, CREDENTIALS, brief};
use crate::StoreError;

/// Longest error text read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// InfluxDB 3 answers a write after its log is flushed, once a second; a busy disk takes longer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After this long without a sign of the machine at the other end (its program may well be slow) a request
/// has failed: it must not wait for [`WRITE_TIMEOUT`] on a connection that nobody remembers.
#[cfg(target_os = "linux")]
const DEAD_AFTER: Duration = Duration::from_secs(15);
const ROWS_PER_CHUNK: usize = 10_000;

/// Which generation of InfluxDB: they differ in paths, credentials and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfluxVersion {
    /// 1.x
    V1,
    /// 2.x
    V2,
    /// 3 Core or Enterprise
    V3,
}

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    pub(crate) settings: InfluxSettings,
}

/// An address as it may be shown, also one that is none: it may hold a user and a password.
pub(super) fn without_userinfo(address: &str) -> String {
    let scheme = address.find("://").map_or(0, |at| at + 3);
    address
        .rfind('@')
        .filter(|at| *at >= scheme)
        .map_or_else(|| address.to_owned(), |at| format!("{}{}", &address[..scheme], &address[at + 1..]))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.shown())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(settings: InfluxSettings) -> Result<Self, StoreError> {
        // Fails only if another one was installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text =
            if settings.host.contains("://") { settings.host.clone() } else { format!("http://{}", settings.host) };
        let server = without_userinfo(&settings.host);
        let problem = |problem: String| StoreError::Configuration { server: server.clone(), problem };
        let base = Url::parse(&text).map_err(|error| problem(format!("INFLUXDB_HOST is no address: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(problem("INFLUXDB_HOST must be an http or https address".to_owned()));
        }
        if settings.database.is_empty() || settings.database.contains(['"', '\n', '\\']) {
            return Err(problem("INFLUXDB_BUCKET must name a database or bucket".to_owned()));
        }
        // InfluxDB 3 would call the header malformed; one with a line feed could not even be sent.
        if settings
            .token
            .as_deref()
            .is_some_and(|token| token.contains(|letter: char| letter.is_whitespace() || letter.is_control()))
        {
            return Err(problem("INFLUXDB_TOKEN holds a blank or a line feed: a token has none".to_owned()));
        }
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")));
        #[cfg(target_os = "linux")]
        let http = http.tcp_user_timeout(DEAD_AFTER);
        let http = http.build().map_err(|error| problem(format!("no HTTP client: {error}")))?;
        Ok(Self { http, base, settings })
    }

    /// The server's address for people: without user and password.
    pub(crate) fn shown(&self) -> String {
        let mut shown = self.base.clone();
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn request(&self, method: Method, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
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

    /// `Token T` is what versions 2 and 3 both take. Version 1 knows no token but `user:password`.
    fn credentials(&self) -> Option<HeaderValue> {
        let token = self.settings.token.as_deref().filter(|token| !token.is_empty())?;
        if self.settings.username.is_some() && self.settings.version == Some(InfluxVersion::V1) {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("Token {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Which version answers at the address.
    pub(crate) async fn detect(&self) -> Result<InfluxVersion, StoreError> {
        if let Some(version) = self.settings.version {
            return Ok(version);
        }
        let answer = self.request(Method::GET, "/ping", &[]).timeout(ASK_TIMEOUT).send().await;
        let answer = answer.map_err(|error| self.unavailable("ask for the version", &error))?;
        let status = answer.status().as_u16();
        let version = answer
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
            401 => Err(self.operator("it asks for credentials before it says its version, as InfluxDB 3 does: set INFLUXDB_TOKEN to a token that it knows")),
            429 | 500..=599 => Err(self.away(format!("{status} when asked for its version"), None)),
            _ => self.detect_by_health(status).await,
        }
    }

    /// A proxy may take the version header away.
    async fn detect_by_health(&self, ping_status: u16) -> Result<InfluxVersion, StoreError> {
        let answer = self.request(Method::GET, "/health", &[]).timeout(ASK_TIMEOUT).send().await;
        let answer = answer.map_err(|error| self.unavailable("ask for the version", &error))?;
        let body = self.text(answer).await?;
        let version =
            serde_json::from_str::<Value>(&body).ok().and_then(|health| health["version"].as_str().map(str::to_owned));
        match version.as_deref().map(|text| text.trim_start_matches('v').chars().next()) {
            Some(Some('1')) => Ok(InfluxVersion::V1),
            Some(Some('2')) => Ok(InfluxVersion::V2),
            _ if body.trim() == "OK" => Ok(InfluxVersion::V3),
            _ => Err(self.operator(&format!("it does not say which InfluxDB it is ({ping_status} to /ping): is INFLUXDB_HOST right? INFLUXDB_VERSION=1, 2 or 3 says it"))),
        }
    }

    /// Sends lines; every answer of the server is an `Ok`.
    pub(crate) async fn write(
        &self,
        version: InfluxVersion,
        lines: &str,
        is_compressed: bool,
    ) -> Result<Answer, StoreError> {
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
                .body(compressed(lines).map_err(|error| self.away(format!("gzip: {error}"), None))?)
        } else {
            request.body(lines.to_owned())
        };
        let answer = match request.send().await {
            Ok(answer) => answer,
            // It took the request and answered nothing: some releases of InfluxDB 3 break off at a certain line.
            Err(error) if !error.is_connect() && !error.is_timeout() => {
                return Ok(Answer { status: BROKEN_OFF, retry_after: None, body: innermost(&error) });
            }
            Err(error) => return Err(self.unavailable("write", &error)),
        };
        let (status, retry_after) = (answer.status().as_u16(), retry_after(&answer));
        Ok(Answer { status, retry_after, body: self.text(answer).await? })
    }

    /// What tells this run of the server from the next; `None` where it does not say.
    pub(crate) async fn incarnation(&self, version: InfluxVersion) -> Result<Option<String>, StoreError> {
        let (path, name) = match version {
            InfluxVersion::V1 => ("/debug/vars", "\"started\":\""),
            InfluxVersion::V2 => ("/health", ""),
            InfluxVersion::V3 => ("/ping", "\"process_id\":\""),
        };
        let (status, body) = self.ask(self.request(Method::GET, path, &[])).await?;
        if matches!(status, 429 | 500..=599) {
            return Err(self.away(format!("{status} when asked how it is"), None));
        }
        // Looked for as text: the whole of it is long, and stands behind.
        let told = body.split_once(name).filter(|_| !name.is_empty() && status == 200);
        Ok(told.and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value.to_owned()))
    }

    /// Checks server and credentials with a query that changes nothing. Returns false if the database does not exist.
    pub(crate) async fn probe(&self) -> Result<bool, StoreError> {
        self.detect().await?;
        let (database, table) = (self.settings.database.as_str(), DEVICE_METRICS.name);
        // InfluxDB 1.6 reports a missing database to SELECT only.
        let text = format!("SELECT last(value) FROM {table} WHERE time >= now() - 1m AND time <= now()");
        let request = self.request(Method::POST, "/query", &[("q", text.as_str()), ("db", database)]);
        let (status, body) = self.ask(request).await?;
        if body.contains("not found") {
            return Ok(false);
        }
        if status == 200 && !body.contains("\"error\"") {
            return Ok(true);
        }
        Err(self.operator(&format!("{status} {}", body.trim())))
    }

    /// Sends a request for something else than a write: status and text.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Result<(u16, String), StoreError> {
        let answer = request.timeout(ASK_TIMEOUT).send().await.map_err(|error| self.unavailable("ask", &error))?;
        let status = answer.status().as_u16();
        Ok((status, self.text(answer).await?))
    }

    async fn text(&self, mut answer: Response) -> Result<String, StoreError> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unavailable("read the answer", &error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX_ERROR_BYTES {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The rows of an InfluxQL query, as they arrive: at most two chunks are held.
    pub(crate) async fn query(&self, text: &str) -> Result<Rows, StoreError> {
        let chunk_size = ROWS_PER_CHUNK.to_string();
        let form = [
            ("db", self.settings.database.as_str()),
            ("q", text),
            ("epoch", "ns"),
            ("chunked", "true"),
            ("chunk_size", &chunk_size),
        ];
        let mut body = Url::parse("http://form/").map_err(|error| self.operator(&error.to_string()))?;
        body.query_pairs_mut().extend_pairs(form);
        let request = self
            .request(Method::POST, "/query", &[])
            .header(ACCEPT, "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.query().unwrap_or_default().to_owned());
        let answer = request.send().await.map_err(|error| self.unavailable("query", &error))?;
        let (status, retry_after) = (answer.status().as_u16(), retry_after(&answer));
        if status != 200 {
            let words = self.text(answer).await?;
            return Err(self.refused(status, retry_after, &words));
        }
        let (send, receive) = mpsc::channel(1);
        let pieces = answer.bytes_stream().map_err(io::Error::other);
        let reader = SyncIoBridge::new(StreamReader::new(Box::pin(pieces)));
        tokio::task::spawn_blocking(move || {
            for document in answer::documents(reader) {
                let failed = document.is_err();
                // Nobody listens any more: the connection closes and the server stops.
                if send.blocking_send(document).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Rows { receive, client: self.clone(), had_any: false })
    }

    fn refused(&self, status: u16, retry_after: Option<Duration>, words: &str) -> StoreError {
        let words = brief(words);
        match status {
            401 | 403 => {
                self.operator(&format!("{status} {words}: the credentials ({CREDENTIALS}) do not let us read"))
            }
            404 => self.operator(&format!("{status} {words}")),
            429 | 500..=599 if !words.contains(FILE_LIMIT) => self.away(format!("{status} {words}"), retry_after),
            _ => self.failed(words),
        }
    }

    pub(crate) fn failed(&self, words: String) -> StoreError {
        StoreError::Query { server: self.shown(), words }
    }

    pub(crate) fn operator(&self, problem: &str) -> StoreError {
        StoreError::Configuration { server: self.shown(), problem: problem.to_owned() }
    }

    pub(crate) fn away(&self, problem: String, retry_after: Option<Duration>) -> StoreError {
        StoreError::Unavailable { server: self.shown(), problem, retry_after }
    }

    fn unavailable(&self, action: &str, error: &reqwest::Error) -> StoreError {
        let what = if error.is_timeout() { "no answer in time".to_owned() } else { innermost(error) };
        self.away(format!("could not {action}: {what}"), None)
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut words = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = inner.to_string();
        cause = inner.source();
    }
    words
}

/// When it wants to be asked again.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

/// Part of InfluxDB 3's words when a query would read too many files.
pub(crate) const FILE_LIMIT: &str = "exceeding the file limit";

fn compressed(lines: &str) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(lines.len() / 8), Compression::fast());
    gzip.write_all(lines.as_bytes())?;
    gzip.finish()
}

/// An answer that arrives.
pub(crate) struct Rows {
    receive: mpsc::Receiver<serde_json::Result<Document>>,
    client: Client,
    had_any: bool,
}

impl Rows {
    /// The next series, or parts of series; empty at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<Series>, StoreError> {
        while let Some(document) = self.receive.recv().await {
            self.had_any |= document.is_ok();
            match Document::series(document) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(Fault::Passing(words)) => return Err(self.client.away(words, None)),
                Err(Fault::Operator(words)) => return Err(self.client.operator(&words)),
                Err(Fault::Refused(words)) => return Err(self.client.failed(words)),
            }
        }
        if self.had_any { Ok(Vec::new()) } else { Err(self.client.away("an empty answer to a query".to_owned(), None)) }
    }
}
