//! The past of a new simulated fleet: its last day, told at once over NATS like any other value, once only.
//!
//! It needs a data directory without a fleet, and a stream METRICS that never held a message: whoever publishes its first
//! one, an array without metrics, tells its past; a second daemon at the same time finds itself refused. From there on the
//! state of the simulation says so. A past that a crash has cut off is told again from its beginning, in an epoch of
//! sequence numbers that is its own: value by value, number by number the same, so it is stored once and leaves no hole.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use spindle_bus::{Bus, BusError};
use spindle_core::audit::sequencer::{ProducerEpoch, Sequencer};
use spindle_core::{Batch, Timestamp};
use spindle_simulate::Fleet;
use tracing::info;
use uuid::Uuid;

use super::publish_stage::PublishStage;
use super::sequence_numbers;

/// Longest past: what arrives more than a day late counts as a recording if its time is not understood.
const LONGEST: Duration = Duration::from_secs(86_400 - 600);
/// Possible steps in seconds. With hourly values the detector would take small lasting differences for slow devices.
const STEPS: [u64; 2] = [120, 300];
/// Fewest steps of a past: an hour.
const MIN_STEPS: u64 = 12;
/// Values of a whole past: 30 MB on the wire, and seconds of work for writer and detector.
const MAX_VALUES: u64 = 300_000;
/// Values of a device at one time, on average.
const VALUES_PER_DEVICE: u64 = 10;

/// The past of a fleet that is or was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    from: Timestamp,
    pub(super) until: Timestamp,
    step_seconds: u64,
    producer_epoch: ProducerEpoch,
    /// Prefix of the ids of its messages.
    id: Uuid,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    /// Another daemon may have published before.
    Planned,
    /// Ours to tell; some of it may have been told.
    Begun,
    Told,
}

impl Past {
    /// Plans a past that ends at `now`; `None` if none is wanted or possible.
    pub(super) fn plan(
        n_devices: usize,
        data_dir: &Path,
        longest: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let Some(longest) = longest.filter(|_| n_devices > 0) else { return Ok(None) };
        let longest = longest.min(LONGEST);
        let Some((step_seconds, n_steps)) = steps(n_devices, longest) else {
            info!(n_devices, "the simulated fleet is too large for a past, it begins now");
            return Ok(None);
        };
        let Some(producer_epoch) = sequence_numbers::epoch_apart(data_dir, now)? else { return Ok(None) };
        let from = now.minus(Duration::from_secs(step_seconds * n_steps));
        let (until, id, progress) = (now, Uuid::new_v4(), Progress::Planned);
        Ok(Some(Self { from, until, step_seconds, producer_epoch, id, progress }))
    }

    /// Returns the time at which the fleet begins.
    pub(super) fn from(&self) -> Timestamp {
        self.from
    }

    /// Returns `true` if nothing was ever published, and nobody else tells a past.
    pub(super) async fn claim(&self, bus: &Bus) -> Result<bool, BusError> {
        bus.claim_empty_metrics(&format!("past-{}", self.id.simple()), self.from).await
    }

    /// Tells all of it, and returns the number of values once NATS has acknowledged them. Events go first: a reader of
    /// both streams then has them in order.
    pub(super) async fn tell(&self, fleet: &mut Fleet, stage: &PublishStage) -> u64 {
        let mut sequencer = Sequencer::new(self.producer_epoch, None, self.from);
        let mut number = |mut batch: Batch| {
            sequencer.assign(&mut batch, || None);
            batch
        };
        let id = self.id.simple();
        let events = number(Batch { metrics: Vec::new(), events: fleet.events_until(self.until) });
        stage.deliver_past(&events, self.until, "").await;
        stage.deliver_end_of_past(self.until.plus(Duration::from_nanos(1)), format!("past-{id}-events")).await;
        stage.settled().await;
        let (mut at, mut n_values) = (self.from, 0);
        while at <= self.until {
            let batch = number(fleet.tick_past(at));
            n_values += batch.metrics.len() as u64;
            stage.deliver_past(&batch, at, &format!("past-{id}-{at}")).await;
            at = at.plus(Duration::from_secs(self.step_seconds));
        }
        stage.settled().await;
        n_values
    }
}

/// Returns the step in seconds and the number of steps that keep a past within bounds: the shortest step with which it is
/// whole, else a shorter past.
fn steps(n_devices: usize, longest: Duration) -> Option<(u64, u64)> {
    let most = MAX_VALUES / (n_devices as u64).saturating_mul(VALUES_PER_DEVICE).max(1);
    let whole = |step: u64| (step, longest.as_secs() / step);
    let fitting = STEPS.into_iter().map(whole).find(|(_, n_steps)| *n_steps <= most);
    let shorter = STEPS.last().map(|step| (*step, most)).filter(|(_, n_steps)| *n_steps >= MIN_STEPS);
    fitting.or(shorter).filter(|(_, n_steps)| *n_steps > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_fleet_has_longer_steps_then_a_shorter_past_and_the_largest_none() {
        let minutes = |n_devices| steps(n_devices, LONGEST).map(|(step, n_steps)| (step / 60, n_steps));
        assert_eq!(minutes(10), Some((2, 715)));
        assert_eq!(minutes(100), Some((5, 286)));
        assert_eq!(minutes(1_000), Some((5, 30)));
        assert_eq!((minutes(2_501), minutes(100_000)), (None, None));
        assert_eq!(steps(10, Duration::from_secs(600)), Some((120, 5)));
        assert_eq!(steps(10, Duration::from_secs(60)), None);
    }

    #[test]
    fn an_epoch_apart_is_never_that_of_the_other_readings() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_seconds(1_750_000_000);
        let past = |longest| Past::plan(10, folder.path(), longest, now).unwrap();
        let (first, second) = (past(Some(LONGEST)).unwrap(), past(Some(LONGEST)).unwrap());
        assert!(first.producer_epoch < second.producer_epoch);
        assert_eq!((first.until, past(None)), (now, None));
        let back: Past = serde_json::from_slice(&serde_json::to_vec(&first).unwrap()).unwrap();
        assert_eq!(back, first);
    }
}
