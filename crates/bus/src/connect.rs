//! Connecting, with the `nats` tool's credentials, patience at the start and endless reconnects after.

mod diagnose;

use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, ServerAddr};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::credentials::Credentials;
use crate::error::{BusError, BusErrorKind, said_once};
use crate::permissions::DeniedPermissions;
use diagnose::mistake;

/// Where NATS is and how to get in. User and password in the addresses are not shown by `Debug`.
#[derive(Clone)]
pub struct NatsSettings {
    /// Addresses, comma separated, as in `NATS_URL`.
    pub url: String,
    /// How to get in.
    pub credentials: Credentials,
    /// How long to try at the start before giving up; afterwards reconnecting never ends.
    pub patience: Duration,
}

/// A connection to NATS, and JetStream on it. Clones share it.
#[derive(Clone, Debug)]
pub struct Bus {
    pub(crate) client: Client,
    pub(crate) jetstream: async_nats::jetstream::Context,
    /// What the server denied on this connection.
    pub(crate) denied: DeniedPermissions,
    settings: NatsSettings,
    name: String,
    inbox: String,
    channel: usize,
}

/// Longest wait for an answer of JetStream before a call counts as lost and is repeated.
pub(crate) const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead connection is noticed after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Commands that async-nats takes before it has written them; who has more waits.
const CHANNEL: usize = 2_048;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

impl Bus {
    /// Connects; `name` is what the server lists this connection as. Retries until `patience` is over,
    /// because programs that start together start in any order.
    ///
    /// Replies come to `_INBOX.<name>.>`, so that an operator can let each role hear its own replies alone.
    ///
    /// # Errors
    /// [`BusErrorKind::Configuration`] at once for a wrong address or credentials, [`BusErrorKind::Transient`] when the
    /// patience is over.
    pub async fn connect(settings: &NatsSettings, name: &str) -> Result<Self, BusError> {
        Self::connect_and_tell(settings, name, warn_of).await
    }

    /// As [`Bus::connect`], for who keeps no log: that it waits is told to `tell`, once, when the first attempt has
    /// failed.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn connect_and_tell(settings: &NatsSettings, name: &str, tell: fn(&str)) -> Result<Self, BusError> {
        Self::connect_with(settings, name, &format!("_INBOX.{name}"), CHANNEL, tell).await
    }

    async fn connect_with(
        settings: &NatsSettings,
        name: &str,
        inbox: &str,
        channel: usize,
        tell: fn(&str),
    ) -> Result<Self, BusError> {
        let named = addresses(&settings.url)?;
        let addresses: Vec<_> = named.iter().cloned().map(bare).collect();
        let deadline = Instant::now() + settings.patience;
        let mut pause = FIRST_RETRY;
        let mut is_told = false;
        loop {
            let denied = DeniedPermissions::default();
            let options = options(settings, &named, name, denied.clone()).await?;
            let options = options.custom_inbox_prefix(inbox).client_capacity(channel);
            let error = match options.connect(&addresses[..]).await {
                Ok(client) => {
                    let jetstream =
                        async_nats::jetstream::ContextBuilder::new().timeout(ACK_TIMEOUT).build(client.clone());
                    let (settings, name, inbox) = (settings.clone(), name.to_owned(), inbox.to_owned());
                    return Ok(Self { client, jetstream, denied, settings, name, inbox, channel });
                }
                Err(error) => error,
            };
            let attempt = format!("connect to NATS at {}", shown(&addresses));
            if let Some(mistake) = mistake(&error) {
                return Err(BusError::caused(BusErrorKind::Configuration, format!("{attempt}: {mistake}"), error));
            }
            if Instant::now() + pause > deadline {
                let attempt = format!("{attempt} within {} s", settings.patience.as_secs_f32());
                return Err(BusError::transient(attempt, error));
            }
            if !is_told {
                let (patience_s, at) = (settings.patience.as_secs_f32(), shown(&addresses));
                tell(&format!("waiting up to {patience_s} s for NATS at {at}: {}", said_once(&error)));
                is_told = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// A new connection with the same settings: for traffic that must not queue behind this one's, or
    /// to get rid of what a long outage left behind in a client (nats.rs #1617). Its replies come to the same
    /// place.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn another(&self, name: &str) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, name, &self.inbox, CHANNEL, warn_of).await
    }

    /// As [`Bus::another`], for a [`crate::Publisher`]: when the connection is lost, async-nats holds one message of its
    /// own, which it will send before everything that the publisher must send again.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub async fn another_for_publishing(&self, name: &str) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, name, &self.inbox, 1, warn_of).await
    }

    pub(crate) async fn renewed(&self) -> Result<Self, BusError> {
        Self::connect_with(&self.settings, &self.name, &self.inbox, self.channel, warn_of).await
    }

    /// Whether the connection is up right now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// How often the connection was made; more than once means it was lost in between.
    pub fn n_connects(&self) -> u64 {
        self.client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Largest message the server takes, in bytes, headers included.
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// The version the server reports.
    pub fn server_version(&self) -> String {
        self.client.try_server_info().map_or_else(|| "unknown".to_owned(), |info| info.version)
    }

    /// Sends what is queued, while there is a connection, and closes it.
    pub async fn close(&self) {
        // Draining only asks for the end: a program that stops right after would lose its last acks.
        if self.is_connected() && !timeout(ACK_TIMEOUT, self.client.flush()).await.is_ok_and(|sent| sent.is_ok()) {
            warn!("what was queued for NATS could not be sent before the end");
        }
        if let Err(error) = self.client.drain().await {
            warn!(%error, "drain of the NATS connection failed");
        }
    }
}

fn warn_of(words: &str) {
    warn!("{words}");
}

/// async-nats ignores credentials in an address, so they are split off here.
fn addresses(url: &str) -> Result<Vec<ServerAddr>, BusError> {
    url.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse().map_err(|error: std::io::Error| {
                BusError::caused(
                    BusErrorKind::Configuration,
                    format!("read the NATS address '{}'", without_userinfo(part)),
                    error,
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .and_then(|all: Vec<ServerAddr>| {
            if all.is_empty() {
                Err(BusError::new(
                    BusErrorKind::Configuration,
                    "the NATS address is empty: expected one such as nats://127.0.0.1:4222",
                ))
            } else {
                Ok(all)
            }
        })
}

fn without_userinfo(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://{}", &address[..scheme], &address[at + 1..]),
        (None, Some(at)) => address[at + 1..].to_owned(),
        _ => address.to_owned(),
    }
}

/// An address without user and password: async-nats does not use them there, but writes them into its log.
fn bare(address: ServerAddr) -> ServerAddr {
    let mut url = address.clone().into_inner();
    // Fails only for an address without a host, which has no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    ServerAddr::from_url(url).unwrap_or(address)
}

fn shown(addresses: &[ServerAddr]) -> String {
    addresses.iter().map(|address| format!("{}:{}", address.host(), address.port())).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split(',').map(|part| without_userinfo(part.trim())).collect::<Vec<_>>().join(",");
        let Self { credentials, patience, .. } = self;
        let mut shown = f.debug_struct("NatsSettings");
        shown.field("url", &url).field("credentials", credentials).field("patience", patience).finish()
    }
}

async fn options(
    settings: &NatsSettings,
    addresses: &[ServerAddr],
    name: &str,
    denied: DeniedPermissions,
) -> Result<ConnectOptions, BusError> {
    let options = ConnectOptions::new().name(name).ping_interval(PING_INTERVAL).event_callback(move |event| {
        notice(event, &denied);
        std::future::ready(())
    });
    settings.credentials.apply(options, addresses).await
}

fn notice(event: async_nats::Event, denied: &DeniedPermissions) {
    match event {
        async_nats::Event::Connected => {
            denied.forget();
            info!("connected to NATS");
        }
        async_nats::Event::Disconnected => warn!("connection to NATS lost, reconnecting"),
        // One for every attempt to reconnect; that the connection is lost was said already.
        async_nats::Event::ClientError(error) => debug!(%error, "NATS"),
        async_nats::Event::Draining | async_nats::Event::Closed => {}
        other => {
            denied.note(&other.to_string());
            warn!(event = %other, "NATS");
        }
    }
}
