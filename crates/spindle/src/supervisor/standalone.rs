//! One role in its own process, with health probes if `SPINDLE_HEALTH` is set.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info};

use super::connect::{StreamUse, bind, close_store, connect, open_store};
use super::parts;
use super::signals::Signals;
use crate::config::Config;
use crate::data_dir;
use crate::outcome::Outcome;
use crate::roles;
use crate::web::{self, probes::Dependencies};

/// Roles observe the shutdown timeout themselves; the margin is for what they cannot observe.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

pub(super) async fn daemon(config: Config) -> Result<Outcome> {
    data_dir::prepare(&config.data_dir)?;
    let inputs = roles::daemon::open_inputs(&config.daemon, &config.data_dir, config.longest_past())?;
    data_dir::make_private(&config.data_dir);
    let bus = connect(&config, "spindle-daemon", StreamUse::Publish).await?;
    let process = Standalone::new("daemon", &config);
    let readiness = roles::daemon::PublishReadiness::default();
    let dependencies = Dependencies { daemon: Some(readiness.clone()), ..Dependencies::new(bus.clone()) };
    let probes = process.serve_probes(&config, dependencies).await?;
    let shutdown_timeout = config.shutdown_timeout;
    let parts = roles::daemon::Parts { bus, config: config.daemon, inputs, readiness, shutdown_timeout };
    let role = tokio::spawn(roles::daemon::run(parts, process.stop.clone()).in_current_span());
    process.run(role, probes).await
}

pub(super) async fn writer(config: Config) -> Result<Outcome> {
    let store = open_store(&config).await?;
    let bus = connect(&config, "spindle-writer", StreamUse::Own).await?;
    let process = Standalone::new("writer", &config);
    let parts = parts::writer(&config, bus.clone(), store.clone());
    let (writer, store_read) = (Some(parts.readiness.clone()), Some(store.clone()));
    let dependencies = Dependencies { store: store_read, writer, ..Dependencies::new(bus) };
    let probes = process.serve_probes(&config, dependencies).await?;
    let role = tokio::spawn(roles::writer::run(parts, process.stop.clone()).in_current_span());
    let outcome = process.run(role, probes).await;
    close_store(&store).await;
    outcome
}

pub(super) async fn detector(config: Config) -> Result<Outcome> {
    data_dir::prepare(&config.data_dir)?;
    let _lock = data_dir::lock_detector(&config.data_dir)?;
    data_dir::make_private(&config.data_dir);
    let bus = connect(&config, "spindle-detector", StreamUse::Publish).await?;
    let process = Standalone::new("detector", &config);
    let parts = parts::detector(&config, bus.clone(), config.shutdown_timeout);
    let dependencies = Dependencies { detector: Some(parts.readiness.clone()), ..Dependencies::new(bus) };
    let probes = process.serve_probes(&config, dependencies).await?;
    let role = tokio::spawn(roles::detector::run(parts, process.stop.clone()).in_current_span());
    process.run(role, probes).await
}

pub(super) async fn reader(config: Config) -> Result<Outcome> {
    let store = open_store(&config).await?;
    let bus = connect(&config, "spindle-reader", StreamUse::Unused).await?;
    let process = Standalone::new("reader", &config);
    let dependencies = Dependencies { store: Some(store.clone()), ..Dependencies::new(bus.clone()) };
    let probes = process.serve_probes(&config, dependencies).await?;
    let role =
        tokio::spawn(roles::reader::run(parts::reader(&config, bus, store), process.stop.clone()).in_current_span());
    process.run(role, probes).await
}

pub(super) async fn web(config: Config) -> Result<Outcome> {
    let token = config.http_token_of_data()?;
    let listener = bind(&config).await?;
    let store = open_store(&config).await?;
    let bus = connect(&config, "spindle-web", StreamUse::Unused).await?;
    let process = Standalone::new("web", &config);
    let dependencies = Dependencies { store: Some(store.clone()), ..Dependencies::new(bus) };
    // HTTP serves the probes as well. An address of their own keeps them apart from the page.
    let probes = match config.health.listen {
        Some(address) if address != config.http.listen => process.serve_probes(&config, dependencies.clone()).await?,
        _ => Probes(None),
    };
    let parts = web::Parts { store, dependencies, token, grafana: config.http.grafana_url.clone() };
    let role = tokio::spawn(web::run(parts, listener, process.stop.clone()).in_current_span());
    process.run(role, probes).await
}

pub(super) async fn client(config: Config, once: bool) -> Result<Outcome> {
    data_dir::make_private(&config.data_dir);
    let bus = connect(&config, "spindle-client", StreamUse::Unused).await?;
    let parts = parts::client(&config, bus.clone(), once)?;
    let process = Standalone::new("client", &config);
    let probes = process.serve_probes(&config, Dependencies::new(bus)).await?;
    let role = tokio::spawn(roles::client::run(parts, once, process.stop.clone()).in_current_span());
    process.run(role, probes).await
}

/// A process that runs one role.
struct Standalone {
    name: &'static str,
    stop: CancellationToken,
    shutdown_timeout: Duration,
}

impl Standalone {
    fn new(name: &'static str, config: &Config) -> Self {
        Self { name, stop: CancellationToken::new(), shutdown_timeout: config.shutdown_timeout }
    }

    /// Serves health probes if `SPINDLE_HEALTH` is set.
    async fn serve_probes(&self, config: &Config, dependencies: Dependencies) -> Result<Probes> {
        let Some(address) = config.health.listen else { return Ok(Probes(None)) };
        let token = config.http_token()?;
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address} for health checks: choose another address with SPINDLE_HEALTH")
        })?;
        let server = web::probes::serve(dependencies, token, listener, self.stop.clone());
        Ok(Probes(Some(tokio::spawn(server.in_current_span()))))
    }

    /// Runs the role until it ends, or until a signal or the end of its probes, and then to its orderly end. A second
    /// signal ends at once.
    async fn run(self, mut role: JoinHandle<Result<()>>, mut probes: Probes) -> Result<Outcome> {
        let mut signals = Signals::new()?;
        let failure = tokio::select! {
            ended = &mut role => {
                self.stop.cancel();
                probes.stopped().await;
                return finished(self.name, ended).map(|()| Outcome::Good);
            }
            () = signals.next() => None,
            failure = probes.failed() => Some(failure),
        };
        match &failure {
            None => info!("shutting down; press Ctrl-C again to force"),
            Some(error) => error!(error = format!("{error:#}"), "health probes failed, shutting down"),
        }
        #[cfg(debug_assertions)]
        super::failpoints::block_runtime();
        self.stop.cancel();
        let limit = self.shutdown_timeout + SHUTDOWN_MARGIN;
        let ended = tokio::select! {
            ended = timeout(limit, async { let ended = (&mut role).await; probes.stopped().await; ended }) => ended,
            () = signals.again() => return Ok(Outcome::Forced),
        };
        match ended {
            Ok(ended) => finished(self.name, ended)?,
            Err(_) => bail!("{} did not stop within {} s", self.name, self.shutdown_timeout.as_secs_f32()),
        }
        failure.map_or(Ok(Outcome::Good), Err)
    }
}

/// Server of the health probes, if any.
struct Probes(Option<JoinHandle<Result<()>>>);

impl Probes {
    /// Resolves when the server ends though nobody stopped it.
    async fn failed(&mut self) -> anyhow::Error {
        match self.ended().await {
            None => std::future::pending().await,
            Some(Ok(())) => anyhow::anyhow!("the health probes ended unexpectedly"),
            Some(Err(error)) => error.context("the health probes failed"),
        }
    }

    /// Waits until the server has stopped, and logs its error.
    async fn stopped(&mut self) {
        if let Some(Err(error)) = self.ended().await {
            error!(error = format!("{error:#}"), "health probes ended with an error");
        }
    }

    async fn ended(&mut self) -> Option<Result<()>> {
        let ended = self.0.as_mut()?.await;
        self.0 = None;
        Some(finished("health probes", ended))
    }
}

fn finished(name: &str, ended: Result<Result<()>, JoinError>) -> Result<()> {
    ended.unwrap_or_else(|panic| bail!("{name} crashed: {panic}"))
}
