//! Sources that go on for ever: the simulated fleet and this host's disks. They are asked on an interval
//! and never wait for NATS.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use spindle_core::Timestamp;
use spindle_simulate::{Fleet, Truth};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::publish_stage::PublishStage;
use crate::clock;
use crate::config;
use crate::metrics::DAEMON_UNREADABLE;
use crate::sources::host::{Host, Problems, Roots};

/// What is remembered of the simulated fleet, so that the same fleet goes on after a restart.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SimulationState {
    seed: u64,
    n_devices: usize,
    epoch: Timestamp,
}

/// When the fleet was started: as remembered, or now for a new fleet.
pub(super) fn epoch(path: &Path, config: &config::DaemonConfig, now: Timestamp) -> Result<Timestamp> {
    let remembered = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<SimulationState>(&bytes).ok());
    if let Some(state) =
        remembered.filter(|state| state.seed == config.seed && state.n_devices == config.devices && state.epoch <= now)
    {
        return Ok(state.epoch);
    }
    let state = SimulationState { seed: config.seed, n_devices: config.devices, epoch: now };
    std::fs::write(path, serde_json::to_vec(&state)?)?;
    Ok(now)
}

/// Runs the simulated fleet; what it truly simulates is appended to `truth`, one JSON object a line.
pub(super) async fn simulate(
    mut fleet: Fleet,
    truth: PathBuf,
    every: Duration,
    stage: PublishStage,
    stop: CancellationToken,
) -> Result<()> {
    info!(truth = %truth.display(), "simulated fleet runs");
    let mut told = Told::open(truth)?;
    let mut ticker = interval(every);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticker.tick() => {}
        }
        let batch = fleet.tick(clock::now());
        stage.offer(batch);
        told.append(&fleet.new_truth())?;
    }
}

/// The file of what was simulated. A fleet that goes on after a restart tells the same again: each line
/// is written once.
struct Told {
    path: PathBuf,
    lines: HashSet<String>,
}

impl Told {
    fn open(path: PathBuf) -> Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(Self { lines: text.lines().map(str::to_owned).collect(), path })
    }

    fn append(&mut self, told: &[Truth]) -> Result<()> {
        let mut text = String::new();
        for truth in told {
            let line = serde_json::to_string(truth)?;
            if !self.lines.contains(&line) {
                text += &line;
                text.push('\n');
                self.lines.insert(line);
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        let file = std::fs::File::options().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The kernel's counters say something only from the second reading on: it comes soon, so that there is
/// something to see.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// A reading that hangs (a dying disk can block the kernel) is waited for at most this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Readings that fail once mostly fail for ever: said this often.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// Watches this host's disks and file systems.
pub(super) async fn host(
    hostname: String,
    every: Duration,
    stage: PublishStage,
    stop: CancellationToken,
) -> Result<()> {
    let mut watched = Host::new(Roots::default(), &hostname);
    let mut pause = FIRST_INTERVAL.min(every);
    let (mut n_counted, mut said_at) = (0, None::<Instant>);
    let mut is_first = true;
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            let batch = watched.sample(clock::now());
            (watched, batch)
        });
        tokio::pin!(reading);
        let (returned, batch) = loop {
            match timeout(PATIENCE, &mut reading).await {
                Ok(finished) => break finished.context("reading this host's disks crashed")?,
                Err(_) => {
                    warn!(patience_s = PATIENCE.as_secs(), "reading this host's disks hangs: is a disk dying? waiting")
                }
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        };
        watched = returned;
        if std::mem::take(&mut is_first) && watched.is_bare() {
            warn!(hostname, "no disk and no file system found on this host: it has nothing to say");
        }
        stage.offer(batch);
        let n_problems = watched.problems().n_total();
        if n_problems > n_counted {
            DAEMON_UNREADABLE.with_label_values(&["host"]).inc_by(n_problems - n_counted);
            n_counted = n_problems;
            if said_at.is_none_or(|said_at| said_at.elapsed() > SAY_EVERY) {
                say(watched.problems());
                said_at = Some(Instant::now());
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(pause) => pause = every,
        }
    }
}

fn say(problems: &Problems) {
    for (kind, n_problems, newest) in problems.iter() {
        warn!(kind = kind.as_str(), n_problems, newest, "readings of this host's disks were left out");
    }
}
