//! Connections to NATS: credentials, retries up to a timeout at the start, endless reconnects after it.

mod diagnose;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, ServerAddr};
use spindle_core::backoff::Backoff;
use spindle_core::log_limit::LogLimit;
use spindle_core::redact::without_userinfo;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::credentials::Credentials;
use crate::error::{BusError, BusErrorKind, chain_message};
use crate::permissions::DeniedPermissions;
use diagnose::diagnose;

/// Address of NATS and credentials for it. `Debug` redacts user and password in the addresses.
#[derive(Clone)]
pub struct NatsSettings {
    /// Addresses, comma separated, as in `NATS_URL`.
    pub url: String,
    /// Credentials, which take precedence over those in the addresses.
    pub credentials: Credentials,
    /// Time limit for the first connection. Reconnecting afterwards never ends.
    pub connect_timeout: Duration,
}

/// A connection to NATS, and JetStream on it. Clones share it.
#[derive(Clone, Debug)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) jetstream: async_nats::jetstream::Context,
    /// Permissions that the server denied on this connection.
    pub(crate) denied: DeniedPermissions,
    settings: NatsSettings,
    name: String,
    pub(crate) inbox: String,
    queues: Queues,
}

/// Lengths of the queues inside async-nats. Both count messages, of up to `max_payload` bytes each.
#[derive(Clone, Copy, Debug)]
struct Queues {
    /// Commands on their way out; senders wait when it is full.
    commands: usize,
    /// Messages of one subscription; when it is full, async-nats drops them and reports a slow consumer.
    messages: usize,
}

/// Time limit for a reply of JetStream; afterwards a call counts as lost and is repeated.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between pings; three unanswered ones mean that the connection is dead.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// For most connections. A pull asks for at most 10,000 messages, and for bounded bytes.
const QUEUES: Queues = Queues { commands: 2_048, messages: 12_000 };
/// For a connection that publishes.
const PUBLISHING_QUEUES: Queues = Queues { commands: 1, messages: 1_024 };
/// For a connection that answers. Its requests are taken at once, but hundreds of small ones fit into one read of the
/// socket, which async-nats queues before anything else runs.
const ANSWERING_QUEUES: Queues = Queues { commands: 32, messages: 1_024 };
/// Minimum interval between log lines about dropped messages.
const DROPPED_LOG_INTERVAL: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// Random share of a [`Backoff`] for its full pause: one process opens few connections.
pub(crate) const NO_JITTER: f64 = 1.0;

impl Bus {
    /// Connects under `name`, which the server lists. Retries until `connect_timeout` expires, because programs that
    /// start together start in any order.
    ///
    /// Replies come to `_INBOX.<name>.>`, so that an operator can restrict each role to its own replies.
    ///
    /// # Errors
    /// [`BusErrorKind::Configuration`] at once for a wrong address or credentials, [`BusErrorKind::Transient`] when
    /// `connect_timeout` expires.
    pub async fn connect(settings: &NatsSettings, name: &str) -> Result<Self, BusError> {
        Self::connect_with_notice(settings, name, log_notice).await
    }

    /// Connects like [`Bus::connect`], for programs that keep no log: calls `notice` once, after the first failed
    /// attempt, with a message that it is waiting.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn connect_with_notice(settings: &NatsSettings, name: &str, notice: fn(&str)) -> Result<Self, BusError> {
        Self::connect_with(settings, name, &format!("_INBOX.{name}"), QUEUES, notice).await
    }

    async fn connect_with(
        settings: &NatsSettings,
        name: &str,
        inbox: &str,
        queues: Queues,
        notice: fn(&str),
    ) -> Result<Self, BusError> {
        let with_userinfo = parse_addresses(&settings.url)?;
        let addresses: Vec<_> = with_userinfo.iter().cloned().map(strip_userinfo).collect();
        let (limit_s, at) = (settings.connect_timeout.as_secs_f32(), host_list(&addresses));
        let deadline = Instant::now() + settings.connect_timeout;
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        let mut is_waiting = false;
        loop {
            let denied = DeniedPermissions::default();
            let options = options(settings, &with_userinfo, name, denied.clone()).await?;
            let options = options
                .custom_inbox_prefix(inbox)
                .client_capacity(queues.commands)
                .subscription_capacity(queues.messages);
            let error = match options.connect(&addresses[..]).await {
                Ok(client) => {
                    let jetstream =
                        async_nats::jetstream::ContextBuilder::new().timeout(ACK_TIMEOUT).build(client.clone());
                    let (settings, name, inbox) = (settings.clone(), name.to_owned(), inbox.to_owned());
                    return Ok(Self { client, jetstream, denied, settings, name, inbox, queues });
                }
                Err(error) => error,
            };
            let attempt = format!("connect to NATS at {at}");
            if let Some(problem) = diagnose(&error) {
                return Err(BusError::caused(BusErrorKind::Configuration, format!("{attempt}: {problem}"), error));
            }
            let pause = backoff.next(NO_JITTER);
            if Instant::now() + pause > deadline {
                return Err(BusError::transient(format!("{attempt} within {limit_s} s"), error));
            }
            if !is_waiting {
                notice(&format!("waiting up to {limit_s} s for NATS at {at}: {}", chain_message(&error)));
                is_waiting = true;
            }
            sleep(pause).await;
        }
    }

    /// Opens a new connection with the same settings: for traffic that must not queue behind this connection's, or to
    /// discard what a long outage left behind in a client (nats.rs #1617). Replies use the same inbox.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn another(&self, name: &str) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, name, &self.inbox, QUEUES, log_notice).await
    }

    /// Opens a new connection for a [`crate::Publisher`], with room for one command. After a lost connection async-nats
    /// first sends the commands still in its channel, so with one only a single message can overtake those that the
    /// publisher sends again.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn another_for_publishing(&self, name: &str) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, name, &self.inbox, PUBLISHING_QUEUES, log_notice).await
    }

    /// Opens a new connection for [`crate::serve`], whose queues hold few requests and answers.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn another_for_answering(&self, name: &str) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, name, &self.inbox, ANSWERING_QUEUES, log_notice).await
    }

    /// Opens a replacement for this connection.
    pub(crate) async fn replacement(&self) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, &self.name, &self.inbox, self.queues, log_notice).await
    }

    /// Returns `true` if the connection is up right now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Returns the number of times the connection was made; more than one means it was lost in between.
    pub fn n_connects(&self) -> u64 {
        self.client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns the size of the largest message the server takes, in bytes, headers included.
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Flushes queued messages if the connection is up, and closes it.
    pub async fn close(&self) {
        // Draining only requests the end: a program that exits right after it would lose its last acks.
        if self.is_connected() && !timeout(ACK_TIMEOUT, self.client.flush()).await.is_ok_and(|sent| sent.is_ok()) {
            warn!(connection = self.name, "queued messages could not be sent to NATS before closing");
        }
        if let Err(error) = self.client.drain().await {
            warn!(connection = self.name, %error, "failed to drain the NATS connection");
        }
    }
}

fn log_notice(message: &str) {
    warn!("{message}");
}

/// Parses the addresses with their user information, because async-nats ignores credentials in an address.
fn parse_addresses(url: &str) -> Result<Vec<ServerAddr>, BusError> {
    let configuration = BusErrorKind::Configuration;
    let mut addresses = Vec::new();
    for part in url.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        addresses.push(part.parse().map_err(|error: std::io::Error| {
            // All addresses, since a comma in a password splits one address into two.
            BusError::caused(configuration, format!("parse the NATS address '{}'", without_userinfo(url)), error)
        })?);
    }
    if addresses.is_empty() {
        let message = "the NATS address is empty: expected one such as nats://127.0.0.1:4222";
        return Err(BusError::new(configuration, message));
    }
    Ok(addresses)
}

/// Removes user and password from an address: async-nats does not use them there, but writes them into its log.
fn strip_userinfo(address: ServerAddr) -> ServerAddr {
    let mut url = address.clone().into_inner();
    // Fails only for an address without a host, which has no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    ServerAddr::from_url(url).unwrap_or(address)
}

fn host_list(addresses: &[ServerAddr]) -> String {
    addresses.iter().map(|address| format!("{}:{}", address.host(), address.port())).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, credentials, connect_timeout } = self;
        f.debug_struct("NatsSettings")
            .field("url", &without_userinfo(url))
            .field("credentials", credentials)
            .field("connect_timeout", connect_timeout)
            .finish()
    }
}

async fn options(
    settings: &NatsSettings,
    addresses: &[ServerAddr],
    name: &str,
    denied: DeniedPermissions,
) -> Result<ConnectOptions, BusError> {
    let (connection, dropped) = (name.to_owned(), Mutex::new(LogLimit::new(1, DROPPED_LOG_INTERVAL)));
    let options = ConnectOptions::new().name(name).ping_interval(PING_INTERVAL).event_callback(move |event| {
        match event {
            // One for every message.
            async_nats::Event::SlowConsumer(_) => {
                let allowed = dropped.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now());
                if let Some(n_suppressed) = allowed {
                    warn!(connection, n_suppressed, "more messages than this process can take, some dropped");
                }
            }
            event => on_event(event, &connection, &denied),
        }
        std::future::ready(())
    });
    settings.credentials.apply(options, addresses).await
}

/// Logs an event of the connection named `connection`, and notes denied permissions.
fn on_event(event: async_nats::Event, connection: &str, denied: &DeniedPermissions) {
    match event {
        async_nats::Event::Connected => {
            denied.forget();
            info!(connection, "connected to NATS");
        }
        async_nats::Event::Disconnected => warn!(connection, "connection to NATS lost, reconnecting"),
        // One for every attempt to reconnect; the loss itself is logged already.
        async_nats::Event::ClientError(error) => debug!(connection, %error, "NATS client error"),
        async_nats::Event::Draining | async_nats::Event::Closed => {}
        other => {
            denied.note(&other.to_string());
            warn!(connection, event = %other, "NATS event");
        }
    }
}
