//! The top floor: checks everything, builds the parts, starts the roles, and stops them in order. The
//! only place that handles signals and spawns roles.

pub(crate) mod guard;
mod nats;
mod private;
pub(crate) mod runfile;
mod signals;
mod up;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use spindle_bus::{Bus, BusError, BusErrorKind, NatsSettings};
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::Outcome;
use crate::cli::Command;
use crate::config::{Config, StoreKind};
use crate::roles::{client, daemon, reader, writer};
use crate::web::{self, health::Health};
use signals::Signals;

/// Runs a command that goes on until it is stopped.
pub(crate) async fn run(command: Command, config: Config) -> Result<Outcome> {
    match command {
        Command::Up => up::run(config).await,
        Command::Daemon => run_daemon(config).await,
        Command::Writer => run_writer(config).await,
        Command::Reader => run_reader(config).await,
        Command::Web => run_web(config).await,
        Command::Client { once } => run_client(config, once).await,
        Command::Query(_) | Command::Dlq(_) | Command::Health | Command::Config | Command::Guard { .. } => {
            bail!("this command runs no role")
        }
    }
}

async fn run_daemon(config: Config) -> Result<Outcome> {
    prepare_data_dir(&config)?;
    let inputs = daemon::open_inputs(&config.daemon, &config.data_dir)?;
    let bus = connect(&config, "spindle-daemon", Streams::Publish).await?;
    let (grace, stop) = (config.shutdown_timeout, CancellationToken::new());
    tell_health(&config, Health { bus: bus.clone(), store: None, writer: None }, &stop).await?;
    let parts = daemon::Parts { bus, config: config.daemon, inputs, grace };
    one_role("daemon", tokio::spawn(daemon::run(parts, stop.clone())), stop, grace).await
}

async fn run_writer(config: Config) -> Result<Outcome> {
    let store = open_store(&config).await?;
    let bus = connect(&config, "spindle-writer", Streams::Own).await?;
    let parts = writer::Parts {
        bus,
        store: store.clone(),
        config: config.writer.clone(),
        retention: config.store.retention,
        readiness: writer::Readiness::default(),
    };
    let stop = CancellationToken::new();
    let health = Health { bus: parts.bus.clone(), store: Some(store.clone()), writer: Some(parts.readiness.clone()) };
    tell_health(&config, health, &stop).await?;
    let outcome =
        one_role("writer", tokio::spawn(writer::run(parts, stop.clone())), stop, config.shutdown_timeout).await;
    close_store(&store).await;
    outcome
}

async fn run_reader(config: Config) -> Result<Outcome> {
    let store = open_store(&config).await?;
    let bus = connect(&config, "spindle-reader", Streams::Unused).await?;
    let stop = CancellationToken::new();
    tell_health(&config, Health { bus: bus.clone(), store: Some(store.clone()), writer: None }, &stop).await?;
    let parts = reader::Parts { bus, store, subject: config.reader.subject.clone() };
    one_role("reader", tokio::spawn(reader::run(parts, stop.clone())), stop, config.shutdown_timeout).await
}

async fn run_web(config: Config) -> Result<Outcome> {
    let token = config.http_token_of_data()?;
    let listener = bind(&config).await?;
    let store = open_store(&config).await?;
    let bus = connect(&config, "spindle-web", Streams::Unused).await?;
    let stop = CancellationToken::new();
    let health = Health { bus, store: Some(store.clone()), writer: None };
    let parts = web::Parts { store, health, token };
    one_role("web", tokio::spawn(web::run(parts, listener, stop.clone())), stop, config.shutdown_timeout).await
}

async fn run_client(config: Config, once: bool) -> Result<Outcome> {
    let bus = connect(&config, "spindle-client", Streams::Unused).await?;
    let stop = CancellationToken::new();
    tell_health(&config, Health { bus: bus.clone(), store: None, writer: None }, &stop).await?;
    let parts = client_parts(&config, bus);
    one_role("client", tokio::spawn(client::run(parts, once, stop.clone())), stop, config.shutdown_timeout).await
}

fn client_parts(config: &Config, bus: Bus) -> client::Parts {
    client::Parts {
        bus,
        subject: config.reader.subject.clone(),
        config: config.client.clone(),
        log: config.client_log(),
        terminal: Box::new(std::io::stdout()),
    }
}

/// Tells supervisors how a role that runs alone is, if it was given an address for that.
async fn tell_health(config: &Config, health: Health, stop: &CancellationToken) -> Result<()> {
    let Some(address) = config.health.listen else { return Ok(()) };
    let token = config.http_token()?;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for health checks: choose another address with SPINDLE_HEALTH")
    })?;
    tokio::spawn(web::health::run(health, token, listener, stop.clone()));
    Ok(())
}

/// Waits for a role's end, or for a signal and then its orderly end.
async fn one_role(
    name: &'static str,
    mut role: JoinHandle<Result<()>>,
    stop: CancellationToken,
    grace: Duration,
) -> Result<Outcome> {
    let mut signals = Signals::new()?;
    tokio::select! {
        ended = &mut role => return finished(name, ended),
        () = signals.next() => info!("stopping in order; once more stops at once"),
    }
    stop.cancel();
    tokio::select! {
        ended = timeout(grace + GRACE_MARGIN, &mut role) => match ended {
            Ok(ended) => finished(name, ended),
            Err(_) => bail!("{name} did not stop within {} s", grace.as_secs_f32()),
        },
        () = signals.next() => Ok(Outcome::Forced),
    }
}

/// Roles keep to the grace period themselves; this is for what they cannot see.
const GRACE_MARGIN: Duration = Duration::from_secs(2);

fn finished(name: &str, ended: Result<Result<()>, tokio::task::JoinError>) -> Result<Outcome> {
    match ended {
        Ok(outcome) => outcome.map(|()| Outcome::Good),
        Err(crash) => bail!("{name} crashed: {crash}"),
    }
}

/// Creates the data directory and makes sure that it can be written, with room to work.
fn prepare_data_dir(config: &Config) -> Result<()> {
    let shown = config.data_dir.display();
    private::create_dir(&config.data_dir)
        .with_context(|| format!("cannot create the data directory {shown}: choose another with --data-dir"))?;
    write_and_remove(&config.data_dir.join(".write-test"))
        .with_context(|| format!("cannot write into the data directory {shown}: free space, mend its permissions, or choose another with --data-dir"))?;
    let free_bytes = free_bytes(&config.data_dir)?;
    ensure!(
        free_bytes >= LEAST_FREE_BYTES,
        "the disk of the data directory {shown} is full ({} MiB free, {} needed): free space or choose another with --data-dir",
        free_bytes >> 20,
        LEAST_FREE_BYTES >> 20
    );
    Ok(())
}

/// Roles that start side by side in one directory may remove the file for each other.
fn write_and_remove(probe: &Path) -> std::io::Result<()> {
    std::fs::write(probe, [0; 4096])?;
    match std::fs::remove_file(probe) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => Err(fault),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What an ordinary user may still write there.
fn free_bytes(directory: &Path) -> Result<u64> {
    let room = rustix::fs::statvfs(directory)
        .with_context(|| format!("cannot look at the disk of {}", directory.display()))?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Less room than this is gone within minutes.
const LEAST_FREE_BYTES: u64 = 64 << 20;

async fn open_store(config: &Config) -> Result<Store> {
    if config.store_kind() == StoreKind::Influxdb {
        return open_influx(config).await;
    }
    prepare_data_dir(config)?;
    Ok(Store::open_embedded(&config.store_path()).await?)
}

async fn open_influx(config: &Config) -> Result<Store> {
    let store = Store::open_influx(config.influx_settings()?)?;
    // A server that is away, or that an operator must mend, is waited for: JetStream keeps everything.
    if let Err(fault) = store.check().await {
        warn!("{fault}; going on, and trying again");
    }
    Ok(store)
}

async fn close_store(store: &Store) {
    if let Err(fault) = store.close().await {
        error!(%fault, "the store could not be closed cleanly; nothing is lost, it mends itself when opened");
    }
}

async fn bind(config: &Config) -> Result<TcpListener> {
    let address = config.http.listen;
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for HTTP: choose another address with --http, or port 0 for any free one")
    })
}

/// What a role does with the streams: none needs more rights than its work.
#[derive(Clone, Copy)]
enum Streams {
    /// Makes them where they are missing.
    Own,
    /// Publishes to them, and makes them if it may.
    Publish,
    /// Never touches them.
    Unused,
}

/// Connects to the NATS that was named, or to that of the running system, and makes sure of the streams.
async fn connect(config: &Config, name: &str, streams: Streams) -> Result<Bus> {
    connect_to(config, &runfile::nats_settings(config)?, name, streams).await
}

async fn connect_to(config: &Config, settings: &NatsSettings, name: &str, streams: Streams) -> Result<Bus> {
    let bus = match Bus::connect(settings, name).await {
        Err(fault) if is_passing(&fault) => return Err(fault).context("start nats-server, or correct NATS_URL"),
        outcome => outcome?,
    };
    let deadline = Instant::now() + config.nats.connect_timeout;
    let limits = config.nats.limits();
    let mut is_told = false;
    loop {
        let ensured = match streams {
            Streams::Own => bus.ensure_streams(limits).await,
            Streams::Publish => bus.ensure_publishing(limits).await,
            Streams::Unused => Ok(()),
        };
        match ensured {
            Ok(()) => return Ok(bus),
            Err(fault) if is_passing(&fault) && Instant::now() < deadline => {
                if !is_told {
                    let (patience_s, why) = (config.nats.connect_timeout.as_secs_f32(), anyhow::Error::from(fault));
                    warn!("waiting up to {patience_s} s for JetStream: {why:#}");
                    is_told = true;
                }
                sleep(Duration::from_millis(100)).await;
            }
            Err(fault) => {
                return Err(anyhow::Error::from(fault)
                    .context("JetStream is not usable: is it switched on (nats-server -js), and is there room?"));
            }
        }
    }
}

fn is_passing(fault: &BusError) -> bool {
    match fault.kind() {
        BusErrorKind::Transient | BusErrorKind::StreamFull => true,
        BusErrorKind::Configuration | BusErrorKind::Permanent => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_start_side_by_side_can_all_write() {
        let folder = tempfile::tempdir().unwrap();
        let probe = folder.path().join("probe");
        let probe_often = || (0..2_000).try_for_each(|_| write_and_remove(&probe));
        std::thread::scope(|scope| {
            let roles = [(); 4].map(|()| scope.spawn(probe_often));
            for role in roles {
                role.join().unwrap().unwrap();
            }
        });
        assert!(write_and_remove(&folder.path().join("no/such/folder")).is_err());
    }
}
