//! SMART data of drives, as `smartctl` reads it: values, overall state and self-tests, under the names that the `host`
//! source gives the same drives.
//!
//! Each drive is read by a process of its own, a few at a time, within a time limit. One that does not answer is left
//! alone for a growing number of polls, and never read while an earlier process hangs on it. A drive in standby stays
//! there. Parsing is `spindle_core::smart`.
//!
//! - `command`: one run of smartctl, bounded in time and output.
//! - `quarantine`: drives that do not answer.
//! - `names`: the name and the labels of a drive.
//! - `states`: events of states that change, once each, over restarts too.

mod command;
mod names;
mod quarantine;
mod states;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use spindle_core::smart::{self, SMART_STANDBY, SmartReport, SmartTarget};
use spindle_core::wire::Event;
use spindle_core::{Batch, DeviceMetric, DeviceName, Labels, MetricType, Timestamp, metric};

use crate::config::DaemonConfig;

use super::host::{Problem, ProblemKind, Problems, Roots};
use command::{CommandError, Smartctl};
use names::Names;
use quarantine::Quarantine;
use states::States;

/// Drives read at the same time: enough for a shelf within a minute, and no burden for a controller.
const N_PARALLEL: usize = 4;
/// Reads what smartctl knows of a drive, without waking it: beside `--all` the logs with counts of their own and with
/// the limits of the temperature. A log of another kind of drive is passed over.
const READ: [&str; 6] =
    ["--json=c", "--all", "--log=devstat", "--log=scttemp", "--log=background", "--nocheck=standby"];
/// Reads the FARM log of Seagate drives; smartctl 7.4 or newer.
const READ_FARM: &str = "--log=farm";

/// Settings of the source.
#[derive(Clone, Debug)]
pub(crate) struct SmartOptions {
    /// Path or name of smartctl.
    pub(crate) program: PathBuf,
    /// Drives to read beside those that a scan finds.
    pub(crate) targets: Vec<SmartTarget>,
    pub(crate) is_scanning: bool,
    /// Longest time for one drive, or for a scan.
    pub(crate) timeout: Duration,
    pub(crate) hostname: String,
    pub(crate) roots: Roots,
    /// File of the `host` source that keeps the places of drives, and the names that several of them share.
    pub(crate) register: Option<PathBuf>,
    /// File that keeps the states of drives over restarts.
    pub(crate) states: Option<PathBuf>,
}

impl SmartOptions {
    /// Options as configured, without files.
    pub(crate) fn new(config: &DaemonConfig, hostname: &str) -> Self {
        Self {
            program: config.smart_program.clone(),
            targets: config.smart_devices.listed.clone(),
            is_scanning: config.smart_devices.is_scanning,
            timeout: config.smart_timeout,
            hostname: hostname.to_owned(),
            roots: Roots::default(),
            register: None,
            states: None,
        }
    }
}

/// Result of reading one drive.
#[derive(Debug)]
enum Reading {
    Report(Box<SmartReport>),
    Unreadable(Problem),
    /// The process may still hang.
    Silent(Option<tokio::process::Child>),
}

/// The drives of a machine, read repeatedly.
#[derive(Debug)]
pub(crate) struct Smart {
    options: SmartOptions,
    smartctl: Smartctl,
    started: Instant,
    /// Drives found by the last scan that succeeded.
    scanned: Vec<SmartTarget>,
    scan_quarantine: Quarantine,
    quarantines: BTreeMap<SmartTarget, Quarantine>,
    names: Names,
    states: States,
    problems: Problems,
    n_read: usize,
    n_asleep: usize,
}

impl Smart {
    /// Drives before their first poll. Blocks while it reads the file of states.
    pub(crate) fn new(options: SmartOptions) -> Self {
        let mut problems = Problems::default();
        let states = States::open(options.states.clone(), &mut problems);
        let smartctl = Smartctl::new(options.program.clone(), options.timeout);
        Self {
            options,
            smartctl,
            started: Instant::now(),
            scanned: Vec::new(),
            scan_quarantine: Quarantine::default(),
            quarantines: BTreeMap::new(),
            names: Names::default(),
            states,
            problems,
            n_read: 0,
            n_asleep: 0,
        }
    }

    /// Returns the events of the last poll before a restart, which may not have been handed on. Hand them on before
    /// the first poll, unchanged: the store knows those that it has by their identity.
    pub(crate) fn unconfirmed_events(&self) -> Vec<Event> {
        self.states.unconfirmed()
    }

    /// Returns the numbers of drives that the last poll read, and left asleep.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.n_read, self.n_asleep)
    }

    /// Problems since the start.
    pub(crate) fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Takes the lines for the log since the last call, each with its kind.
    pub(crate) fn take_log_lines(&mut self) -> Vec<(ProblemKind, String)> {
        self.problems.take_lines()
    }

    /// Reads all drives once. Adds problems to [`Smart::problems`].
    pub(crate) async fn poll(&mut self, now: Timestamp) -> Batch {
        self.problems.set_time(self.started.elapsed());
        (self.n_read, self.n_asleep) = (0, 0);
        let mut batch = Batch::default();
        if let Err(error) = self.smartctl.locate().await {
            self.note_unusable(&error);
            return batch;
        }
        let targets = self.targets().await;
        self.quarantines.retain(|target, _| targets.contains(target));
        self.names.refresh(&self.options).await;
        let due: Vec<SmartTarget> =
            targets.into_iter().filter(|target| self.quarantines.entry(target.clone()).or_default().is_due()).collect();
        let smartctl = &self.smartctl;
        let readings: Vec<_> = stream::iter(due)
            .map(|target| async move { (read(smartctl, &target).await, target) })
            .buffered(N_PARALLEL)
            .collect()
            .await;
        let mut seen = BTreeSet::new();
        for (reading, target) in readings {
            self.take(now, target, reading, &mut seen, &mut batch);
        }
        if self.n_read + self.n_asleep == 0 && self.problems.n_total() == 0 {
            let message = "smartctl finds no drive; is this a virtual machine? List drives in daemon.smart_devices";
            self.problems.note_once(Problem::new(ProblemKind::NoDisk, "smart", message.to_owned()));
        }
        self.states.save(&batch.events, &mut self.problems);
        batch
    }

    /// Returns the drives to read: those of the settings, and those that a scan finds.
    async fn targets(&mut self) -> Vec<SmartTarget> {
        if self.options.is_scanning && self.scan_quarantine.is_due() {
            match scan(&self.smartctl).await {
                Ok(found) => {
                    self.scanned = found;
                    self.scan_quarantine = Quarantine::default();
                }
                Err(CommandError::Silent(child)) => {
                    self.scan_quarantine.add_strike(child);
                    let message = format!("the scan for drives did not end; {} known", self.scanned.len());
                    self.problems.note(Problem::new(ProblemKind::NoAnswer, "scan", message));
                }
                Err(error) => self.note_unusable(&error),
            }
        }
        let mut targets = self.options.targets.clone();
        // The settings decide how a drive is read.
        let is_new = |target: &&SmartTarget| {
            !self.options.targets.iter().any(|set| set.path == target.path && !set.is_behind_raid())
        };
        targets.extend(self.scanned.iter().filter(is_new).cloned());
        targets.dedup();
        targets
    }

    /// Takes the result of one drive.
    fn take(
        &mut self,
        now: Timestamp,
        target: SmartTarget,
        reading: Reading,
        seen: &mut BTreeSet<String>,
        batch: &mut Batch,
    ) {
        let quarantine = self.quarantines.entry(target.clone()).or_default();
        let report = match reading {
            Reading::Silent(child) => {
                let n_polls = quarantine.add_strike(child);
                let limit = self.options.timeout.as_secs_f32();
                let message = format!("{target} did not answer within {limit} s; left alone for {n_polls} polls");
                return self.problems.note(Problem::new(ProblemKind::NoAnswer, target.to_string(), message));
            }
            Reading::Unreadable(problem) => return self.problems.note(problem),
            Reading::Report(report) => report,
        };
        *quarantine = Quarantine::default();
        let is_asleep = report.is_asleep();
        let Some((name, labels)) = self.names.of(&target, &report.identity, &self.options.hostname, is_asleep) else {
            self.n_asleep += usize::from(is_asleep);
            return;
        };
        if !seen.insert(name.clone()) {
            let message = format!("{target} is another way to {name}; it is read once");
            return self.problems.note_once(Problem::new(ProblemKind::LeftOut, target.to_string(), message));
        }
        let device = match DeviceName::new(&name) {
            Ok(device) => device,
            Err(error) => {
                return self.problems.note(Problem::new(ProblemKind::BadName, name, format!("device name {error}")));
            }
        };
        self.n_asleep += usize::from(is_asleep);
        self.n_read += usize::from(!is_asleep);
        if report.exit_status.is_incomplete() {
            let message = format!("{target} did not answer all commands: {}", messages(&report));
            self.problems.note_once(Problem::new(ProblemKind::NotKept, target.to_string(), message));
        }
        batch.events.extend(self.states.update(now, &device, &report, &labels));
        self.add(now, &device, &report, labels, batch);
    }

    /// Adds the values of one drive, except those outside the range in the metric table.
    fn add(&mut self, now: Timestamp, device: &DeviceName, report: &SmartReport, labels: Labels, batch: &mut Batch) {
        let asleep = MetricType::new(SMART_STANDBY).ok().map(|kind| (kind, f64::from(u8::from(report.is_asleep()))));
        let mut labels = Some(Box::new(labels));
        for (metric_type, value) in report.values.iter().cloned().chain(asleep) {
            if metric::lookup(&metric_type).is_some_and(|kind| !(kind.min..=kind.max).contains(&value)) {
                let message = format!("{metric_type} of {device} is {value}");
                self.problems.note(Problem::new(ProblemKind::OutOfRange, format!("{device} {metric_type}"), message));
                continue;
            }
            batch.metrics.push(DeviceMetric {
                timestamp: now,
                source_device: device.clone(),
                metric_type,
                value,
                seq: None,
                labels: labels.take(),
            });
        }
    }

    fn note_unusable(&mut self, error: &CommandError) {
        self.problems.note(Problem::new(ProblemKind::NoProgram, "smartctl", error.to_string()));
    }
}

/// Lists the drives that smartctl can open, else those that it knows of.
async fn scan(smartctl: &Smartctl) -> Result<Vec<SmartTarget>, CommandError> {
    for option in ["--scan-open", "--scan"] {
        let output = smartctl.run(&["--json=c", option]).await?;
        let found = smart::parse_scan(&output).map_err(|error| CommandError::Foreign(error.to_string()))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

async fn read(smartctl: &Smartctl, target: &SmartTarget) -> Reading {
    let device_type = target.device_type.as_ref().map(|device_type| format!("--device={device_type}"));
    let arguments: Vec<&str> = READ
        .into_iter()
        .chain(smartctl.knows_farm().then_some(READ_FARM))
        .chain(device_type.as_deref())
        .chain([target.path.as_str()])
        .collect();
    let problem = |kind, message| Reading::Unreadable(Problem::new(kind, target.to_string(), message));
    let output = match smartctl.run(&arguments).await {
        Ok(output) => output,
        Err(CommandError::Silent(child)) => return Reading::Silent(child),
        Err(error) => return problem(ProblemKind::NoProgram, error.to_string()),
    };
    let report = match smart::parse(&output) {
        Ok(report) => report,
        Err(error) => return problem(ProblemKind::Unparsable, format!("smartctl for {target}: {error}")),
    };
    if !report.values.is_empty() || report.is_asleep() {
        return Reading::Report(Box::new(report));
    }
    let said = messages(&report);
    match ["Permission denied", "Operation not permitted", "Must be root"].iter().any(|text| said.contains(text)) {
        true => problem(ProblemKind::NoRights, format!("no right to read {target} ({said}); run as root")),
        false => problem(ProblemKind::Unreadable, format!("{target} reports no SMART data: {said}")),
    }
}

fn messages(report: &SmartReport) -> String {
    match report.messages.is_empty() {
        true => format!("exit status {}", report.exit_status.bits()),
        false => report.messages.join("; "),
    }
}
