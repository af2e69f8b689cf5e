//! The daemon: collects from any number of sources and publishes to NATS. Metrics travel in arrays of bounded size,
//! events one by one and at once. A message counts as published when JetStream has acknowledged it. Messages without
//! ack stay in a bounded buffer; dropped ones are counted and logged.

mod host;
mod past;
mod publish_readiness;
mod publish_stage;
mod replay;
mod sequence_numbers;
mod simulation;
mod smart;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::{BufferLimits, Bus, PublishStats, Publisher};
use spindle_core::Timestamp;
use spindle_core::log_limit::LogLimit;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use crate::clock;
use crate::config::{self, SourceSpec};
use crate::metrics::{DAEMON_ACKED, DAEMON_BUFFERED, DAEMON_DROPPED, DAEMON_DUPLICATE, advance_to};
use crate::sources::replay::{Options, Replay};
use crate::sources::smart::SmartOptions;
pub(crate) use publish_readiness::PublishReadiness;
use publish_stage::PublishStage;
use sequence_numbers::SequenceNumbers;
use simulation::Simulation;

/// Interval at which the publisher's counters are exported.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum interval between log lines about dropped messages.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// File of the `host` source, which the source `smart` reads.
const HOST_REGISTER: &str = "host-devices.json";

/// Everything the daemon works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) config: config::DaemonConfig,
    pub(crate) inputs: Inputs,
    pub(crate) readiness: PublishReadiness,
    /// Longest wait for the last acks during an orderly shutdown.
    pub(crate) shutdown_timeout: Duration,
}

/// The opened sources, and the directory that keeps the sequence numbers of the live ones.
pub(crate) struct Inputs {
    sources: Vec<Source>,
    opened_at: Timestamp,
    data_dir: PathBuf,
}

/// A source, opened and checked.
enum Source {
    Simulate(Box<Simulation>),
    Host { hostname: String, register: PathBuf },
    Smart(Box<SmartOptions>),
    Replay(Box<Replay>),
}

/// Opens every source, so that a wrong path is reported before any role starts.
/// `longest_past` is that of a simulated fleet.
pub(crate) fn open_inputs(
    config: &config::DaemonConfig,
    data_dir: &Path,
    longest_past: Option<Duration>,
) -> Result<Inputs> {
    // Earlier than the time of anything that a source reports.
    let opened_at = clock::now();
    let sources =
        config.sources.iter().map(|spec| open_source(spec, config, data_dir, longest_past)).collect::<Result<_>>()?;
    Ok(Inputs { sources, opened_at, data_dir: data_dir.to_owned() })
}

fn open_source(
    spec: &SourceSpec,
    config: &config::DaemonConfig,
    data_dir: &Path,
    longest_past: Option<Duration>,
) -> Result<Source> {
    match spec {
        SourceSpec::Simulate => {
            let simulation = Simulation::open(data_dir, config, longest_past, clock::now());
            Ok(Source::Simulate(Box::new(simulation.context("cannot start the simulated fleet")?)))
        }
        SourceSpec::Host => Ok(Source::Host { hostname: hostname(), register: data_dir.join(HOST_REGISTER) }),
        SourceSpec::Smart => {
            let states = Some(data_dir.join("smart-states.json"));
            let register = Some(data_dir.join(HOST_REGISTER));
            Ok(Source::Smart(Box::new(SmartOptions { states, register, ..SmartOptions::new(config, &hostname()) })))
        }
        SourceSpec::Replay(path) => {
            let shift: Option<Timestamp> = config.replay_shift_to_now.then(clock::now);
            Ok(Source::Replay(Box::new(Replay::open(path, Options { shift })?)))
        }
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Opens the sequence numbers. Returns `None` if no source is live: the counters then stay as they are. Call it after
/// everything else has started, since a failed start would use them up.
async fn open_sequence_numbers(inputs: &Inputs) -> Result<Option<SequenceNumbers>> {
    let is_live = |source: &Source| match source {
        Source::Simulate(_) | Source::Host { .. } | Source::Smart(_) => true,
        Source::Replay(_) => false,
    };
    if !inputs.sources.iter().any(is_live) {
        return Ok(None);
    }
    let (data_dir, opened_at) = (inputs.data_dir.clone(), inputs.opened_at);
    tokio::task::spawn_blocking(move || SequenceNumbers::open(&data_dir, opened_at)).await?.map(Some)
}

/// Collects until `stop`, then waits for the last acks.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, config, mut inputs, readiness, shutdown_timeout } = parts;
    let sequence_numbers = open_sequence_numbers(&inputs).await?;
    let bus = bus.another_for_publishing("spindle-daemon").await?;
    let claiming = bus.clone();
    let max_payload = bus.max_payload();
    let limits = BufferLimits { max_bytes: config.buffer_bytes, ..BufferLimits::default() };
    let (publisher, send_loop) = Publisher::new(bus, limits);
    let send_loop = tokio::spawn(send_loop.in_current_span());
    let stage = PublishStage::new(publisher.clone(), sequence_numbers.clone(), config.metrics_per_message, max_payload);
    // Before the other sources: a past precedes all that is.
    for source in &mut inputs.sources {
        if let Source::Simulate(simulation) = source {
            simulation.tell_past(&claiming, &stage, &stop).await?;
        }
    }
    let mut running = Running::new(publisher, spawn_sources(inputs.sources, &config, &stage, &stop));
    let mut ticker = interval(EXPORT_INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !(stop.is_cancelled() && running.sources.is_empty()) {
        tokio::select! {
            () = stop.cancelled(), if running.sources.is_empty() => {}
            Some(ended) = running.sources.join_next() => log_end(ended),
            _ = ticker.tick() => {}
        }
        running.report();
        readiness.update(&running.publisher);
    }
    running.finish(shutdown_timeout).await;
    // Readings lost at the end are a gap that the next epoch makes visible.
    if let Some(sequence_numbers) = sequence_numbers {
        tokio::task::spawn_blocking(move || sequence_numbers.keep()).await?;
    }
    send_loop.abort();
    Ok(())
}

fn spawn_sources(
    sources: Vec<Source>,
    config: &config::DaemonConfig,
    stage: &PublishStage,
    stop: &CancellationToken,
) -> JoinSet<Result<()>> {
    let mut tasks = JoinSet::new();
    for source in sources {
        let (stage, stop, config) = (stage.clone(), stop.clone(), config.clone());
        let run = async move {
            match source {
                Source::Simulate(simulation) => simulation.run(config.interval, stage, stop).await,
                Source::Host { hostname, register } => {
                    host::run(hostname, register, config.interval, stage, stop).await
                }
                Source::Smart(options) => smart::run(*options, config.smart_interval, stage, stop).await,
                Source::Replay(recording) => replay::run(*recording, config.replay_speed, stage, stop).await,
            }
        };
        tasks.spawn(run.in_current_span());
    }
    tasks
}

fn log_end(ended: Result<Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(error = format!("{error:#}"), "source failed, the others continue"),
        Err(error) => error!(%error, "source panicked, the others continue"),
    }
}

/// The sources at work, and the publisher they share.
struct Running {
    publisher: Publisher,
    sources: JoinSet<Result<()>>,
    log_limit: LogLimit<Instant>,
    /// Drops that the log has reported.
    n_logged: u64,
}

impl Running {
    fn new(publisher: Publisher, sources: JoinSet<Result<()>>) -> Self {
        Self { publisher, sources, log_limit: LogLimit::new(1, LOG_INTERVAL), n_logged: 0 }
    }

    /// Exports the counters, and logs drops.
    fn report(&mut self) {
        let stats = self.publisher.stats();
        export(&stats);
        let n_dropped = stats.n_dropped_full - self.n_logged;
        if n_dropped > 0 && self.log_limit.allow(Instant::now()).is_some() {
            error!(n_dropped, n_buffered = stats.n_buffered, "NATS unavailable or full, oldest metrics dropped");
            self.n_logged = stats.n_dropped_full;
        }
    }

    /// Accepts no more messages and waits for the acks of those in the buffer.
    async fn finish(self, shutdown_timeout: Duration) {
        self.publisher.close();
        let drained = timeout(shutdown_timeout, self.publisher.drained()).await;
        let stats = self.publisher.stats();
        export(&stats);
        match drained {
            Ok(()) => info!(
                n_acked = stats.n_acked,
                n_dropped = stats.n_dropped_full + stats.n_dropped_refused,
                "daemon stopped, everything published"
            ),
            Err(_) => error!(
                n_lost = stats.n_buffered,
                shutdown_timeout_s = shutdown_timeout.as_secs_f32(),
                "daemon stopped while NATS was unavailable, buffered messages lost"
            ),
        }
        if stats.n_retries > 0 {
            warn!(n_retries = stats.n_retries, "publishes retried");
        }
    }
}

fn export(stats: &PublishStats) {
    advance_to(&DAEMON_ACKED, stats.n_acked);
    advance_to(&DAEMON_DUPLICATE, stats.n_duplicate);
    DAEMON_BUFFERED.set(stats.n_buffered as i64);
    advance_to(&DAEMON_DROPPED.with_label_values(&["buffer_full"]), stats.n_dropped_full);
    advance_to(&DAEMON_DROPPED.with_label_values(&["refused"]), stats.n_dropped_refused);
}
