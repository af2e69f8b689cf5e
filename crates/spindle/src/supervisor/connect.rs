//! The outer world of a role: connects to NATS and waits for its streams, opens the store, binds HTTP.

use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::{Bus, BusError, NatsSettings};
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

use crate::config::{Config, StoreKind};
use crate::data_dir::{self, run_file};
use crate::logging::chain;

/// Longest wait for the store at the start: one that hangs must not hold up the health probes.
const STORE_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to create the streams.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Use that a role makes of the streams: none needs more permissions than its work.
#[derive(Clone, Copy)]
pub(super) enum StreamUse {
    /// Creates missing ones.
    Own,
    /// Publishes to them, and creates missing ones if permitted.
    Publish,
    /// Never touches them.
    Unused,
}

/// Connects to the configured NATS, or to that of the running system, and makes sure that the streams exist.
pub(super) async fn connect(config: &Config, name: &str, streams: StreamUse) -> Result<Bus> {
    connect_to(config, &run_file::nats_settings(config)?, name, streams).await
}

pub(super) async fn connect_to(
    config: &Config,
    settings: &NatsSettings,
    name: &str,
    streams: StreamUse,
) -> Result<Bus> {
    let bus = match Bus::connect(settings, name).await {
        Err(error) if error.is_transient() => return Err(error).context("start nats-server, or correct NATS_URL"),
        outcome => outcome?,
    };
    let timeout = config.nats.connect_timeout;
    let deadline = Instant::now() + timeout;
    let mut is_logged = false;
    loop {
        match ensure_streams(&bus, config, streams).await {
            Ok(()) => return Ok(bus),
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                if !std::mem::replace(&mut is_logged, true) {
                    let error = chain(error);
                    warn!(error, timeout_s = timeout.as_secs_f32(), "JetStream not ready, waiting");
                }
                sleep(RETRY_PAUSE).await;
            }
            Err(error) if error.is_transient() => {
                return Err(anyhow::Error::from(error).context(
                    "JetStream is not usable: is it enabled (nats-server -js), and does it have enough space?",
                ));
            }
            // Its message names the stream and the remedy.
            Err(error) => return Err(error.into()),
        }
    }
}

async fn ensure_streams(bus: &Bus, config: &Config, streams: StreamUse) -> Result<(), BusError> {
    match streams {
        StreamUse::Own => bus.ensure_streams(config.stream_limits()).await,
        StreamUse::Publish => bus.ensure_publishing(config.stream_limits()).await,
        StreamUse::Unused => Ok(()),
    }
}

pub(super) async fn open_store(config: &Config) -> Result<Store> {
    if config.store_kind() == StoreKind::Influxdb {
        return open_influx(config).await;
    }
    data_dir::prepare(&config.data_dir)?;
    let store = Store::open_embedded(&config.store_path()).await?.with_retention(config.store.retention);
    data_dir::make_private(&config.data_dir);
    Ok(store)
}

async fn open_influx(config: &Config) -> Result<Store> {
    let store = Store::open_influx(config.influx_settings()?)?;
    // Does not fail on a server that is away or that an operator must fix: JetStream keeps everything meanwhile.
    match timeout(STORE_CHECK_TIMEOUT, store.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(error = chain(error), "store unavailable, retrying"),
        Err(_) => warn!(timeout_s = STORE_CHECK_TIMEOUT.as_secs(), "store does not respond, retrying"),
    }
    Ok(store)
}

pub(super) async fn close_store(store: &Store) {
    if let Err(error) = store.close().await {
        let error = chain(error);
        error!(error, "store not closed cleanly; nothing is lost, it recovers when opened");
    }
}

pub(super) async fn bind(config: &Config) -> Result<TcpListener> {
    let address = config.http.listen;
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for HTTP: choose another address with --http, or port 0 for any free one")
    })
}
