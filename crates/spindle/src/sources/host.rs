//! This machine: activity and temperature of its disks, and usage of its file systems.
//!
//! Everything is read from `/proc` and `/sys`, without root. All calls block, and a failing disk may take long to
//! report its temperature: call [`Host::sample`] in `spawn_blocking`, with a timeout, one call at a time. Network
//! file systems are never touched, since a call to a hung one never returns. A device that vanishes or returns
//! nonsense is counted, and does not affect the others.

mod activity;
mod disks;
mod file_systems;
mod mounts;
mod problems;
mod roots;
mod temperature;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spindle_core::{Batch, DeviceMetric, DeviceName, Labels, MetricType, Timestamp, metric};

pub(crate) use problems::Problems;
pub(crate) use roots::Roots;

use activity::ActivitySample;
use problems::{Problem, ProblemKind};

/// Block devices and file systems of one machine, sampled repeatedly.
#[derive(Debug)]
pub(crate) struct Host {
    roots: Roots,
    hostname: String,
    /// Start of the monotonic clock that rates are measured on.
    started: Instant,
    /// The latest activity of each disk in the last sample.
    previous: BTreeMap<String, ActivitySample>,
    /// Disks found by the last sample; `None` before the first.
    n_disks: Option<usize>,
    /// Local file systems found by the last sample; `None` before the first.
    n_file_systems: Option<usize>,
    problems: Problems,
}

impl Host {
    /// A machine before its first sample. Devices are named `<hostname>:<disk>` and `<hostname>:<mount point>`.
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

    /// Samples the machine at `now`: of each disk `IOPs`, `ReadThroughput`, `WriteThroughput`, `Latency` (if a
    /// request completed), `Utilization` and `QueueDepth` since the last sample, and `DiskTemp` if it has a sensor;
    /// of each local file system `CapacityUsed`. The first sample has no rates. Blocks; see the module. Adds problems
    /// to [`Host::problems`].
    pub(crate) fn sample(&mut self, now: Timestamp) -> Batch {
        let uptime = self.started.elapsed();
        self.sample_at(now, uptime)
    }

    /// Returns true if the last sample found neither a disk nor a file system; false before the first.
    pub(crate) fn is_bare(&self) -> bool {
        (self.n_disks, self.n_file_systems) == (Some(0), Some(0))
    }

    /// Problems since the start.
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
        let mut activities = BTreeMap::new();
        for disk in &disks {
            let Some(mut report) = self.report(now, &disk.display_name(), disk.labels(&self.hostname)) else {
                continue;
            };
            let previous = report.host.previous.get(&disk.name).copied();
            match activity::read(disk, uptime) {
                Ok(activity) => {
                    let kept = report.add_activity(previous, activity);
                    activities.insert(disk.name.clone(), kept);
                }
                Err(problem) => report.host.problems.note(problem),
            }
            if let Some(celsius) = temperatures.get(&disk.name) {
                report.add("DiskTemp", *celsius);
            }
            batch.metrics.append(&mut report.metrics);
        }
        self.previous = activities;
        if disks.is_empty() && self.n_disks != Some(0) {
            let message = format!(
                "no disk in {}; is this a container or a virtual machine?",
                self.roots.sys.join("block").display()
            );
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

    /// Starts the report of one device. Returns `None` if its name is not a valid device name.
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

/// Metrics of one device in one sample.
struct Report<'a> {
    host: &'a mut Host,
    now: Timestamp,
    device: DeviceName,
    /// Labels, until the first metric takes them.
    labels: Option<Box<Labels>>,
    metrics: Vec<DeviceMetric>,
}

impl Report<'_> {
    /// Adds one value, unless it is outside the range in the metric table.
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

    /// Adds the rates between two samples, and returns the one at which the next interval starts.
    fn add_activity(&mut self, previous: Option<ActivitySample>, current: ActivitySample) -> ActivitySample {
        let Some(previous) = previous.filter(|previous| previous.same_disk(&current)) else { return current };
        let seconds = current.uptime.saturating_sub(previous.uptime).as_secs_f64();
        if seconds < activity::MIN_INTERVAL_SECONDS {
            return previous;
        }
        match current.counters.since(&previous.counters) {
            Some(delta) => delta.rates(seconds).for_each(|(name, value)| self.add(name, value)),
            None => {
                let message =
                    format!("counters of {} decreased: they wrapped around, or the disk was replaced", self.device);
                self.host.problems.note(Problem::new(ProblemKind::CountersFell, message));
            }
        }
        current
    }
}

#[cfg(test)]
mod tests;
