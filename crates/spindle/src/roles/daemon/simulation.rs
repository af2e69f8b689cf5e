//! The simulated fleet as a live source. It runs on an interval and never waits for NATS.

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use spindle_bus::Bus;
use spindle_core::Timestamp;
use spindle_simulate::{Fleet, FleetConfig, Truth};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::past::{Past, Progress};
use super::publish_stage::PublishStage;
use crate::clock;
use crate::config;
use crate::data_dir::atomic_file;

/// Longest time for the past of a fleet; the other sources wait for it.
const LONGEST_TELLING: Duration = Duration::from_secs(30);
const LONGEST_CLAIM: Duration = Duration::from_secs(5);

/// Persistent state of the simulation: the same fleet continues after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SimulationState {
    seed: u64,
    n_devices: usize,
    epoch: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    past: Option<Past>,
}

impl SimulationState {
    fn write(&self, path: &Path) -> Result<()> {
        atomic_file::write(path, &serde_json::to_vec(self)?)
            .with_context(|| format!("cannot keep the simulation's state in {}", path.display()))
    }

    fn fleet(&self) -> Fleet {
        let past_until = self.past.as_ref().map(|past| past.until);
        Fleet::new(FleetConfig { past_until, ..FleetConfig::new(self.n_devices, self.seed, self.epoch) })
    }
}

/// The simulated fleet with its files.
#[derive(Debug)]
pub(super) struct Simulation {
    state: SimulationState,
    path: PathBuf,
    fleet: Fleet,
    truth: TruthLog,
}

impl Simulation {
    /// Continues the fleet of the state file. Without one that is of use, begins a fleet at `now`; with a past of up to
    /// `longest_past`, if no fleet ever was in this directory.
    pub(super) fn open(
        data_dir: &Path,
        config: &config::DaemonConfig,
        longest_past: Option<Duration>,
        now: Timestamp,
    ) -> Result<Self> {
        let path = data_dir.join("simulation.json");
        let is_ours = |state: &SimulationState| state.seed == config.seed && state.n_devices == config.devices;
        let past = match saved(&path)? {
            Saved::State(state) if is_ours(&state) && state.epoch <= now => return Self::of(state, path, data_dir),
            Saved::State(state) if is_ours(&state) => {
                warn!(epoch = %state.epoch, %now, "simulation began in the future, starting a new fleet");
                None
            }
            Saved::State(_) | Saved::Damaged => None,
            Saved::None => Past::plan(config.devices, data_dir, longest_past, now)?,
        };
        let epoch = past.as_ref().map_or(now, Past::from);
        let state = SimulationState { seed: config.seed, n_devices: config.devices, epoch, past };
        state.write(&path)?;
        Self::of(state, path, data_dir)
    }

    fn of(state: SimulationState, path: PathBuf, data_dir: &Path) -> Result<Self> {
        let truth = TruthLog::open(data_dir.join("truth.ndjson"))?;
        Ok(Self { fleet: state.fleet(), state, path, truth })
    }

    /// Tells the past of the fleet, if it has one that was not told. Without it, the fleet begins where it would have ended.
    pub(super) async fn tell_past(&mut self, bus: &Bus, stage: &PublishStage, stop: &CancellationToken) -> Result<()> {
        let Some(past) = self.state.past.clone().filter(|past| past.progress != Progress::Told) else { return Ok(()) };
        if past.progress == Progress::Planned && !self.claim(&past, bus).await? {
            return Ok(());
        }
        let started = Instant::now();
        let told = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            told = timeout(LONGEST_TELLING, past.tell(&mut self.fleet, stage)) => told,
        };
        self.truth.append(&self.fleet.new_truth())?;
        match told {
            Ok(n_values) => {
                let (from, seconds) = (past.from(), started.elapsed().as_secs_f32());
                info!(%from, n_values, seconds, "past of the simulated fleet published");
            }
            Err(_) => warn!("past of the simulated fleet cut off: NATS takes it too slowly"),
        }
        self.note(&past, Progress::Told)
    }

    /// Returns `true` if the past is ours to tell, and notes it.
    async fn claim(&mut self, past: &Past, bus: &Bus) -> Result<bool> {
        let claimed = timeout(LONGEST_CLAIM, past.claim(bus)).await;
        match claimed {
            Ok(Ok(true)) => {
                self.note(past, Progress::Begun)?;
                return Ok(true);
            }
            Ok(Ok(false)) => info!("values were published before, so the simulated fleet has no past"),
            Ok(Err(error)) => warn!(%error, "past of the simulated fleet left out"),
            Err(_) => warn!("past of the simulated fleet left out: NATS does not answer"),
        }
        let SimulationState { seed, n_devices, .. } = self.state;
        self.state = SimulationState { seed, n_devices, epoch: past.until, past: None };
        self.fleet = self.state.fleet();
        self.state.write(&self.path)?;
        Ok(false)
    }

    fn note(&mut self, past: &Past, progress: Progress) -> Result<()> {
        let mut past = past.clone();
        past.progress = progress;
        self.state.past = Some(past);
        self.state.write(&self.path)
    }
}

enum Saved {
    None,
    Damaged,
    State(SimulationState),
}

fn saved(path: &Path) -> Result<Saved> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Saved::None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok(serde_json::from_slice(&bytes).map_or_else(
        |error| {
            warn!(%error, path = %path.display(), "simulation state damaged, starting a new fleet");
            Saved::Damaged
        },
        Saved::State,
    ))
}

impl Simulation {
    /// Runs the fleet until `stop`; appends its ground truth to its file, one JSON object a line.
    pub(super) async fn run(mut self, every: Duration, stage: PublishStage, stop: CancellationToken) -> Result<()> {
        info!(truth = %self.truth.path.display(), "simulated fleet started");
        let mut ticker = interval(every);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticker.tick() => {}
            }
            stage.offer(self.fleet.tick(clock::now()));
            self.truth.append(&self.fleet.new_truth())?;
        }
    }
}

/// The file of the ground truth. A fleet that continues after a restart reports the same truth again: each line is
/// written once.
#[derive(Debug)]
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
        let open = |now| Simulation::open(folder.path(), &config, None, now);
        let at = |now| open(now).unwrap().state.epoch;
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
        assert!(open(NOW).is_err());
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
