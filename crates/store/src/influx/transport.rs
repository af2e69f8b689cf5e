//! Requests over HTTP to any of the addresses: one that does not answer is passed over, and checked again later.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, RequestBuilder, Response, Url, redirect};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::addresses::{AddressStatus, Addresses};
use super::identity::ServerIdentity;
use super::server_clock::ServerClock;
use super::settings::{InfluxSettings, InfluxVersion};

/// Between two pieces of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request fails after this long without an acknowledgement from the remote kernel (its program may well be slow):
/// it must not wait for the timeout of a write on a connection that the other end has lost.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
/// Wait for the head of a response while another address could serve the request instead.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Builds that form no cluster: two of them behind one list are two stores.
const SINGLE_SERVERS: [&str; 2] = ["OSS", "Core"];

pub(super) struct Transport {
    http: reqwest::Client,
    pub(super) addresses: Addresses,
    pub(super) clock: ServerClock,
    credentials: Option<Credentials>,
    /// Checks of addresses under way; they end with the session.
    checks: Mutex<JoinSet<()>>,
}

enum Credentials {
    /// `Token T`, which versions 2 and 3 both accept. Version 1 accepts only `user:password` as a token.
    Token(HeaderValue),
    Basic {
        user: String,
        password: Option<String>,
    },
}

/// No address answered.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) reason: String,
    /// At least one server took the request and broke off; none was too slow.
    pub(super) is_broken_off: bool,
}

/// Failure of one attempt.
enum AttemptError {
    Slow,
    Failed(reqwest::Error),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("addresses", &self.addresses.names()).finish_non_exhaustive()
    }
}

impl Transport {
    /// The error never contains a password.
    pub(super) fn new(settings: &InfluxSettings) -> Result<Self, String> {
        // Fails only if another provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let addresses = Addresses::parse(&settings.host)?;
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")));
        #[cfg(target_os = "linux")]
        let http = http.tcp_user_timeout(TCP_USER_TIMEOUT);
        let http = http.build().map_err(|error| format!("cannot build the HTTP client: {error}"))?;
        let clock = ServerClock::default();
        Ok(Self { http, addresses, clock, credentials: Credentials::of(settings), checks: Mutex::default() })
    }

    /// Begins a request; [`Self::send`] gives it an address and credentials.
    pub(super) fn request(&self, method: Method, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.addresses.base(0).clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_path(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        self.http.request(method, url)
    }

    /// Sends a request to one address after the other until one answers other than with a server error. If none does,
    /// returns such an answer. Repeating a request is safe: every write is idempotent.
    pub(super) async fn send(self: &Arc<Self>, request: RequestBuilder) -> Result<Response, NoAnswer> {
        let request = request.build().map_err(|error| NoAnswer { reason: innermost(&error), is_broken_off: false })?;
        self.check_due();
        let order = self.addresses.order();
        let mut answer = None;
        let (mut reasons, mut n_broken_off, mut n_slow) = (Vec::new(), 0, 0);
        for (position, index) in order.iter().copied().enumerate() {
            if let Err(problem) = self.admit(index).await {
                reasons.push((index, problem));
                continue;
            }
            let rest = &order[position + 1..];
            // One known to be away is a last resort: no reason to cut a slow response short.
            let has_other = rest.iter().any(|other| !self.addresses.is_away(*other));
            let Some(attempt) = self.aimed(&request, index) else { break };
            match self.attempt(attempt, has_other).await {
                Ok(response) if response.status().is_server_error() && !rest.is_empty() => {
                    if matches!(response.status().as_u16(), 502..=504) {
                        self.addresses.note_away(index, &format!("answered {}", response.status().as_u16()));
                    }
                    answer = Some(response);
                }
                Ok(response) => {
                    self.addresses.note_answer(index);
                    return Ok(response);
                }
                Err(failure) => {
                    n_slow += usize::from(failure.is_slow());
                    n_broken_off += usize::from(failure.is_broken_off());
                    let reason = failure.reason();
                    self.addresses.note_away(index, &reason);
                    reasons.push((index, reason));
                }
            }
        }
        answer.ok_or_else(|| NoAnswer { reason: self.joined(reasons), is_broken_off: n_broken_off > 0 && n_slow == 0 })
    }

    fn joined(&self, mut reasons: Vec<(usize, String)>) -> String {
        match &mut reasons[..] {
            [] => {
                let status =
                    |status: AddressStatus| format!("{}: {}", status.address, status.problem.unwrap_or_default());
                self.addresses.statuses().into_iter().map(status).collect::<Vec<_>>().join("; ")
            }
            [(_, reason)] if !self.addresses.are_several() => std::mem::take(reason),
            several => {
                let of = |(index, reason): &(usize, String)| format!("{}: {reason}", self.addresses.name(*index));
                several.iter().map(of).collect::<Vec<_>>().join("; ")
            }
        }
    }

    async fn attempt(&self, request: Request, has_other: bool) -> Result<Response, AttemptError> {
        let sent = self.http.execute(request);
        let response = match has_other {
            true => timeout(ATTEMPT_TIMEOUT, sent).await.map_err(|_| AttemptError::Slow)?,
            false => sent.await,
        };
        let response = response.map_err(AttemptError::Failed)?;
        self.clock.note(response.headers());
        Ok(response)
    }

    /// Copies a request for an address. Bodies are held in memory, so there always is a copy.
    fn aimed(&self, request: &Request, index: usize) -> Option<Request> {
        let mut copy = request.try_clone()?;
        let base = self.addresses.base(index);
        let path = format!("{}{}", base.path().trim_end_matches('/'), request.url().path());
        let mut url = base.clone();
        url.set_path(&path);
        url.set_query(request.url().query());
        // Moves user and password of the address into a header.
        let mut header = self.http.request(Method::GET, url).build().ok()?;
        *copy.url_mut() = header.url().clone();
        let of_address = header.headers_mut().remove(AUTHORIZATION);
        if let Some(value) = self.credentials.as_ref().map_or(of_address, |given| given.header(&self.http, base)) {
            copy.headers_mut().insert(AUTHORIZATION, value);
        }
        Some(copy)
    }

    /// Refuses an address of several whose identity is unknown or differs from the others'.
    async fn admit(&self, index: usize) -> Result<(), String> {
        if !self.addresses.are_several() || self.addresses.is_checked(index) {
            return Ok(());
        }
        self.check(index).await
    }

    /// Checks the addresses that are due, beside the requests.
    fn check_due(self: &Arc<Self>) {
        if !self.addresses.are_several() {
            return;
        }
        for index in self.addresses.due() {
            let transport = Arc::clone(self);
            let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
            while checks.try_join_next().is_some() {}
            checks.spawn(async move {
                // The result is in the state of the address.
                let _ = transport.check(index).await;
            });
        }
    }

    /// Checks all addresses now, if there are several.
    pub(super) async fn check_several(&self) {
        if !self.addresses.are_several() {
            return;
        }
        let all = 0..self.addresses.statuses().len();
        futures::future::join_all(all.map(|index| self.check(index))).await;
    }

    /// Requests the identity of an address. The error is the reason why it cannot serve.
    async fn check(&self, index: usize) -> Result<(), String> {
        let response = match self.ask(index, "/ping").await {
            Ok(response) if !matches!(response.status().as_u16(), 502..=504) => response,
            Ok(response) => {
                let problem = format!("answered {}", response.status().as_u16());
                self.addresses.note_away(index, &problem);
                return Err(problem);
            }
            Err(problem) => {
                self.addresses.note_away(index, &problem);
                return Err(problem);
            }
        };
        let identity = ServerIdentity::of(response.headers());
        let is_first = !self.addresses.is_checked(index);
        self.addresses.note_identity(index, identity.clone())?;
        self.addresses.note_up(index);
        if is_first && SINGLE_SERVERS.contains(&identity.build.as_str()) {
            self.warn_of_separate_servers(index, &identity).await;
        }
        Ok(())
    }

    /// Warns if two addresses lead to two servers of a kind that forms no cluster: each would get a part of the data.
    async fn warn_of_separate_servers(&self, index: usize, identity: &ServerIdentity) {
        let (path, key) = match identity.version {
            Some(InfluxVersion::V1) => ("/debug/vars", "\"started\":\""),
            Some(InfluxVersion::V3) => ("/ping", "\"process_id\":\""),
            // InfluxDB 2 does not name its process; query nodes of openGemini are separate processes anyway.
            Some(InfluxVersion::V2 | InfluxVersion::OpenGemini) | None => return,
        };
        let run = async |index: usize| {
            let text = self.ask(index, path).await.ok()?.text().await.ok()?;
            text.split_once(key)?.1.split_once('"').map(|(run, _)| run.to_owned())
        };
        let Some((other, _)) = self.addresses.identities().into_iter().find(|(other, _)| *other != index) else {
            return;
        };
        if let (Some(one), Some(another)) = tokio::join!(run(index), run(other))
            && one != another
        {
            warn!(
                one = self.addresses.name(index),
                other = self.addresses.name(other),
                build = identity.build,
                "store addresses are separate servers that form no cluster: each holds only what it received"
            );
        }
    }

    async fn ask(&self, index: usize, path: &str) -> Result<Response, String> {
        let request = self.request(Method::GET, path, &[]).timeout(CHECK_TIMEOUT).build();
        let request = request.map_err(|error| innermost(&error))?;
        let aimed = self.aimed(&request, index).ok_or("not an address")?;
        self.http.execute(aimed).await.map_err(|error| AttemptError::Failed(error).reason())
    }
}

impl Credentials {
    fn of(settings: &InfluxSettings) -> Option<Self> {
        let token = settings.token.as_deref().filter(|token| !token.is_empty());
        let is_by_user = matches!(settings.version, Some(InfluxVersion::V1 | InfluxVersion::OpenGemini));
        if let Some(token) = token.filter(|_| settings.username.is_none() || !is_by_user)
            && let Ok(mut value) = HeaderValue::from_str(&format!("Token {token}"))
        {
            value.set_sensitive(true);
            return Some(Self::Token(value));
        }
        let user = settings.username.clone()?;
        Some(Self::Basic { user, password: settings.password.clone() })
    }

    fn header(&self, http: &reqwest::Client, base: &Url) -> Option<HeaderValue> {
        match self {
            Self::Token(value) => Some(value.clone()),
            Self::Basic { user, password } => {
                let mut plain = base.clone();
                let _ = (plain.set_username(""), plain.set_password(None));
                let request = http.get(plain).basic_auth(user, password.as_deref()).build().ok()?;
                request.headers().get(AUTHORIZATION).cloned()
            }
        }
    }
}

impl AttemptError {
    fn is_slow(&self) -> bool {
        match self {
            Self::Slow => true,
            Self::Failed(error) => error.is_timeout(),
        }
    }

    /// The server took the request and did not respond.
    fn is_broken_off(&self) -> bool {
        matches!(self, Self::Failed(error) if !error.is_connect() && !error.is_timeout())
    }

    fn reason(&self) -> String {
        match self {
            Self::Failed(error) if !error.is_timeout() => innermost(error),
            Self::Slow | Self::Failed(_) => "timed out".to_owned(),
        }
    }
}

/// Returns the message of the innermost cause.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut message = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message = inner.to_string();
        cause = inner.source();
    }
    message
}
