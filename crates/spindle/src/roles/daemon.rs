//! The daemon: collects from any number of sources and publishes to NATS. Metrics travel in arrays of
//! bounded size, events one by one at once. A message counts when JetStream has acknowledged it; what
//! cannot be delivered is held within a bound, and what must be given up is counted and said.

mod live;
mod numbers;
mod outlet;
mod recorded;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use spindle_bus::{BufferLimits, Bus, PublishStats, Publisher};
use spindle_core::Timestamp;
use spindle_core::simulate::{Fleet, FleetConfig};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock;
use crate::config::{self, SourceSpec};
use crate::sources::replay::{Options, Replay};
use crate::telemetry::{DAEMON_ACKED, DAEMON_GIVEN_UP, DAEMON_HELD};
use numbers::Numbers;
use outlet::Outlet;

/// What the daemon works with.
pub(crate) struct Parts {
    pub(crate) bus: Bus,
    pub(crate) config: config::Daemon,
    pub(crate) inputs: Inputs,
    /// How long an orderly stop may wait for the last acks.
    pub(crate) grace: Duration,
}

/// The sources, and where the numbers for what the live ones say are kept.
pub(crate) struct Inputs {
    sources: Vec<Source>,
    opened_at: Timestamp,
    data_dir: PathBuf,
}

/// A source, opened and checked.
enum Source {
    Simulate { fleet: Box<Fleet>, truth: PathBuf },
    Host { hostname: String },
    Replay(Box<Replay>),
}

/// Opens every source, so that a wrong path is said before anything runs.
pub(crate) fn open_inputs(config: &config::Daemon, data_dir: &Path) -> Result<Inputs> {
    // Before any source can say when something happened.
    let opened_at = clock::now();
    let sources = config.sources.iter().map(|spec| open_source(spec, config, data_dir)).collect::<Result<_>>()?;
    Ok(Inputs { sources, opened_at, data_dir: data_dir.to_owned() })
}

/// Begins to count. `None` if no source is live: then the counters stay as they are. Not before everything else
/// has started, since a start that fails would use them up.
async fn open_numbers(inputs: &Inputs) -> Result<Option<Numbers>> {
    let is_live = |source: &Source| match source {
        Source::Simulate { .. } | Source::Host { .. } => true,
        Source::Replay(_) => false,
    };
    if !inputs.sources.iter().any(is_live) {
        return Ok(None);
    }
    let (data_dir, opened_at) = (inputs.data_dir.clone(), inputs.opened_at);
    tokio::task::spawn_blocking(move || Numbers::open(&data_dir, opened_at)).await?.map(Some)
}

fn open_source(spec: &SourceSpec, config: &config::Daemon, data_dir: &Path) -> Result<Source> {
    match spec {
        SourceSpec::Simulate => {
            let state = data_dir.join("simulation.json");
            let epoch = live::epoch(&state, config, clock::now())
                .with_context(|| format!("cannot keep the simulation's state in {}", state.display()))?;
            let fleet = Fleet::new(FleetConfig::new(config.n_devices, config.seed, epoch));
            Ok(Source::Simulate { fleet: Box::new(fleet), truth: data_dir.join("truth.ndjson") })
        }
        SourceSpec::Host => {
            Ok(Source::Host { hostname: rustix::system::uname().nodename().to_string_lossy().into_owned() })
        }
        SourceSpec::Replay(path) => {
            let shift: Option<Timestamp> = config.replay_shift_to_now.then(clock::now);
            Ok(Source::Replay(Box::new(Replay::open(path, Options { shift })?)))
        }
    }
}

/// Collects until told to stop, then waits for the last acks.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> Result<()> {
    let Parts { bus, config, inputs, grace } = parts;
    let numbers = open_numbers(&inputs).await?;
    let bus = bus.another_for_publishing("spindle-daemon").await?;
    let max_payload = bus.max_payload();
    let (publisher, sending) =
        Publisher::new(bus, BufferLimits { max_bytes: config.hold_bytes, ..BufferLimits::default() });
    let sending = tokio::spawn(sending);
    let outlet = Outlet::new(publisher.clone(), numbers.clone(), config.metrics_per_message, max_payload);
    let mut at_work = JoinSet::new();
    for source in inputs.sources {
        let (outlet, stop, config) = (outlet.clone(), stop.clone(), config.clone());
        at_work.spawn(async move {
            match source {
                Source::Simulate { fleet, truth } => live::simulate(*fleet, truth, config.interval, outlet, stop).await,
                Source::Host { hostname } => live::host(hostname, config.interval, outlet, stop).await,
                Source::Replay(replay) => recorded::replay(*replay, config.replay_speed, outlet, stop).await,
            }
        });
    }
    watch(&publisher, &mut at_work, &stop).await;
    publisher.close();
    finish(&publisher, grace).await;
    // What was lost at the end is a gap that the next life makes visible.
    if let Some(numbers) = numbers {
        tokio::task::spawn_blocking(move || numbers.keep()).await?;
    }
    sending.abort();
    Ok(())
}

/// How often the counters are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often a lasting loss is said again.
const SAY_EVERY: Duration = Duration::from_secs(10);

async fn watch(publisher: &Publisher, at_work: &mut JoinSet<Result<()>>, stop: &CancellationToken) {
    let mut ticker = interval(WATCH_EVERY);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut said_at) = (PublishStats::default(), Instant::now());
    let mut stopping = false;
    loop {
        tokio::select! {
            () = stop.cancelled(), if !stopping => stopping = true,
            ended = at_work.join_next(), if !at_work.is_empty() => match ended {
                Some(Ok(Err(fault))) => error!(error = format!("{fault:#}"), "source ended with an error, the others go on"),
                Some(Err(fault)) => error!(%fault, "source crashed, the others go on"),
                Some(Ok(Ok(()))) | None => {}
            },
            _ = ticker.tick() => {}
        }
        let stats = publisher.stats();
        show(&stats);
        let n_given_up = stats.n_dropped_full - said.n_dropped_full;
        if n_given_up > 0 && said_at.elapsed() > SAY_EVERY {
            error!(
                n_given_up,
                n_held = stats.n_buffered,
                "NATS is away or full for too long: the oldest metrics had to be given up"
            );
            (said, said_at) = (stats, Instant::now());
        }
        if stopping && at_work.is_empty() {
            return;
        }
    }
}

fn show(stats: &PublishStats) {
    DAEMON_ACKED.set(stats.n_acked as i64);
    DAEMON_HELD.set(stats.n_buffered as i64);
    DAEMON_GIVEN_UP.with_label_values(&["hold_full"]).set(stats.n_dropped_full as i64);
    DAEMON_GIVEN_UP.with_label_values(&["refused"]).set(stats.n_dropped_refused as i64);
}

async fn finish(publisher: &Publisher, grace: Duration) {
    let drained = timeout(grace, publisher.drained()).await;
    let stats = publisher.stats();
    show(&stats);
    match drained {
        Ok(()) => info!(
            n_acked = stats.n_acked,
            n_given_up = stats.n_dropped_full + stats.n_dropped_refused,
            "daemon stopped, everything published"
        ),
        Err(_) => error!(
            n_lost = stats.n_buffered,
            grace_s = grace.as_secs_f32(),
            "daemon stopped while NATS was away: what it held is lost"
        ),
    }
    if stats.n_retries > 0 {
        warn!(n_retries = stats.n_retries, "some publishes had to be tried again");
    }
}
