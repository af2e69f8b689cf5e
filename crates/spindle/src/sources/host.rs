//! This machine: how busy its disks are, how warm, and how full its file systems.
//!
//! All of it is read from `/proc` and `/sys`, without root. Everything here blocks, and a dying disk may
//! take its time to say how warm it is: call [`Host::sample`] in `spawn_blocking`, with a time-out, one
//! call at a time. Network file systems are never touched, since a hung one would never come back.
//! A device that vanishes or answers nonsense is counted, and harms no other.

mod activity;
mod disks;
mod file_systems;
mod mounts;
mod problems;
mod temperature;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use spindle_core::{Batch, DeviceMetric, DeviceName, Labels, MetricType, Timestamp, metric};

pub(crate) use problems::Problems;

use activity::Reading;
use problems::{Problem, ProblemKind};

/// Where the kernel's views are mounted; other places in tests, and in a container that sees its host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    /// procfs.
    pub(crate) proc: PathBuf,
    /// sysfs.
    pub(crate) sys: PathBuf,
    /// Device nodes.
    pub(crate) dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), dev: "/dev".into() }
    }
}

/// The block devices and file systems of one machine, sampled again and again.
#[derive(Debug)]
pub(crate) struct Host {
    roots: Roots,
    hostname: String,
    /// Rates are measured on a clock that nobody sets.
    started: Instant,
    /// The last reading of each disk that was there in the last sample.
    previous: BTreeMap<String, Reading>,
    /// Disks found by the last sample; `None` before the first.
    n_disks: Option<usize>,
    /// Local file systems found by the last sample; `None` before the first.
    n_file_systems: Option<usize>,
    problems: Problems,
}

impl Host {
    /// A machine that was not sampled yet. Devices are named `<hostname>:<disk>` and
    /// `<hostname>:<mount point>`.
    pub(crate) fn new(roots: Roots, hostname: &str) -> Self {
        Self {
            roots,
            hostname: hostname.to_owned(),
            started: Instant::now(),
            previous: BTreeMap::new(),
            n_disks: None,
            n_file_systems: None,
            problems: Problems::default(),
        }
    }

    /// What the machine says at `now`: of each disk `IOPs`, `ReadThroughput`, `WriteThroughput`, `Latency`
    /// (if a request completed), `Utilization` and `QueueDepth` since the last sample, and `DiskTemp`
    /// where there is a sensor; of each local file system `CapacityUsed`. The first sample has no rates.
    /// Blocks; see the module. What went wrong is added to [`Host::problems`].
    pub(crate) fn sample(&mut self, now: Timestamp) -> Batch {
        let uptime = self.started.elapsed();
        self.sample_at(now, uptime)
    }

    /// Whether the last sample found neither a disk nor a file system: there is nothing to watch. False
    /// before the first.
    pub(crate) fn is_bare(&self) -> bool {
        (self.n_disks, self.n_file_systems) == (Some(0), Some(0))
    }

    /// What went wrong since the start.
    pub(crate) fn problems(&self) -> &Problems {
        &self.problems
    }

    fn sample_at(&mut self, now: Timestamp, uptime: Duration) -> Batch {
        let mut batch = Batch::default();
        self.sample_disks(now, uptime, &mut batch);
        self.sample_file_systems(now, &mut batch);
        batch
    }

    fn sample_disks(&mut self, now: Timestamp, uptime: Duration, batch: &mut Batch) {
        let disks = disks::discover(&self.roots.sys, &mut self.problems);
        let temperatures = temperature::of_disks(&self.roots.sys, &disks, &mut self.problems);
        let mut readings = BTreeMap::new();
        for disk in &disks {
            let Some(mut report) = self.report(now, &disk.shown_name(), disk.labels(&self.hostname)) else { continue };
            let previous = report.host.previous.get(&disk.name).copied();
            match activity::read(disk, uptime) {
                Ok(reading) => {
                    let kept = report.add_activity(previous, reading);
                    readings.insert(disk.name.clone(), kept);
                }
                Err(problem) => report.host.problems.note(problem),
            }
            if let Some(celsius) = temperatures.get(&disk.name) {
                report.add("DiskTemp", *celsius);
            }
            batch.metrics.append(&mut report.metrics);
        }
        self.previous = readings;
        if disks.is_empty() && self.n_disks != Some(0) {
            let message =
                format!("no disk in {}: a container, or a virtual machine?", self.roots.sys.join("block").display());
            self.problems.note(Problem::new(ProblemKind::NoDisk, message));
        }
        self.n_disks = Some(disks.len());
    }

    fn sample_file_systems(&mut self, now: Timestamp, batch: &mut Batch) {
        let file_systems = file_systems::discover(&self.roots, &mut self.problems);
        self.n_file_systems = Some(file_systems.len());
        for file_system in &file_systems {
            let labels = file_system.labels(&self.hostname);
            let Some(mut report) = self.report(now, &file_system.mount_point, labels) else { continue };
            match file_systems::used_percent(file_system) {
                Ok(Some(percent)) => report.add("CapacityUsed", percent),
                Ok(None) => {}
                Err(problem) => report.host.problems.note(problem),
            }
            batch.metrics.append(&mut report.metrics);
        }
    }

    /// An empty report of one device; `None` if what it is called is no name.
    fn report(&mut self, now: Timestamp, name: &str, labels: Labels) -> Option<Report<'_>> {
        match DeviceName::new(&format!("{}:{name}", self.hostname)) {
            Ok(device) => Some(Report { host: self, now, device, labels: Some(Box::new(labels)), metrics: Vec::new() }),
            Err(error) => {
                self.problems.note(Problem::new(ProblemKind::BadName, format!("device name {error}")));
                None
            }
        }
    }
}

/// What one device says in one sample.
struct Report<'a> {
    host: &'a mut Host,
    now: Timestamp,
    device: DeviceName,
    /// Until the first metric takes them.
    labels: Option<Box<Labels>>,
    metrics: Vec<DeviceMetric>,
}

impl Report<'_> {
    /// Adds one value, unless the metric table calls it impossible.
    fn add(&mut self, name: &'static str, value: f64) {
        let in_range = metric::lookup(name).is_none_or(|kind| (kind.min..=kind.max).contains(&value));
        let (true, Ok(metric_type)) = (in_range && value.is_finite(), MetricType::new(name)) else {
            let message = format!("{} of {} is {value}", name, self.device);
            self.host.problems.note(Problem::new(ProblemKind::OutOfRange, message));
            return;
        };
        self.metrics.push(DeviceMetric {
            timestamp: self.now,
            source_device: self.device.clone(),
            metric_type,
            value,
            seq: None,
            labels: self.labels.take(),
        });
    }

    /// Adds what happened between two readings, and says from which of them the next interval counts.
    fn add_activity(&mut self, previous: Option<Reading>, reading: Reading) -> Reading {
        let Some(previous) = previous.filter(|previous| previous.same_disk(&reading)) else { return reading };
        let seconds = reading.uptime.saturating_sub(previous.uptime).as_secs_f64();
        if seconds < activity::MIN_INTERVAL_SECONDS {
            return previous;
        }
        match reading.counters.since(&previous.counters) {
            Some(delta) => delta.rates(seconds).for_each(|(name, value)| self.add(name, value)),
            None => {
                let message = format!("counters of {} fell: wrapped around, or another disk", self.device);
                self.host.problems.note(Problem::new(ProblemKind::CountersFell, message));
            }
        }
        reading
    }
}

#[cfg(test)]
mod tests;
