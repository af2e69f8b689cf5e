//! This machine: activity and temperature of its drives, and usage of its file systems.
//!
//! Everything is read from `/proc` and `/sys`, without root. All calls block: call [`Host::sample`] in
//! `spawn_blocking`, with a timeout, one call at a time. Calls that may hang (sensors, file systems) run in threads of
//! their own and are waited for within bounds. What the kernel does not keep is absent, never 0. A device that vanishes
//! or returns nonsense is counted and named, and does not affect the others.
//!
//! - `block`: the block devices that are disks.
//! - `identity`, `place`, `drives`, `named`: what a disk says of itself, its place, and the name it reports under.
//! - `register`: moves and replacements, over restarts too.
//! - `counters`, `activity`: counters of a disk and the rates between two readings.
//! - `temperature`: sensors of drives.
//! - `mounts`, `file_systems`: the mount table and the usage of what is storage.
//! - `patience`: calls that may never return.
//! - `sysfs`, `roots`, `problems`: text of the kernel, its directories, and what is wrong with it.

mod activity;
mod block;
mod counters;
mod drives;
mod file_systems;
mod identity;
mod mounts;
mod named;
mod patience;
mod place;
mod problems;
mod register;
mod roots;
mod sysfs;
mod temperature;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use spindle_core::wire::Event;
use spindle_core::{Batch, DeviceMetric, DeviceName, Labels, MetricType, Timestamp, metric};

pub(crate) use named::{NamedDrive, name_drives};
pub(crate) use problems::{Problem, ProblemKind, Problems};
pub(crate) use roots::Roots;

use activity::{ActivitySample, Interval};
use drives::Drive;
use file_systems::UsageReading;
use patience::Patience;
use register::Register;
use temperature::{DriveTemperature, SensorReading};

/// Metrics made of a disk's counters, for people.
const ACTIVITY: &str = "activity";
/// Time between two statements of a drive's temperature limits, which hardly ever change: every window that health
/// looks at, of a minute or more, has one.
const LIMITS_INTERVAL: Duration = Duration::from_secs(30);

/// Drives and file systems of one machine, sampled repeatedly.
#[derive(Debug)]
pub(crate) struct Host {
    roots: Roots,
    hostname: String,
    /// Start of the monotonic clock that rates are measured on.
    started: Instant,
    register: Register,
    /// The latest activity of each drive in the last sample.
    previous: BTreeMap<String, ActivitySample>,
    /// Drives whose driver counts although the block layer does not.
    counts_anyway: BTreeSet<String>,
    sensors: Patience<SensorReading>,
    usages: Patience<UsageReading>,
    /// Uptime from which on the limits of temperatures are stated again.
    limits_due: Duration,
    /// Drives found by the last sample; `None` before the first.
    n_drives: Option<usize>,
    /// File systems found by the last sample; `None` before the first.
    n_file_systems: Option<usize>,
    problems: Problems,
}

impl Host {
    /// A machine before its first sample. Drives are named by their identity (see `drives`), file systems
    /// `<hostname>:<mount point>`. `register` is the file that keeps the places of drives over restarts.
    pub(crate) fn new(roots: Roots, hostname: &str, register: Option<PathBuf>) -> Self {
        let mut problems = Problems::default();
        Self {
            roots,
            hostname: hostname.to_owned(),
            started: Instant::now(),
            register: Register::open(register, &mut problems),
            previous: BTreeMap::new(),
            counts_anyway: BTreeSet::new(),
            sensors: Patience::default(),
            usages: Patience::default(),
            limits_due: Duration::ZERO,
            n_drives: None,
            n_file_systems: None,
            problems,
        }
    }

    /// Samples the machine at `now`: of each drive `IOPs`, `ReadThroughput`, `WriteThroughput`, `Latency` (if a
    /// request completed), `Utilization` and `QueueDepth` since the last sample, and `DiskTemp` if it has a sensor,
    /// with the drive's own limits of it every half a minute; of each file system `CapacityUsed`. The first sample has no rates. Events: `DeviceMoved` and `DriveReplaced`.
    /// Blocks; see the module. Adds problems to [`Host::problems`].
    pub(crate) fn sample(&mut self, now: Timestamp) -> Batch {
        let uptime = self.started.elapsed();
        self.sample_at(now, uptime)
    }

    /// Returns the events of the last sample before a restart, which may not have been handed on. Hand them on before
    /// the first sample, unchanged: the store knows those that it has by their identity.
    pub(crate) fn unconfirmed_events(&self) -> Vec<Event> {
        self.register.unconfirmed()
    }

    /// Returns true if the last sample found neither a drive nor a file system; false before the first.
    pub(crate) fn is_bare(&self) -> bool {
        (self.n_drives, self.n_file_systems) == (Some(0), Some(0))
    }

    /// Problems since the start.
    pub(crate) fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Takes the lines for the log since the last call, each with its kind.
    pub(crate) fn take_log_lines(&mut self) -> Vec<(problems::ProblemKind, String)> {
        self.problems.take_lines()
    }

    fn sample_at(&mut self, now: Timestamp, uptime: Duration) -> Batch {
        self.problems.set_time(uptime);
        let mut batch = Batch::default();
        self.sample_drives(now, uptime, &mut batch);
        self.sample_file_systems(now, &mut batch);
        batch
    }

    fn sample_drives(&mut self, now: Timestamp, uptime: Duration, batch: &mut Batch) {
        let drives = self.discover();
        if let Some(drives) = &drives {
            batch.events = self.register.update(now, &self.hostname, drives, &mut self.problems);
        }
        let drives = drives.unwrap_or_default();
        let with_limits = uptime >= self.limits_due;
        if with_limits {
            self.limits_due = uptime + LIMITS_INTERVAL;
        }
        let temperatures =
            temperature::of_drives(&self.roots.sys, &drives, with_limits, &mut self.sensors, &mut self.problems);
        let mut activities = BTreeMap::new();
        for drive in &drives {
            let Some(mut report) = self.report(now, &drive.device, drive.labels(&self.hostname)) else { continue };
            let current = activity::read(drive, uptime, &mut report.host.problems);
            let previous = report.host.previous.remove(&drive.device);
            activities.insert(drive.device.clone(), report.add_activity(previous, current));
            if let Some(temperature) = temperatures.get(&drive.device) {
                report.add_temperature(temperature, drive.is_rotational().filter(|_| with_limits));
            }
            batch.metrics.append(&mut report.metrics);
        }
        self.previous = activities;
        if drives.is_empty() && self.n_drives != Some(0) {
            let place = self.roots.sys.join("block").display().to_string();
            let message = format!("no disk in {place}; is this a container or a virtual machine?");
            self.problems.note(Problem::new(ProblemKind::NoDisk, place, message));
        }
        self.n_drives = Some(drives.len());
    }

    fn discover(&mut self) -> Option<Vec<Drive>> {
        let disks = block::discover(&self.roots.sys, &mut self.problems)?;
        let shared = &mut self.register.shared;
        Some(drives::of_disks(disks, &self.roots, &self.hostname, shared, &mut self.problems))
    }

    fn sample_file_systems(&mut self, now: Timestamp, batch: &mut Batch) {
        let measured = file_systems::measure(&self.roots, &mut self.usages, &mut self.problems);
        self.n_file_systems = Some(measured.len());
        for (file_system, percent) in &measured {
            let labels = file_system.labels(&self.hostname);
            let name = format!("{}:{}", self.hostname, file_system.mount_point);
            let Some(mut report) = self.report(now, &name, labels) else { continue };
            report.add("CapacityUsed", *percent);
            batch.metrics.append(&mut report.metrics);
        }
    }

    /// Starts the report of one device. Returns `None` if its name is not a valid device name.
    fn report(&mut self, now: Timestamp, name: &str, labels: Labels) -> Option<Report<'_>> {
        match DeviceName::new(name) {
            Ok(device) => Some(Report { host: self, now, device, labels: Some(Box::new(labels)), metrics: Vec::new() }),
            Err(error) => {
                self.problems.note(Problem::new(ProblemKind::BadName, name, format!("device name {error}")));
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
            let subject = format!("{} {name}", self.device);
            self.host.problems.note(Problem::new(ProblemKind::OutOfRange, subject, message));
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

    /// Adds a temperature, the drive's own limits, and its kind if it is given.
    fn add_temperature(&mut self, temperature: &DriveTemperature, is_rotational: Option<bool>) {
        self.add("DiskTemp", temperature.current);
        let stated = [
            ("DiskTempCritical", temperature.critical),
            ("DiskTempWarning", temperature.warning),
            ("IsFlash", is_rotational.map(|rotational| f64::from(u8::from(!rotational)))),
        ];
        stated
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .for_each(|(name, value)| self.add(name, value));
    }

    /// Adds the rates between two samples, and returns the one at which the next interval starts.
    fn add_activity(&mut self, previous: Option<ActivitySample>, current: ActivitySample) -> ActivitySample {
        let Some(previous) = previous else { return current };
        let seconds = current.uptime.saturating_sub(previous.uptime).as_secs_f64();
        if seconds < activity::MIN_INTERVAL_SECONDS {
            return previous;
        }
        let mut counts_anyway = self.host.counts_anyway.contains(&*self.device);
        let interval = current.since(&previous, &mut counts_anyway);
        if counts_anyway {
            self.host.counts_anyway.insert(self.device.to_string());
        }
        match interval {
            Interval::First => {}
            Interval::Reset => self.note_fall("counters decreased: the disk was reset or replaced"),
            Interval::NeverMoved => self.note_not_kept(ACTIVITY, "no counter has moved since the disk appeared"),
            Interval::SwitchedOff => self.note_not_kept(ACTIVITY, "queue/iostats is 0"),
            Interval::Known(kept) => {
                if kept.n_fell > 0 {
                    self.note_fall("a counter decreased and is left out");
                }
                if let Some(metrics) = kept.missing {
                    self.note_not_kept(metrics, "they stay 0 while requests complete");
                }
                if kept.overlaps {
                    self.note_not_kept("Utilization", "several paths are busy at the same time");
                }
                kept.rates(seconds).for_each(|(name, value)| self.add(name, value));
            }
        }
        current
    }

    fn note_fall(&mut self, what: &str) {
        let message = format!("{}: {what}", self.device);
        self.host.problems.note(Problem::new(ProblemKind::CountersFell, self.device.as_str(), message));
    }

    fn note_not_kept(&mut self, metrics: &str, cause: &str) {
        self.host.problems.note_once(activity::not_kept(&self.device, metrics, cause));
    }
}

#[cfg(test)]
mod tests;
