//! The simulated fleet as a live source. It runs on an interval and never waits for NATS.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use spindle_core::Timestamp;
use spindle_simulate::{Fleet, Truth};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::publish_stage::PublishStage;
use crate::clock;
use crate::config;

/// Persistent state of the simulation: the same fleet continues after a restart.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SimulationState {
    seed: u64,
    n_devices: usize,
    epoch: Timestamp,
}

/// Returns the start time of the fleet: from the state file, or `now` for a new fleet.
pub(super) fn epoch(path: &Path, config: &config::DaemonConfig, now: Timestamp) -> Result<Timestamp> {
    let saved = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<SimulationState>(&bytes).ok());
    if let Some(state) =
        saved.filter(|state| state.seed == config.seed && state.n_devices == config.devices && state.epoch <= now)
    {
        return Ok(state.epoch);
    }
    let state = SimulationState { seed: config.seed, n_devices: config.devices, epoch: now };
    std::fs::write(path, serde_json::to_vec(&state)?)?;
    Ok(now)
}

/// Runs the simulated fleet until `stop`; appends its ground truth to `truth`, one JSON object a line.
pub(super) async fn run(
    mut fleet: Fleet,
    truth: PathBuf,
    every: Duration,
    stage: PublishStage,
    stop: CancellationToken,
) -> Result<()> {
    info!(truth = %truth.display(), "simulated fleet started");
    let mut truth_log = TruthLog::open(truth)?;
    let mut ticker = interval(every);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticker.tick() => {}
        }
        stage.offer(fleet.tick(clock::now()));
        truth_log.append(&fleet.new_truth())?;
    }
}

/// The file of the ground truth. A fleet that continues after a restart reports the same truth again: each line is
/// written once.
struct TruthLog {
    path: PathBuf,
    lines: HashSet<String>,
}

impl TruthLog {
    fn open(path: PathBuf) -> Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(Self { lines: text.lines().map(str::to_owned).collect(), path })
    }

    fn append(&mut self, truths: &[Truth]) -> Result<()> {
        let mut text = String::new();
        for truth in truths {
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
