//! Limits of temperatures: those that the device states, else those of its kind, else those of the metric table.
//!
//! Disks are specified up to some 60 °C, and flash at 66 °C is well. Both report `DiskTemp`, so the limits depend on what
//! else is known of the device: its own limits (`DiskTempWarning`, `DiskTempCritical`) and its kind (`IsFlash`). A
//! stated limit that no drive can have is ignored.

use crate::metric::{Limits, MetricKind};
use crate::reading::{self, Reading};
use crate::records::LatestSample;

/// Statements that limits depend on.
pub(super) const STATEMENTS: [&str; 3] = ["DiskTempCritical", "DiskTempWarning", "IsFlash"];
/// Temperatures of the drive as a whole; `nvme_temperature` repeats `DiskTemp`.
const JUDGED: [&str; 3] = ["DiskTemp", "smart_190_raw", "smart_194_raw"];
/// Flash slows itself down from 70 to 85 °C on and switches off from 85 to 95 °C on. Below that, a drive that does not
/// state its own limits has none that are known.
const FLASH: Limits = Limits { warning: 80.0, critical: 90.0, meaning: "hotter than flash is specified for" };
/// Distance between warning and critical where a device states only one of them: that of most data sheets.
const STEP: f64 = 5.0;
const OWN: &str = "hotter than the drive itself allows";

/// What a device states about its temperature.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TemperatureLimits {
    warning: Option<f64>,
    critical: Option<f64>,
    is_flash: bool,
}

impl TemperatureLimits {
    /// Reads the statements among the latest values.
    pub(crate) fn of(latest: &[LatestSample]) -> Self {
        let stated = |metric: &str| {
            let sample = latest.iter().find(|sample| sample.metric_type.as_str() == metric)?;
            match reading::read(metric, sample.value) {
                Reading::Value(value) => Some(value),
                Reading::Absent | Reading::Unclear(_) => None,
            }
        };
        Self {
            warning: stated("DiskTempWarning"),
            critical: stated("DiskTempCritical"),
            is_flash: stated("IsFlash") == Some(1.0),
        }
    }

    /// Returns the limits of a metric.
    pub(crate) fn limits(&self, kind: &MetricKind) -> Option<Limits> {
        let table = kind.limits?;
        if !JUDGED.contains(&kind.name) {
            return Some(table);
        }
        let usual = if self.is_flash { FLASH } else { table };
        let (warning, critical) = match (self.warning, self.critical) {
            (None, None) => return Some(usual),
            (Some(warning), None) => (warning, usual.critical.max(warning + STEP)),
            (None, Some(critical)) => (usual.warning.min(critical - STEP), critical),
            (Some(warning), Some(critical)) => (warning.min(critical), critical),
        };
        Some(Limits { warning, critical, meaning: OWN })
    }
}
