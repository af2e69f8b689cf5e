//! The numbers that the daemon gives to what live sources say, and the file in the data directory through which they
//! go on after a restart.
//!
//! The file names the newest life that was begun, and it does so on disk before the life's first number is
//! given: a crash never leads to a number twice. Only an orderly stop adds the counters, and the next start
//! takes them off again. One daemon per data directory; a second one begins lives of its own.
//!
//! Recordings get no numbers, they keep those that they have: the same recording again is stored once, and a number
//! of its own would then be missing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use spindle_core::audit::sequencer::{Kept, MAX_DEVICES, ProducerEpoch, Sequencer, Unsequenced};
use spindle_core::{Batch, Timestamp};
use tracing::{error, info, warn};

use crate::clock;
use crate::telemetry::DAEMON_UNNUMBERED;

/// Its name in the data directory.
const FILE: &str = "daemon-seq.json";

/// The counters; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(Arc<Mutex<Counting>>);

#[derive(Debug)]
struct Counting {
    path: PathBuf,
    numbering: Sequencer,
    /// Said once each.
    has_said_full: bool,
    has_said_no_life: bool,
}

impl Numbers {
    /// Begins a life: with the counters of the one before, if that stopped in order.
    pub(super) fn open(data_dir: &Path, now: Timestamp) -> Result<Self> {
        let path = data_dir.join(FILE);
        let kept = read(&path)?;
        let life = ProducerEpoch::begin(now, kept.as_ref().map(|kept| kept.producer_epoch))
            .with_context(|| format!("{} leaves no numbers to give: is it damaged? remove it", path.display()))?;
        write(&path, &Kept { producer_epoch: life, devices: Default::default() })
            .with_context(|| format!("cannot write {}", path.display()))?;
        match kept.as_ref().map(|kept| kept.devices.len()) {
            Some(n_devices) if n_devices > 0 => info!(n_devices, "numbers go on where they were"),
            _ => info!("numbers begin anew"),
        }
        let numbering = Sequencer::new(life, kept, now);
        let counting = Counting { path, numbering, has_said_full: false, has_said_no_life: false };
        Ok(Self(Arc::new(Mutex::new(counting))))
    }

    /// Numbers each reading. What cannot be numbered goes out without, and is counted.
    pub(super) fn number(&self, batch: &mut Batch) {
        let counting = &mut *self.lock();
        let path = counting.path.clone();
        let unnumbered = counting.numbering.assign(batch, || renew(&path));
        if unnumbered != Unsequenced::default() {
            counting.note(unnumbered);
        }
    }

    /// Leaves the counters to the next life. Give no number afterwards.
    pub(super) fn keep(&self) {
        let counting = self.lock();
        if let Err(fault) = write(&counting.path, &counting.numbering.keep()) {
            warn!(%fault, path = %counting.path.display(), "numbers could not be kept: the next start begins new runs");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting {
    fn note(&mut self, unnumbered: Unsequenced) {
        let Unsequenced { n_before, n_devices_full, n_no_epoch } = unnumbered;
        for (reason, n_items) in [("before_start", n_before), ("devices_full", n_devices_full), ("no_run", n_no_epoch)]
        {
            DAEMON_UNNUMBERED.with_label_values(&[reason]).inc_by(n_items);
        }
        if n_devices_full > 0 && !std::mem::replace(&mut self.has_said_full, true) {
            warn!(MAX_DEVICES, "more devices than are numbered: what the others say cannot be audited");
        }
        if n_no_epoch > 0 && !std::mem::replace(&mut self.has_said_no_life, true) {
            error!(path = %self.path.display(), "a counter is used up and a new run could not be noted: readings go out without numbers");
        }
    }
}

/// Begins a life in the middle of one, when a run is used up: once in 16 million readings of a device, so its
/// sync to disk does no harm here.
fn renew(path: &Path) -> Option<ProducerEpoch> {
    let renewed = || -> Result<ProducerEpoch> {
        let before = read(path)?.map(|kept| kept.producer_epoch);
        let life = ProducerEpoch::begin(clock::now(), before).context("no more runs")?;
        write(path, &Kept { producer_epoch: life, devices: Default::default() })?;
        Ok(life)
    };
    renewed().inspect_err(|fault| warn!(fault = format!("{fault:#}"), "no new run could be begun")).ok()
}

/// What was kept; nothing if there is no file, or none that makes sense.
fn read(path: &Path) -> Result<Option<Kept>> {
    let bytes = match std::fs::read(path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    match serde_json::from_slice(&bytes) {
        Ok(kept) => Ok(Some(kept)),
        Err(fault) => {
            warn!(%fault, path = %path.display(), "the file of numbers is damaged: new runs begin, told apart by the clock alone");
            Ok(None)
        }
    }
}

/// Whole or not at all, and on disk when it returns.
fn write(path: &Path, kept: &Kept) -> Result<()> {
    let draft = path.with_extension("json.new");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use spindle_core::{DeviceMetric, DeviceName, MetricType};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_750_000_000);

    fn take(numbers: &Numbers, n: usize) -> Vec<u64> {
        let metric = DeviceMetric {
            timestamp: NOW,
            source_device: DeviceName::new("disk").unwrap(),
            metric_type: MetricType::new("IOPs").unwrap(),
            value: 1.0,
            seq: None,
            labels: None,
        };
        let mut batch = Batch { metrics: vec![metric; n], events: vec![] };
        numbers.number(&mut batch);
        batch.metrics.iter().map(|metric| metric.seq.unwrap()).collect()
    }

    #[test]
    fn numbers_go_on_after_a_stop_and_begin_anew_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Numbers::open(folder.path(), NOW).unwrap();
        let numbers = open();
        let first = take(&numbers, 3);
        numbers.keep();
        // The clock stands still, and the file alone tells the lives apart.
        let stopped = open();
        let second = take(&stopped, 2);
        assert_eq!(second[0], first[2] + 1);
        drop(stopped);
        let third = take(&open(), 2);
        let all: Vec<u64> = [first, second, third.clone()].concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 7, "{all:?}");
        assert_eq!(third[0] % (1 << 24), 0);
    }

    /// What was kept is taken off the file before a number is given: a second start from the same file would
    /// give them again.
    #[test]
    fn what_was_kept_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Numbers::open(folder.path(), NOW).unwrap();
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
            take(&Numbers::open(folder.path(), NOW).unwrap(), 1);
        }
        std::fs::write(&path, "{\"life\":4294967295}").unwrap();
        let fault = Numbers::open(folder.path(), NOW).unwrap_err().to_string();
        assert!(fault.contains("daemon-seq.json leaves no numbers"), "{fault}");
        let nowhere = folder.path().join("missing");
        assert!(Numbers::open(&nowhere, NOW).unwrap_err().to_string().contains("cannot write"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Numbers::open(folder.path(), NOW).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn a_run_that_is_used_up_is_followed_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = Numbers::open(folder.path(), NOW).unwrap();
        let first = take(&numbers, 1)[0];
        let kept = std::fs::read_to_string(folder.path().join(FILE)).unwrap().replace('}', "");
        let near_the_end = format!("{kept},\"devices\":{{\"disk\":[{},null]}}}}", first + (1 << 24) - 2);
        std::fs::write(folder.path().join(FILE), near_the_end).unwrap();
        let numbers = Numbers::open(folder.path(), NOW).unwrap();
        let taken = take(&numbers, 3);
        assert_eq!(taken.iter().map(|seq| seq % (1 << 24)).collect::<Vec<_>>(), [(1 << 24) - 2, (1 << 24) - 1, 0]);
        assert!(taken[2] > taken[1]);
    }
}
