//! Sequence numbers of what live sources report, and the file in the data directory through which they continue after a
//! restart.
//!
//! The file names the newest epoch, and it is on disk before the epoch's first number is assigned: a crash never leads
//! to a number twice. Only an orderly stop adds the counters, and the next start takes them out again. One daemon per
//! data directory; a second one starts its own epochs.
//!
//! Recordings are not numbered, they keep the numbers they have: a recording that is replayed again is stored once, and
//! numbers of its own would then be missing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use spindle_core::audit::sequencer::{Kept, MAX_DEVICES, ProducerEpoch, Sequencer, Unsequenced};
use spindle_core::{Batch, Timestamp};
use tracing::{error, info, warn};

use crate::clock;
use crate::data_dir::atomic_file;
use crate::metrics::DAEMON_UNNUMBERED;

/// Name of the file in the data directory.
const FILE: &str = "daemon-seq.json";

/// The sequencer and its file; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct SequenceNumbers(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// `None` until the clock is right: no epoch can be started before.
    sequencer: Option<Sequencer>,
    /// Each logged once.
    has_logged_full: bool,
    has_logged_no_epoch: bool,
    has_logged_late: bool,
}

impl SequenceNumbers {
    /// Starts an epoch: with the counters of the previous one, if that stopped in order. If the clock is wrong and no
    /// previous one is known, the numbers begin once the clock is right.
    pub(super) fn open(data_dir: &Path, now: Timestamp) -> Result<Self> {
        let path = data_dir.join(FILE);
        let sequencer = start(&path, now)?;
        if sequencer.is_none() {
            warn!(%now, "the clock is wrong: readings get no sequence numbers until it shows a time from 2024 to 2040");
        }
        let has_logged_no_epoch = sequencer.is_none();
        let inner = Inner { path, sequencer, has_logged_full: false, has_logged_no_epoch, has_logged_late: false };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Numbers each reading. What cannot be numbered is published without a number, and counted.
    pub(super) fn assign(&self, batch: &mut Batch) {
        self.assign_at(batch, clock::now());
    }

    fn assign_at(&self, batch: &mut Batch, now: Timestamp) {
        let inner = &mut *self.lock();
        if inner.sequencer.is_none() {
            inner.start_late(now);
        }
        let path = inner.path.clone();
        let unnumbered = match &mut inner.sequencer {
            Some(sequencer) => sequencer.assign(batch, || renew(&path, now)),
            None => Unsequenced { n_no_epoch: batch.len() as u64, ..Unsequenced::default() },
        };
        if unnumbered != Unsequenced::default() {
            inner.note(unnumbered);
        }
    }

    /// Saves the counters for the next epoch. No number may be assigned afterwards.
    pub(super) fn keep(&self) {
        let inner = self.lock();
        let Some(sequencer) = &inner.sequencer else { return };
        if let Err(error) = write(&inner.path, &sequencer.keep()) {
            warn!(error = format!("{error:#}"), "sequence numbers not saved, the next start begins a new epoch");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Starts the first epoch, once the clock is right.
    fn start_late(&mut self, now: Timestamp) {
        if ProducerEpoch::begin(now, None).is_none() {
            return;
        }
        match start(&self.path, now) {
            Ok(sequencer) => (self.sequencer, self.has_logged_no_epoch) = (sequencer, false),
            Err(error) if !std::mem::replace(&mut self.has_logged_late, true) => {
                warn!(error = format!("{error:#}"), "sequence numbers not started, retrying");
            }
            Err(_) => {}
        }
    }

    fn note(&mut self, unnumbered: Unsequenced) {
        let Unsequenced { n_before, n_devices_full, n_no_epoch } = unnumbered;
        for (reason, n_items) in
            [("before_start", n_before), ("devices_full", n_devices_full), ("no_epoch", n_no_epoch)]
        {
            DAEMON_UNNUMBERED.with_label_values(&[reason]).inc_by(n_items);
        }
        if n_devices_full > 0 && !std::mem::replace(&mut self.has_logged_full, true) {
            warn!(MAX_DEVICES, "too many devices to number, the gap audit cannot cover the rest");
        }
        if n_no_epoch > 0 && !std::mem::replace(&mut self.has_logged_no_epoch, true) {
            error!(path = %self.path.display(), "no sequence-number epoch recorded, readings are not numbered");
        }
    }
}

/// Records an epoch of its own for readings that are numbered apart; `None` if the clock is wrong. Call it before
/// [`SequenceNumbers::open`].
pub(super) fn epoch_apart(data_dir: &Path, now: Timestamp) -> Result<Option<ProducerEpoch>> {
    let path = data_dir.join(FILE);
    let kept = read(&path)?;
    let Some(epoch) = ProducerEpoch::begin(now, kept.as_ref().map(|kept| kept.producer_epoch)) else { return Ok(None) };
    // The counters of the others stay: they go on in the epoch that follows.
    let devices = kept.map(|kept| kept.devices).unwrap_or_default();
    write(&path, &Kept { producer_epoch: epoch, devices })?;
    Ok(Some(epoch))
}

/// Records an epoch and returns its counters; `None` if the clock is wrong and no earlier epoch is known.
fn start(path: &Path, now: Timestamp) -> Result<Option<Sequencer>> {
    let kept = read(path)?;
    let before = kept.as_ref().map(|kept| kept.producer_epoch);
    let Some(epoch) = ProducerEpoch::begin(now, before) else { return Ok(None) };
    write(path, &Kept { producer_epoch: epoch, devices: Default::default() })?;
    if before.is_some_and(|before| before >= epoch) {
        let path = path.display();
        warn!(%path, "sequence file names the last epoch, which only a wrong clock leads to: starting one by the clock");
    }
    match kept.as_ref().map(|kept| kept.devices.len()) {
        Some(n_devices) if n_devices > 0 => info!(n_devices, "sequence numbers continue"),
        _ => info!("starting a new sequence-number epoch"),
    }
    Ok(Some(Sequencer::new(epoch, kept, now)))
}

/// Starts an epoch within one, when a counter is exhausted: once in 16 million readings of a device, so its sync to
/// disk does no harm here.
fn renew(path: &Path, now: Timestamp) -> Option<ProducerEpoch> {
    let renewed = || -> Result<ProducerEpoch> {
        let previous = read(path)?.map(|kept| kept.producer_epoch);
        let epoch = ProducerEpoch::begin(now, previous).context("no epoch left")?;
        write(path, &Kept { producer_epoch: epoch, devices: Default::default() })?;
        Ok(epoch)
    };
    renewed().inspect_err(|error| warn!(error = format!("{error:#}"), "no new sequence-number epoch started")).ok()
}

/// Returns the content of the file; `None` if it does not exist or is damaged.
fn read(path: &Path) -> Result<Option<Kept>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    match serde_json::from_slice(&bytes) {
        Ok(kept) => Ok(Some(kept)),
        Err(error) => {
            let path = path.display();
            warn!(%error, %path, "sequence file damaged: the clock alone distinguishes the new epoch from earlier ones");
            Ok(None)
        }
    }
}

fn write(path: &Path, kept: &Kept) -> Result<()> {
    atomic_file::write(path, &serde_json::to_vec(kept)?).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use spindle_core::{DeviceMetric, DeviceName, MetricType};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

    fn take(numbers: &SequenceNumbers, n: usize) -> Vec<u64> {
        take_at(numbers, n, NOW).into_iter().map(Option::unwrap).collect()
    }

    fn take_at(numbers: &SequenceNumbers, n: usize, now: Timestamp) -> Vec<Option<u64>> {
        let metric = DeviceMetric {
            timestamp: NOW,
            source_device: DeviceName::new("disk").unwrap(),
            metric_type: MetricType::new("IOPs").unwrap(),
            value: 1.0,
            seq: None,
            labels: None,
        };
        let mut batch = Batch { metrics: vec![metric; n], events: vec![] };
        numbers.assign_at(&mut batch, now);
        batch.metrics.iter().map(|metric| metric.seq).collect()
    }

    #[test]
    fn numbers_go_on_after_a_stop_and_begin_anew_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SequenceNumbers::open(folder.path(), NOW).unwrap();
        let numbers = open();
        let first = take(&numbers, 3);
        numbers.keep();
        // The clock stands still: only the file distinguishes the epochs.
        let stopped = open();
        let second = take(&stopped, 2);
        assert_eq!(second[0], first[2] + 1);
        drop(stopped);
        let third = take(&open(), 2);
        let all: Vec<u64> = [first, second, third.clone()].concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 7, "{all:?}");
        assert_eq!(third[0] % (1 << 24), 0);
    }

    /// Saved counters are removed from the file before a number is assigned: a second start from the same file would
    /// assign the same numbers.
    #[test]
    fn what_was_kept_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SequenceNumbers::open(folder.path(), NOW).unwrap();
        let numbers = open();
        take(&numbers, 3);
        numbers.keep();
        let (one, other) = (open(), open());
        assert!(take(&one, 2).iter().all(|seq| !take(&other, 2).contains(seq)));
    }

    #[test]
    fn a_damaged_file_begins_new_runs_and_an_unwritable_one_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for damaged in ["", "{", "{\"life\":-1}", "{\"life\":1,\"devices\":{\"\":[1,2]}}", "null"] {
            std::fs::write(&path, damaged).unwrap();
            take(&SequenceNumbers::open(folder.path(), NOW).unwrap(), 1);
        }
        let nowhere = folder.path().join("missing");
        assert!(SequenceNumbers::open(&nowhere, NOW).unwrap_err().to_string().contains("cannot write"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(SequenceNumbers::open(folder.path(), NOW).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_run_that_is_used_up_is_followed_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = SequenceNumbers::open(folder.path(), NOW).unwrap();
        let first = take(&numbers, 1)[0];
        let kept = std::fs::read_to_string(folder.path().join(FILE)).unwrap().replace('}', "");
        let near_the_end = format!("{kept},\"devices\":{{\"disk\":[{},null]}}}}", first + (1 << 24) - 2);
        std::fs::write(folder.path().join(FILE), near_the_end).unwrap();
        let numbers = SequenceNumbers::open(folder.path(), NOW).unwrap();
        let taken = take(&numbers, 3);
        assert_eq!(taken.iter().map(|seq| seq % (1 << 24)).collect::<Vec<_>>(), [(1 << 24) - 2, (1 << 24) - 1, 0]);
        assert!(taken[2] > taken[1]);
    }

    /// 1970, 2000, 2041 and 2262.
    const WRONG: [i64; 4] = [0, 946_684_800, 2_240_524_800, 9_223_372_036];

    #[test]
    fn a_wrong_clock_neither_ends_the_numbers_nor_doubles_one() {
        for wrong in WRONG.map(Timestamp::from_seconds) {
            let folder = tempfile::tempdir().unwrap();
            let open = |now| SequenceNumbers::open(folder.path(), now).unwrap();
            // Without a file, nothing separates this start from an earlier one.
            let numbers = open(wrong);
            assert_eq!(take_at(&numbers, 2, wrong), [None, None]);
            numbers.keep();
            assert!(!folder.path().join(FILE).exists());
            // The clock is set right while it runs.
            let mut all = take(&numbers, 2);
            numbers.keep();
            // With a file, each start has an epoch of its own whatever the clock shows.
            for now in [wrong, wrong, NOW, wrong, NOW] {
                let taken = take_at(&open(now), 2, now);
                all.extend(taken.into_iter().map(Option::unwrap));
            }
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 12, "{wrong}: {all:?}");
        }
    }

    /// Earlier versions gave the last epoch to a clock beyond 2041, and then refused every start.
    #[test]
    fn a_file_of_the_last_epoch_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        for life in [(1_u32 << 28) - 1, u32::MAX] {
            std::fs::write(folder.path().join(FILE), format!("{{\"life\":{life}}}")).unwrap();
            let open = || SequenceNumbers::open(folder.path(), NOW).unwrap();
            let (first, second) = (take(&open(), 1)[0], take(&open(), 1)[0]);
            assert!(first < second && second < 1 << 52);
        }
    }
}
