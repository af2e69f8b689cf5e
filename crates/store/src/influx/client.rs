//! Client of one InfluxDB: writes, and query responses row by row.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::foreign;
use super::response::{self, Document, Progress, ResponseError, SeriesPart};
use super::settings::{InfluxSettings, InfluxVersion};
use super::transport::{NoAnswer, Transport, innermost};
use super::write_outcome::{BROKEN_OFF, CREDENTIALS, NOT_INFLUXDB, WriteResponse, brief, is_own_header};
use crate::StoreError;

/// Largest error body read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// InfluxDB 3 responds to a write after its log is flushed, once a second; a busy disk takes longer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const ROWS_PER_CHUNK: usize = 10_000;

/// Error for copies asked of a store that does not make them.
pub(super) const REPLICATION_ELSEWHERE: &str =
    "INFLUXDB_REPLICATION applies to openGemini only: remove it, or set INFLUXDB_VERSION to opengemini";
/// Part of InfluxDB 3's message when a query would read too many files.
pub(super) const FILE_LIMIT: &str = "exceeding the file limit";

#[derive(Clone, Debug)]
pub(super) struct InfluxClient {
    pub(super) transport: Arc<Transport>,
    pub(super) settings: InfluxSettings,
    state: Arc<ClientState>,
}

#[derive(Debug, Default)]
struct ClientState {
    version: Mutex<Option<InfluxVersion>>,
    /// The nodes behind an openGemini fail writes.
    is_failing: AtomicBool,
}

impl InfluxClient {
    pub(super) fn new(settings: InfluxSettings) -> Result<Self, StoreError> {
        let problem = |problem: String| StoreError::Configuration {
            server: format!("InfluxDB at {}", settings.redacted_host()),
            problem,
        };
        check(&settings).map_err(problem)?;
        let transport = Arc::new(Transport::new(&settings).map_err(problem)?);
        let state = Arc::new(ClientState { version: Mutex::new(settings.version), ..ClientState::default() });
        Ok(Self { transport, settings, state })
    }

    /// Returns product and addresses of the server, without user and password.
    pub(super) fn server(&self) -> String {
        // Messages of a known InfluxDB do not need its number.
        let product = match self.version() {
            Some(InfluxVersion::OpenGemini) => InfluxVersion::OpenGemini.product(),
            Some(InfluxVersion::V1 | InfluxVersion::V2 | InfluxVersion::V3) | None => "InfluxDB",
        };
        format!("{product} at {}", self.transport.addresses.names())
    }

    /// Returns the version, once it is known.
    pub(super) fn version(&self) -> Option<InfluxVersion> {
        *self.state.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_version(&self, version: InfluxVersion) {
        *self.state.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
    }

    pub(super) fn request(&self, method: Method, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.transport.request(method, path, parameters)
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
            InfluxVersion::V1 | InfluxVersion::OpenGemini => {
                self.request(Method::POST, "/write", &[("db", database), ("precision", "ns")])
            }
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
        let response = match self.transport.send(request).await {
            Ok(response) => response,
            // The server took the request and did not respond: some releases of InfluxDB 3 break off at a certain line.
            Err(NoAnswer { reason, is_broken_off: true }) => {
                return Ok(WriteResponse {
                    status: BROKEN_OFF,
                    retry_after: None,
                    content_type: None,
                    has_own_header: false,
                    body: reason,
                });
            }
            Err(NoAnswer { reason, .. }) => return Err(self.unreachable("write", &reason)),
        };
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        self.note_write(version, status);
        let has_own_header = response.headers().keys().any(|name| is_own_header(name.as_str()));
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
        Ok(WriteResponse { status, retry_after, content_type, has_own_header, body: self.text(response).await? })
    }

    /// A query node of openGemini answers while the nodes behind it, which keep the data, are away and come back.
    fn note_write(&self, version: InfluxVersion, status: u16) {
        if version != InfluxVersion::OpenGemini {
            return;
        }
        match status {
            500..=599 => self.state.is_failing.store(true, Ordering::Relaxed),
            204 if self.state.is_failing.swap(false, Ordering::Relaxed) => self.transport.addresses.note_recovery(),
            _ => {}
        }
    }

    /// Returns the identity of the server's current run; `None` if the version reports none.
    pub(super) async fn server_incarnation(&self, version: InfluxVersion) -> Result<Option<String>, StoreError> {
        let (path, name) = match version {
            InfluxVersion::V1 => ("/debug/vars", "\"started\":\""),
            // Neither names it; the state of the server is still asked for.
            InfluxVersion::V2 => ("/health", ""),
            InfluxVersion::OpenGemini => ("/ping", ""),
            InfluxVersion::V3 => ("/ping", "\"process_id\":\""),
        };
        let (status, body) = self.fetch(self.request(Method::GET, path, &[])).await?;
        if matches!(status, 429 | 500..=599) {
            return Err(self.unavailable(format!("{status} {} to a request for its state", brief(&body)), None));
        }
        if status == 200 && foreign::is_page("", &body) {
            let problem = format!("'{}' to a request for its state: {NOT_INFLUXDB}", foreign::title(&body));
            return Err(self.unavailable(problem, None));
        }
        // Searched as text: the JSON is long, and longer than what is read of it.
        let rest = body.split_once(name).filter(|_| !name.is_empty() && status == 200).map(|(_, rest)| rest);
        Ok(rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned()))
    }

    /// Sends a request other than a write or a query; returns status and body.
    pub(super) async fn fetch(&self, request: RequestBuilder) -> Result<(u16, String), StoreError> {
        let response = self.send(request, "send a request").await?;
        let status = response.status().as_u16();
        Ok((status, self.text(response).await?))
    }

    /// Sends a request other than a write or a query; `action` is for the error.
    pub(super) async fn send(&self, request: RequestBuilder, action: &str) -> Result<Response, StoreError> {
        let sent = self.transport.send(request.timeout(REQUEST_TIMEOUT)).await;
        sent.map_err(|error| self.unreachable(action, &error.reason))
    }

    /// Returns the beginning of a body.
    pub(super) async fn text(&self, mut response: Response) -> Result<String, StoreError> {
        let mut bytes = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|error| self.unreachable("read the response", &innermost(&error)))?
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
        self.query_all(text, 1).await
    }

    /// As [`Self::query`], for a text of several statements.
    pub(super) async fn query_all(&self, text: &str, n_statements: u64) -> Result<ResponseRows, StoreError> {
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
        let sent = self.transport.send(request).await;
        let mut response = sent.map_err(|error| self.unreachable("query", &error.reason))?;
        if response.status() != 200 {
            return Err(self.refused(response).await?);
        }
        let first = response.chunk().await.map_err(|error| self.unreachable("query", &innermost(&error)))?;
        if first.as_deref().is_some_and(|piece| !matches!(piece.trim_ascii_start().first(), Some(b'{') | None)) {
            return Err(self.not_documents(response, first.unwrap_or_default().to_vec()).await?);
        }
        let (send, receive) = mpsc::channel(1);
        let pieces = stream::iter(first.map(Ok)).chain(response.bytes_stream()).map_err(io::Error::other);
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
        Ok(ResponseRows { receive, client: self.clone(), progress: Progress::default(), n_statements })
    }

    /// Returns the error of a query that was not answered with 200.
    async fn refused(&self, response: Response) -> Result<StoreError, StoreError> {
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let [content_type, location] = [CONTENT_TYPE, LOCATION].map(|name| header(&response, &name));
        let body = self.text(response).await?;
        let is_foreign = matches!(status, 200..400) || foreign::is_page(&content_type, &body);
        let message = match is_foreign {
            true => foreign::description(status, &content_type, &location, &body),
            false => format!("{status} {}", brief(&body)),
        };
        Ok(match status {
            429 | 500..=599 if !message.contains(FILE_LIMIT) => self.unavailable(message, retry_after),
            401 | 403 => self.misconfigured(&format!("{message}: the credentials ({CREDENTIALS}) do not allow reads")),
            404 => self.misconfigured(&message),
            _ if is_foreign => self.misconfigured(&message),
            _ => self.query_error(brief(&body)),
        })
    }

    /// Returns the error of a query that was answered with 200 and no JSON, of which a piece has arrived.
    async fn not_documents(&self, response: Response, mut piece: Vec<u8>) -> Result<StoreError, StoreError> {
        let content_type = header(&response, &CONTENT_TYPE);
        piece.extend_from_slice(self.text(response).await?.as_bytes());
        let body = String::from_utf8_lossy(&piece);
        // InfluxDB answers so where a number cannot be written as JSON.
        if body.starts_with("json: ") {
            return Ok(self.query_error(brief(&body)));
        }
        Ok(self.misconfigured(&foreign::description(200, &content_type, "", &body)))
    }

    fn response_error(&self, error: ResponseError) -> StoreError {
        match error {
            ResponseError::Transient(message) => self.unavailable(message, None),
            ResponseError::Misconfigured(message) => self.misconfigured(&message),
            ResponseError::Refused(message) => self.query_error(message),
        }
    }

    pub(super) fn query_error(&self, message: String) -> StoreError {
        StoreError::Query { server: self.server(), message }
    }

    pub(super) fn misconfigured(&self, problem: &str) -> StoreError {
        StoreError::Configuration { server: self.server(), problem: problem.to_owned() }
    }

    pub(super) fn unavailable(&self, problem: String, retry_after: Option<Duration>) -> StoreError {
        StoreError::Unavailable { server: self.server(), problem, retry_after, responded: true }
    }

    fn unreachable(&self, action: &str, reason: &str) -> StoreError {
        let problem = format!("could not {action}: {reason}");
        StoreError::Unavailable { server: self.server(), problem, retry_after: None, responded: false }
    }
}

/// Checks the settings other than the addresses.
fn check(settings: &InfluxSettings) -> Result<(), String> {
    if settings.database.is_empty() || settings.database.contains(['"', '\n', '\\']) {
        return Err("INFLUXDB_BUCKET must name a database or bucket".to_owned());
    }
    if settings.replication.is_some() && settings.version.is_some_and(|version| version != InfluxVersion::OpenGemini) {
        return Err(REPLICATION_ELSEWHERE.to_owned());
    }
    // InfluxDB 3 would call the header malformed; one with a line feed could not even be sent.
    let is_invalid = |ch: char| ch.is_whitespace() || ch.is_control();
    if settings.token.as_deref().is_some_and(|token| token.contains(is_invalid)) {
        return Err("INFLUXDB_TOKEN contains whitespace or a control character: check how it was copied".to_owned());
    }
    Ok(())
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

/// Returns a header; empty if absent.
fn header(response: &Response, name: &HeaderName) -> String {
    response.headers().get(name).map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned()).unwrap_or_default()
}

/// Response to a query, while it arrives.
pub(super) struct ResponseRows {
    receive: mpsc::Receiver<serde_json::Result<Document>>,
    client: InfluxClient,
    progress: Progress,
    n_statements: u64,
}

impl ResponseRows {
    /// Returns the next series, or parts of series; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<SeriesPart>, StoreError> {
        while let Some(document) = self.receive.recv().await {
            match self.progress.series(document) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(error) => return Err(self.client.response_error(error)),
            }
        }
        self.progress.end(self.n_statements).map(|()| Vec::new()).map_err(|error| self.client.response_error(error))
    }
}
