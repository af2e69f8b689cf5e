//! One series of a device: its newest value, and the detector if it makes sense as a series of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::detect::{Detector, RowScore};
use crate::fleet;
use crate::health::{self, CLOCK_TOLERANCE, TemperatureLimits};
use crate::metric::{self, Limits, MetricKind, Unit};
use crate::name::MetricType;
use crate::reading::{self, Reading};
use crate::records::LatestSample;
use crate::timestamp::Timestamp;

use super::note_control::NoteControl;

/// Metrics of the host that count what happened since the drive was new. The judge of drives and the limits read them; as
/// series they are flat, or a clock.
const COUNTS: [&str; 4] = ["PendingSectors", "PowerCycles", "PowerOnHours", "ReallocatedSectors"];
/// Prefixes of what a drive says about itself, which [`fleet`] judges beside other drives of its model.
const OF_DRIVES: [&str; 3] = ["smart_", "nvme_", "scsi_"];
/// Prefix of the metrics of Spindle itself.
const OWN: &str = "spindle_";
/// What a drive states about itself, which does not move.
const STATED: [&str; 4] = ["DiskTempCritical", "DiskTempHighest", "DiskTempWarning", "IsFlash"];
/// Factor by which an interval moves the usual one: towards the median, whatever the size of a gap.
const INTERVAL_STEP: f32 = 1.1;

/// Readers of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::judge) struct Uses {
    /// Row of the metric table, if values are judged by limits.
    pub(in crate::judge) limited: Option<&'static MetricKind>,
    /// `true` if the judge of drives reads it.
    pub(in crate::judge) is_of_drive: bool,
    /// `true` if the judgement of other values reads it.
    pub(in crate::judge) is_stated: bool,
    /// `true` if it has a detector.
    pub(in crate::judge) is_detected: bool,
    /// Range of values that mean what they say and are below every limit.
    fine: (f64, f64),
}

impl Uses {
    pub(in crate::judge) fn of(metric_type: &str) -> Self {
        let kind = metric::lookup(metric_type);
        Self {
            limited: kind.filter(|kind| kind.limits.is_some()),
            is_of_drive: fleet::is_read(metric_type),
            is_stated: health::is_statement(metric_type),
            is_detected: is_detected(metric_type, kind),
            fine: fine(metric_type, kind),
        }
    }

    fn is_fine(self, value: f64) -> bool {
        self.fine.0 <= value && value < self.fine.1
    }

    pub(in crate::judge) fn is_any(self) -> bool {
        self.limited.is_some() || self.is_of_drive || self.is_stated || self.is_detected
    }
}

/// Returns a range of values for which [`reading::read`] and the limits need not be asked: nearly all of them.
fn fine(metric_type: &str, kind: Option<&MetricKind>) -> (f64, f64) {
    if reading::is_encoded(metric_type) {
        return (f64::INFINITY, f64::INFINITY);
    }
    let Some(kind) = kind else { return (f64::NEG_INFINITY, f64::INFINITY) };
    match (kind.limits, kind.unit) {
        (Some(limits), _) => (kind.min.max(0.0), limits.warning),
        (None, Unit::Celsius) => (0.0, 100.0),
        (None, _) => (kind.min, kind.max),
    }
}

fn is_detected(metric_type: &str, kind: Option<&MetricKind>) -> bool {
    if STATED.contains(&metric_type)
        || metric_type.ends_with("_normalized")
        || metric_type.starts_with(OWN)
        || COUNTS.contains(&metric_type)
    {
        return false;
    }
    let is_temperature = kind.is_some_and(|kind| kind.unit == Unit::Celsius);
    is_temperature || !OF_DRIVES.iter().any(|prefix| metric_type.starts_with(prefix))
}

/// Newest value of a metric, with the usual time between two of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct NewestSample {
    /// Metric type; `None` if the series has it.
    pub(in crate::judge) metric_type: Option<MetricType>,
    pub(in crate::judge) time: Timestamp,
    pub(in crate::judge) value: f64,
    /// 0 while it is unknown.
    pub(in crate::judge) interval_s: f32,
}

impl NewestSample {
    pub(in crate::judge) fn new(metric_type: Option<MetricType>, time: Timestamp, value: f64) -> Self {
        Self { metric_type, time, value, interval_s: 0.0 }
    }

    /// Takes a value. Returns `false` for one that is late or a double. A value that is older only because the clock of
    /// the sender was ahead and has been set counts.
    pub(in crate::judge) fn take(&mut self, time: Timestamp, value: f64, received: Timestamp) -> bool {
        let latest = received.plus(CLOCK_TOLERANCE);
        let was_ahead = self.time > latest && time <= latest;
        if time <= self.time && !was_ahead {
            return false;
        }
        let gap_s = time.seconds_since(self.time) as f32;
        if gap_s > 0.0 {
            self.interval_s = match self.interval_s {
                0.0 => gap_s,
                usual if gap_s > usual => (usual * INTERVAL_STEP).min(gap_s),
                usual => (usual / INTERVAL_STEP).max(gap_s),
            };
        }
        (self.time, self.value) = (time, value);
        true
    }

    pub(in crate::judge) fn interval(&self) -> Option<Duration> {
        (self.interval_s > 0.0).then(|| Duration::try_from_secs_f32(self.interval_s).ok())?
    }

    pub(in crate::judge) fn named(&self) -> Option<LatestSample> {
        Some(LatestSample { metric_type: self.metric_type.clone()?, time: self.time, value: self.value })
    }
}

/// One series.
#[derive(Debug)]
pub(in crate::judge) struct Series {
    pub(in crate::judge) metric_type: MetricType,
    pub(in crate::judge) uses: Uses,
    pub(in crate::judge) newest: Option<NewestSample>,
    /// Usual time between two values of the drive before this one, 0 without one: who reads it stays the same.
    pub(in crate::judge) interval_before_s: f32,
    pub(in crate::judge) grade: Grade,
    pub(in crate::judge) detector: Option<Box<Detector>>,
    pub(in crate::judge) control: NoteControl,
}

/// Value beside the limits of its metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::judge) enum Grade {
    #[default]
    Fine,
    Unclear,
    Warning,
    Critical,
}

impl Series {
    pub(in crate::judge) fn new(metric_type: MetricType, uses: Uses) -> Self {
        let (newest, grade, control) = (None, Grade::Fine, NoteControl::default());
        Self { metric_type, uses, newest, interval_before_s: 0.0, grade, detector: None, control }
    }

    /// Returns the newest value.
    pub(in crate::judge) fn latest(&self) -> Option<LatestSample> {
        let NewestSample { time, value, .. } = self.newest.as_ref()?;
        Some(LatestSample { metric_type: self.metric_type.clone(), time: *time, value: *value })
    }

    /// Takes a value; returns `false` for one that is late or a double.
    pub(in crate::judge) fn take(&mut self, time: Timestamp, value: f64, received: Timestamp) -> bool {
        match &mut self.newest {
            Some(newest) => newest.take(time, value, received),
            empty @ None => {
                let interval_s = self.interval_before_s;
                *empty = Some(NewestSample { interval_s, ..NewestSample::new(None, time, value) });
                true
            }
        }
    }

    /// Forgets the values of a drive that was replaced at `time`, by the clock of the sender.
    pub(in crate::judge) fn replace(&mut self, time: Timestamp) {
        if let Some(newest) = self.newest.take_if(|newest| newest.time <= time) {
            (self.interval_before_s, self.grade) = (newest.interval_s, Grade::Fine);
        }
    }

    /// Grades a value by the limits; returns `true` if it may change the verdict on its device. Limits of the device
    /// itself count beside those of the metric, which hold again once it no longer states its own.
    pub(in crate::judge) fn regrade(&mut self, value: f64, before: Option<f64>, stated: TemperatureLimits) -> bool {
        let Some(kind) = self.uses.limited else { return false };
        let own = stated.limits(kind);
        let grade = match self.uses.is_fine(value) && own.is_none_or(|own| value < own.warning) {
            true => Grade::Fine,
            false => grade(kind, kind.limits, value).max(grade(kind, own, value)),
        };
        // A value beyond a limit may exceed the one that an operator has accepted.
        let may_change = grade != self.grade || (grade != Grade::Fine && before != Some(value));
        self.grade = grade;
        may_change
    }

    /// Judges a value by the past of its series.
    pub(in crate::judge) fn detect(&mut self, time: Timestamp, value: f64) -> Option<RowScore> {
        let detector = self.detector.as_mut()?;
        if self.uses.is_fine(value) {
            return Some(detector.push(time, value));
        }
        match reading::read(&self.metric_type, value) {
            Reading::Value(value) => Some(detector.push(time, value)),
            Reading::Absent | Reading::Unclear(_) => None,
        }
    }
}

fn grade(kind: &MetricKind, limits: Option<Limits>, value: f64) -> Grade {
    let Some(limits) = limits else { return Grade::Fine };
    let value = match reading::read(kind.name, value) {
        Reading::Absent => return Grade::Fine,
        Reading::Value(value) => Some(value),
        Reading::Unclear(unclear) => unclear.at_least,
    };
    match value {
        Some(value) if value >= limits.critical => Grade::Critical,
        Some(value) if value >= limits.warning => Grade::Warning,
        Some(_) => Grade::Fine,
        None => Grade::Unclear,
    }
}
