//! `spindle up`: every role in one process, the embedded store, and a nats-server of our own unless one
//! is named.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use spindle_bus::Bus;
use spindle_core::redact::without_userinfo;
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::nats::NatsChild;
use super::runfile::{self, RunFile};
use super::signals::Signals;
use super::{Streams, bind, client_parts, close_store, connect_to, open_store};
use crate::Outcome;
use crate::config::{Config, Secret};
use crate::roles::{client, daemon, reader, writer};
use crate::web::{self, health::Health};

/// The share of the grace period that the daemon may spend on waiting for its last acks; the others need
/// the rest.
const DAEMON_SHARE: f32 = 0.6;

/// Everything that was checked and built before anything runs.
struct Built {
    store: Store,
    listener: TcpListener,
    http_token: Option<Secret>,
    inputs: daemon::Inputs,
    nats: Option<NatsChild>,
    bus: Bus,
    /// Where NATS is, as the other commands may know it.
    url: String,
    /// Held while we live: one system in one data directory.
    _lock: File,
}

pub(super) async fn run(config: Config) -> Result<Outcome> {
    let mut signals = Signals::new()?;
    let built = tokio::select! {
        built = build(&config) => built?,
        () = signals.next() => return Ok(Outcome::Forced),
    };
    let http = built.listener.local_addr()?;
    let run = RunFile {
        pid: std::process::id(),
        nats: built.url.clone(),
        nats_is_ours: built.nats.is_some(),
        http: format!("http://{http}"),
    };
    let system = tokio::select! {
        system = System::start(&config, built) => system?,
        () = signals.next() => return Ok(Outcome::Forced),
    };
    runfile::write(&config.data_dir, &run)?;
    announce(&config, &run);
    let outcome = system.until_stopped(signals, config.shutdown_timeout).await;
    runfile::remove(&config.data_dir);
    outcome
}

/// The cheap checks first, so that a mistake is said at once.
async fn build(config: &Config) -> Result<Built> {
    let http_token = config.http_token_of_data()?;
    super::prepare_data_dir(config)?;
    let store = open_store(config).await?;
    let lock = lock(&config.data_dir)?;
    let (daemon_config, data_dir) = (config.daemon.clone(), config.data_dir.clone());
    // Opening a pipe waits for whoever fills it; Ctrl-C must be heard meanwhile.
    let inputs = tokio::task::spawn_blocking(move || daemon::open_inputs(&daemon_config, &data_dir)).await??;
    let listener = bind(config).await?;
    let (nats, settings, url) = match &config.nats.url {
        Some(url) => (None, config.nats_settings(url), without_userinfo(url)),
        None => {
            let nats = NatsChild::start(config).await?;
            let url = nats.url();
            (Some(nats), runfile::ours(config, &url), url)
        }
    };
    let bus = connect_to(config, &settings, "spindle-up", Streams::Own).await?;
    Ok(Built { store, listener, http_token, inputs, nats, bus, url, _lock: lock })
}

fn lock(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("spindle.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `spindle up` already runs in {}: stop it, or choose another directory with --data-dir",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn announce(config: &Config, run: &RunFile) {
    let name = std::env::current_exe()
        .ok()
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_default();
    let data_dir = if config.data_dir == Path::new("spindle-data") {
        String::new()
    } else {
        format!(" --data-dir '{}'", config.data_dir.display())
    };
    info!("spindle is up");
    info!("  page and HTTP    {}", run.http);
    info!("  NATS             {}", without_userinfo(&run.nats));
    info!("  data             {}", config.data_dir.display());
    info!("  critical events  {}", config.client_log().display());
    info!("  try              {name} query devices{data_dir}");
    info!("  stop             Ctrl-C");
}

/// The roles at work, in the order in which they are stopped.
struct System {
    /// Consumer first: the daemon.
    intake: CancellationToken,
    /// Then the writer, which finishes what is in hand.
    storing: CancellationToken,
    /// Then those who answer.
    answering: CancellationToken,
    /// NATS last.
    bus_end: CancellationToken,
    roles: JoinSet<(&'static str, Result<()>)>,
    nats: Option<tokio::task::JoinHandle<()>>,
    store: Store,
    bus: Bus,
    _lock: File,
}

impl System {
    async fn start(config: &Config, built: Built) -> Result<Self> {
        let Built { store, listener, http_token, inputs, nats, bus, _lock, .. } = built;
        let bus_end = CancellationToken::new();
        let nats = nats.map(|nats| tokio::spawn(nats.keep_alive(bus_end.clone())));
        let mut system = Self {
            intake: CancellationToken::new(),
            storing: CancellationToken::new(),
            answering: CancellationToken::new(),
            bus_end,
            roles: JoinSet::new(),
            nats,
            store,
            bus,
            _lock,
        };
        system.spawn_roles(config, listener, http_token, inputs).await?;
        Ok(system)
    }

    /// Each role has a connection of its own, so that no traffic waits behind another's.
    async fn spawn_roles(
        &mut self,
        config: &Config,
        listener: TcpListener,
        http_token: Option<Secret>,
        inputs: daemon::Inputs,
    ) -> Result<()> {
        let readiness = writer::Readiness::default();
        let parts = writer::Parts {
            bus: self.bus.another("spindle-writer").await?,
            store: self.store.clone(),
            config: config.writer.clone(),
            retention: config.store.retention,
            readiness: readiness.clone(),
        };
        self.spawn("writer", writer::run(parts, self.storing.clone()));
        let parts = reader::Parts {
            bus: self.bus.another("spindle-reader").await?,
            store: self.store.clone(),
            subject: config.reader.subject.clone(),
        };
        self.spawn("reader", reader::run(parts, self.answering.clone()));
        let health = Health { bus: self.bus.clone(), store: Some(self.store.clone()), writer: Some(readiness) };
        let parts = web::Parts { store: self.store.clone(), health, token: http_token };
        self.spawn("web", web::run(parts, listener, self.answering.clone()));
        let parts = client_parts(config, self.bus.another("spindle-client").await?);
        self.spawn("client", client::run(parts, false, self.answering.clone()));
        let parts = daemon::Parts {
            bus: self.bus.clone(),
            config: config.daemon.clone(),
            inputs,
            grace: config.shutdown_timeout.mul_f32(DAEMON_SHARE),
        };
        self.spawn("daemon", daemon::run(parts, self.intake.clone()));
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, role: impl Future<Output = Result<()>> + Send + 'static) {
        self.roles.spawn(async move { (name, role.await) });
    }

    /// Waits for a signal, or for a role that fails, and stops everything in order. A second signal ends
    /// at once.
    async fn until_stopped(mut self, mut signals: Signals, grace: Duration) -> Result<Outcome> {
        let failure = tokio::select! {
            () = signals.next() => None,
            ended = self.roles.join_next() => Some(failure(ended)),
        };
        match &failure {
            None => info!("stopping in order; Ctrl-C again stops at once"),
            Some(failure) => error!("{failure:#}: stopping everything"),
        }
        tokio::select! {
            () = self.stop(grace) => {}
            () = signals.next() => return Ok(Outcome::Forced),
        }
        match failure {
            None => Ok(Outcome::Good),
            Some(failure) => Err(failure),
        }
    }

    async fn stop(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        for (stage, names) in [
            (&self.intake, &["daemon"][..]),
            (&self.storing, &["writer"]),
            (&self.answering, &["reader", "web", "client"]),
        ] {
            stage.cancel();
            let mut awaited: Vec<_> = names.to_vec();
            while !awaited.is_empty() && !self.roles.is_empty() {
                match timeout_at(deadline, self.roles.join_next()).await {
                    Ok(Some(Ok((name, outcome)))) => {
                        awaited.retain(|awaited| *awaited != name);
                        if let Err(fault) = outcome {
                            error!(role = name, fault = format!("{fault:#}"), "role ended with an error");
                        }
                    }
                    Ok(Some(Err(crash))) => error!(%crash, "role crashed"),
                    Ok(None) => break,
                    Err(_) => {
                        warn!(roles = ?awaited, grace_s = grace.as_secs_f32(), "did not stop in time: leaving them");
                        break;
                    }
                }
            }
        }
        self.roles.abort_all();
        close_store(&self.store).await;
        self.bus.close().await;
        self.bus_end.cancel();
        if let Some(nats) = self.nats.take() {
            let _ = nats.await;
        }
        info!("stopped");
    }
}

fn failure(ended: Option<Result<(&'static str, Result<()>), tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(fault)))) => fault.context(format!("{name} failed")),
        Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} ended by itself"),
        Some(Err(crash)) => anyhow::anyhow!("a role crashed: {crash}"),
        None => anyhow::anyhow!("no role is at work"),
    }
}
