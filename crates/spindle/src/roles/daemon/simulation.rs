//! The simulated fleet as a live source. It runs on an interval and never waits for NATS.

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use spindle_core::Timestamp;
use spindle_simulate::{Fleet, Truth};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::publish_stage::PublishStage;
use crate::clock;
use crate::config;
use crate::data_dir::atomic_file;

/// Persistent state of the simulation: the same fleet continues after a restart.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SimulationState {
    seed: u64,
    n_devices: usize,
    epoch: Timestamp,
}

/// Returns the start time of the fleet: from the state file, or `now` for a new fleet.
pub(super) fn epoch(path: &Path, config: &config::DaemonConfig, now: Timestamp) -> Result<Timestamp> {
    let saved = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<SimulationState>(&bytes)
            .inspect_err(
                |error| warn!(%error, path = %path.display(), "simulation state damaged, starting a new fleet"),
            )
            .ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let is_ours = |state: &SimulationState| state.seed == config.seed && state.n_devices == config.devices;
    match saved.filter(is_ours) {
        Some(state) if state.epoch <= now => return Ok(state.epoch),
        Some(state) => warn!(epoch = %state.epoch, %now, "simulation began in the future, starting a new fleet"),
        None => {}
    }
    let state = SimulationState { seed: config.seed, n_devices: config.devices, epoch: now };
    atomic_file::write(path, &serde_json::to_vec(&state)?)?;
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
    /// A crash left a last line without its end.
    is_partial: bool,
}

impl TruthLog {
    fn open(path: PathBuf) -> Result<Self> {
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let text = String::from_utf8_lossy(&bytes);
        let is_partial = !text.is_empty() && !text.ends_with('\n');
        Ok(Self { lines: text.lines().map(str::to_owned).collect(), is_partial, path })
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
        if std::mem::take(&mut self.is_partial) {
            text.insert(0, '\n');
        }
        let file = std::fs::File::options().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

    #[test]
    fn a_fleet_continues_and_a_state_that_cannot_be_used_begins_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("simulation.json");
        let config = Config::load(&config::Overrides::default()).unwrap().daemon;
        let at = |now| epoch(&path, &config, now).unwrap();
        let later = NOW.plus(Duration::from_secs(60));
        assert_eq!((at(NOW), at(later)), (NOW, NOW));
        let future = Timestamp::from_seconds(4_070_908_800);
        std::fs::remove_file(&path).unwrap();
        // The clock was wrong at the first start.
        assert_eq!((at(future), at(NOW), at(later)), (future, NOW, NOW));
        for damaged in ["", "{", "null", "{\"seed\":-1}"] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!((at(later), at(later.plus(Duration::from_secs(1)))), (later, later), "{damaged}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(epoch(&path, &config, NOW).is_err());
    }

    #[test]
    fn a_partial_line_stays_apart_from_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.ndjson");
        std::fs::write(&path, b"{\"a\":1}\n{\"b\xff").unwrap();
        let mut fleet = Fleet::new(spindle_simulate::FleetConfig::new(50, 1, NOW));
        fleet.tick(NOW.plus(Duration::from_secs(3600)));
        let truths = fleet.new_truth();
        assert!(!truths.is_empty());
        TruthLog::open(path.clone()).unwrap().append(&truths).unwrap();
        TruthLog::open(path.clone()).unwrap().append(&truths).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes).lines().count(), 2 + truths.len());
    }
}
