//! `spindle up`: every role in one process, the embedded store, and a nats-server of our own unless one is configured.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use spindle_bus::Bus;
use spindle_core::redact::without_userinfo;
use spindle_store::Store;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::connect::{StreamUse, bind, close_store, connect_to, open_store};
use super::nats::NatsChild;
use super::parts::{self, role_span};
use super::signals::Signals;
use crate::config::{Config, Secret, StoreKind};
use crate::data_dir;
use crate::data_dir::run_file::{self, RunFile};
use crate::logging;
use crate::outcome::Outcome;
use crate::roles::{client, daemon, detector, reader, writer};
use crate::web::{self, probes::Dependencies};

/// Share of the shutdown timeout that the daemon may spend waiting for its last acks; the others need the rest.
const DAEMON_SHARE: f32 = 0.6;
/// The same of the detector, for its last events.
const DETECTOR_SHARE: f32 = 0.2;

/// Longest wait of the start for a store that does not respond; the writer retries anyway.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that is checked and built before anything runs.
struct Built {
    store: Store,
    listener: TcpListener,
    http_token: Option<Secret>,
    inputs: daemon::Inputs,
    nats: Option<NatsChild>,
    bus: Bus,
    /// Address of NATS for the run file.
    url: String,
    /// Held until we end: one system in one data directory.
    _lock: File,
    /// The same for the state of the detector, unless it is left out.
    _detector_lock: Option<File>,
}

pub(super) async fn run(config: Config) -> Result<Outcome> {
    let mut signals = Signals::new()?;
    let built = tokio::select! {
        built = build(&config) => built?,
        () = signals.next() => return Ok(Outcome::Forced),
    };
    let http = built.listener.local_addr()?;
    let (place, nothing_stored) = place_of_data(&config, &built.store).await;
    let run = RunFile {
        store: place,
        pid: std::process::id(),
        nats: built.url.clone(),
        nats_is_ours: built.nats.is_some(),
        http: format!("http://{http}"),
    };
    let system = tokio::select! {
        system = System::start(&config, built) => system?,
        () = signals.next() => return Ok(Outcome::Forced),
    };
    run_file::write(&config.data_dir, &run)?;
    announce(&config, &run, nothing_stored);
    let outcome = system.until_stopped(signals, config.shutdown_timeout).await;
    run_file::remove(&config.data_dir);
    outcome
}

/// Runs the cheap checks first, so that a mistake is reported at once.
async fn build(config: &Config) -> Result<Built> {
    let http_token = config.http_token_of_data()?;
    data_dir::prepare(&config.data_dir)?;
    let store = open_store(config).await?;
    let lock = data_dir::lock(&config.data_dir)?;
    let detector_lock = config.detector.enabled.then(|| data_dir::lock_detector(&config.data_dir)).transpose()?;
    data_dir::make_private(&config.data_dir);
    let (daemon_config, data_dir, past) = (config.daemon.clone(), config.data_dir.clone(), config.longest_past());
    // Opening a pipe blocks until its writer opens it; Ctrl-C must work meanwhile.
    let inputs = tokio::task::spawn_blocking(move || daemon::open_inputs(&daemon_config, &data_dir, past)).await??;
    let listener = bind(config).await?;
    let (nats, settings, url) = match &config.nats.url {
        Some(url) => (None, config.nats_settings(url), without_userinfo(url)),
        None => {
            let nats = NatsChild::start(config).await?;
            let url = nats.url();
            (Some(nats), run_file::own_nats_settings(config, &url), url)
        }
    };
    let bus = connect_to(config, &settings, "spindle-up", StreamUse::Own).await?;
    Ok(Built { store, listener, http_token, inputs, nats, bus, url, _lock: lock, _detector_lock: detector_lock })
}

/// Returns the place of the data, and the reason if nothing can be stored there yet.
async fn place_of_data(config: &Config, store: &Store) -> (String, Option<String>) {
    if config.store_kind() == StoreKind::Embedded {
        return (format!("embedded, {}", config.store_path().display()), None);
    }
    let (address, database) = (without_userinfo(&config.store.influxdb_host), &config.store.influxdb_bucket);
    let place = |version| format!("InfluxDB{version} at {address}, database {database}");
    match timeout(STORE_TIMEOUT, store.version()).await {
        Ok(Ok(version)) => (place(version.map(|version| format!(" {version}")).unwrap_or_default()), None),
        Ok(Err(error)) => (place(String::new()), Some(logging::chain(error))),
        Err(_) => (place(String::new()), Some(format!("no response within {} s", STORE_TIMEOUT.as_secs()))),
    }
}

fn announce(config: &Config, run: &RunFile, nothing_stored: Option<String>) {
    // The name that the user typed: the file itself may have been replaced meanwhile.
    let typed = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let name = typed.file_name().unwrap_or_default().to_string_lossy();
    let data_dir = if config.data_dir == Path::new("spindle-data") {
        String::new()
    } else {
        format!(" --data-dir '{}'", config.data_dir.display())
    };
    info!("spindle is up");
    info!("  page and HTTP    {}", run.http);
    info!("  NATS             {}", without_userinfo(&run.nats));
    info!("  store            {}", run.store);
    info!("  data             {}", config.data_dir.display());
    info!("  critical events  {}", config.client_log().display());
    info!("  try              {name} query devices{data_dir}");
    info!("  stop             Ctrl-C");
    if let Some(error) = nothing_stored {
        warn!(
            error,
            store = run.store,
            "nothing is stored yet, retrying; messages wait in NATS, /readyz shows the state"
        );
    }
}

/// The running roles, in the order in which they are stopped.
struct System {
    /// First the daemon.
    intake: CancellationToken,
    /// Then the detector, whose last events the writer stores.
    judging: CancellationToken,
    /// Then the writer, which commits what is in flight.
    storing: CancellationToken,
    /// Then the reader, the web and the client.
    answering: CancellationToken,
    /// NATS last.
    bus_end: CancellationToken,
    roles: JoinSet<(&'static str, Result<()>)>,
    /// Names of the roles that have not ended.
    running: BTreeSet<&'static str>,
    nats: Option<JoinHandle<()>>,
    store: Store,
    bus: Bus,
    _lock: File,
    _detector_lock: Option<File>,
}

impl System {
    async fn start(config: &Config, built: Built) -> Result<Self> {
        let Built { store, listener, http_token, inputs, nats, bus, _lock, _detector_lock, .. } = built;
        let bus_end = CancellationToken::new();
        let nats = nats.map(|nats| tokio::spawn(nats.keep_alive(bus_end.clone()).instrument(role_span("nats-server"))));
        let mut system = Self {
            intake: CancellationToken::new(),
            judging: CancellationToken::new(),
            storing: CancellationToken::new(),
            answering: CancellationToken::new(),
            bus_end,
            roles: JoinSet::new(),
            running: BTreeSet::new(),
            nats,
            store,
            bus,
            _lock,
            _detector_lock,
        };
        system.spawn_roles(config, listener, http_token, inputs).await?;
        Ok(system)
    }

    /// Spawns the roles, each with its own connection, so that no traffic queues behind another role's.
    async fn spawn_roles(
        &mut self,
        config: &Config,
        listener: TcpListener,
        http_token: Option<Secret>,
        inputs: daemon::Inputs,
    ) -> Result<()> {
        let parts = parts::writer(config, self.bus.another("spindle-writer").await?, self.store.clone());
        let readiness = parts.readiness.clone();
        self.spawn("writer", writer::run(parts, self.storing.clone()));
        let parts = parts::reader(config, self.bus.clone(), self.store.clone());
        self.spawn("reader", reader::run(parts, self.answering.clone()));
        let detector = self.spawn_detector(config).await?;
        let publishing = daemon::PublishReadiness::default();
        let dependencies = Dependencies {
            bus: self.bus.clone(),
            store: Some(self.store.clone()),
            writer: Some(readiness),
            daemon: Some(publishing.clone()),
            detector,
        };
        let grafana = config.http.grafana_url.clone();
        let parts = web::Parts { store: self.store.clone(), dependencies, token: http_token, grafana };
        self.spawn("web", web::run(parts, listener, self.answering.clone()));
        let parts = parts::client(config, self.bus.another("spindle-client").await?, false)?;
        self.spawn("client", client::run(parts, false, self.answering.clone()));
        let parts = daemon::Parts {
            bus: self.bus.clone(),
            config: config.daemon.clone(),
            inputs,
            readiness: publishing,
            shutdown_timeout: config.shutdown_timeout.mul_f32(DAEMON_SHARE),
        };
        self.spawn("daemon", daemon::run(parts, self.intake.clone()));
        Ok(())
    }

    /// Spawns the detector, unless it is left out; returns its readiness.
    async fn spawn_detector(&mut self, config: &Config) -> Result<Option<detector::DetectorReadiness>> {
        if !config.detector.enabled {
            return Ok(None);
        }
        let limit = config.shutdown_timeout.mul_f32(DETECTOR_SHARE);
        let parts = parts::detector(config, self.bus.another("spindle-detector").await?, limit);
        let readiness = parts.readiness.clone();
        self.spawn("detector", detector::run(parts, self.judging.clone()));
        Ok(Some(readiness))
    }

    fn spawn(&mut self, name: &'static str, role: impl Future<Output = Result<()>> + Send + 'static) {
        self.running.insert(name);
        self.roles.spawn(async move { (name, role.await) }.instrument(role_span(name)));
    }

    /// Waits for a signal or for a role that ends, and stops everything in order. A second signal ends at once.
    async fn until_stopped(mut self, mut signals: Signals, limit: Duration) -> Result<Outcome> {
        let failure = tokio::select! {
            () = signals.next() => None,
            ended = self.roles.join_next() => {
                if let Some(Ok((name, _))) = &ended {
                    self.running.remove(name);
                }
                Some(failure(ended))
            }
        };
        match &failure {
            None => info!("shutting down; press Ctrl-C again to force"),
            Some(failure) => error!(error = format!("{failure:#}"), "role ended, shutting down"),
        }
        #[cfg(debug_assertions)]
        super::failpoints::block_runtime();
        tokio::select! {
            () = self.stop(limit) => {}
            () = signals.again() => return Ok(Outcome::Forced),
        }
        match failure {
            None => Ok(Outcome::Good),
            Some(failure) => Err(failure),
        }
    }

    async fn stop(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        for (stage, names) in [
            (&self.intake, &["daemon"][..]),
            (&self.judging, &["detector"]),
            (&self.storing, &["writer"]),
            (&self.answering, &["reader", "web", "client"]),
        ] {
            stage.cancel();
            let is_running = |name: &&&str| self.running.contains(**name);
            let mut awaited: Vec<_> = names.iter().filter(is_running).copied().collect();
            while !awaited.is_empty() && !self.roles.is_empty() {
                match timeout_at(deadline, self.roles.join_next()).await {
                    Ok(Some(Ok((name, outcome)))) => {
                        self.running.remove(name);
                        awaited.retain(|awaited| *awaited != name);
                        if let Err(error) = outcome {
                            error!(role = name, error = format!("{error:#}"), "role ended with an error");
                        }
                    }
                    Ok(Some(Err(error))) => error!(%error, "role crashed"),
                    Ok(None) => break,
                    Err(_) => {
                        warn!(roles = ?awaited, timeout_s = limit.as_secs_f32(), "roles did not stop in time, abandoning them");
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

fn failure(ended: Option<Result<(&'static str, Result<()>), JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok((name, Err(error)))) => error.context(format!("{name} failed")),
        Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} ended unexpectedly"),
        Some(Err(panic)) => anyhow::anyhow!("a role crashed: {panic}"),
        None => anyhow::anyhow!("no role is running"),
    }
}
