//! Output of `smartctl --json`: what a drive reports of itself, as values, states and an identity.
//!
//! Nothing is guessed and nothing is fatal: a field that is missing or has another type than documented is absent, a
//! field of a newer smartctl becomes a metric without a unit. Raw values of ATA attributes are kept as they are stored;
//! [`crate::reading`] decodes them. Only input that is not the output of smartctl is an error.

mod ata;
mod device_statistics;
mod exit_status;
mod farm;
mod fields;
mod identity;
#[cfg(test)]
mod log_tests;
mod nvme;
mod scan;
mod scsi;
mod self_tests;
mod temperature;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::name::MetricType;

pub use exit_status::ExitStatus;
pub use identity::DriveIdentity;
pub use scan::{SmartTarget, parse_scan};

use fields::{number, text};

/// Metric: 1 if the drive says that it fails or a pre-failure attribute is at its threshold, else 0.
pub const SMART_FAILED: &str = "smart_failed";
/// Metric: 1 if smartctl left the drive asleep, else 0.
pub const SMART_STANDBY: &str = "smart_standby";

/// Most values of one drive; drives report up to a few hundred.
const MAX_VALUES: usize = 4096;

/// Error for input that is not an output of smartctl.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmartError {
    /// Not JSON.
    #[error("not JSON ({0}); smartctl 7.0 or newer is required")]
    NotJson(String),
    /// JSON of another program.
    #[error("JSON without 'smartctl' and 'device': not the output of smartctl")]
    NotSmartctl,
}

/// One drive, as smartctl reported it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SmartReport {
    /// Model, serial number, world-wide name and description.
    pub identity: DriveIdentity,
    /// Exit status, if the output has it.
    pub exit_status: ExitStatus,
    /// Metric type and value, each type once.
    pub values: Vec<(MetricType, f64)>,
    /// Overall state: `Some(true)` if the drive fails; `None` if it does not say.
    pub is_failed: Option<bool>,
    /// Reason of a failure, for people; empty if there is none.
    pub failure: String,
    /// Newest failed self-test that no later one clears, for people.
    pub failed_self_test: Option<String>,
    /// Messages of smartctl, in their order.
    pub messages: Vec<String>,
}

impl SmartReport {
    /// Returns `true` if smartctl left the drive alone because it is in standby or asleep.
    pub fn is_asleep(&self) -> bool {
        let is_mode = |message: &String| message.contains(" mode, exit(") || message.contains(" mode. Use ");
        self.values.is_empty() && self.exit_status.is_device_closed() && self.messages.iter().any(is_mode)
    }

    /// Returns a value by its metric type.
    pub fn value(&self, metric_type: &str) -> Option<f64> {
        self.values.iter().find(|(known, _)| known.as_str() == metric_type).map(|(_, value)| *value)
    }

    /// Adds a finite value, unless the type has one or its name is not valid.
    fn add(&mut self, metric_type: &str, value: f64) {
        let is_new = self.values.len() < MAX_VALUES && self.value(metric_type).is_none();
        if let (true, Ok(metric_type)) = (is_new && value.is_finite(), MetricType::new(metric_type)) {
            self.values.push((metric_type, value));
        }
    }

    /// Adds a number or truth value found at a pointer.
    fn add_at(&mut self, metric_type: &str, value: &Value, pointer: &str) {
        if let Some(found) = value.pointer(pointer).and_then(number) {
            self.add(metric_type, found);
        }
    }
}

/// Parses the output for one drive.
///
/// # Errors
/// [`SmartError`] if the input is not an output of smartctl.
pub fn parse(output: &[u8]) -> Result<SmartReport, SmartError> {
    let document = document(output)?;
    let mut report = SmartReport {
        identity: DriveIdentity::of(&document),
        exit_status: ExitStatus::of(&document),
        messages: messages(&document),
        ..SmartReport::default()
    };
    temperature::add(&mut report, &document);
    add_common(&mut report, &document);
    ata::add(&mut report, &document);
    device_statistics::add(&mut report, &document);
    farm::add(&mut report, &document);
    nvme::add(&mut report, &document);
    scsi::add(&mut report, &document);
    self_tests::add(&mut report, &document);
    judge(&mut report, &document);
    Ok(report)
}

fn document(output: &[u8]) -> Result<Value, SmartError> {
    // Drives report arbitrary bytes about themselves; one in a name must not cost all values.
    let text = String::from_utf8_lossy(output);
    let document: Value = serde_json::from_str(&text).map_err(|error| SmartError::NotJson(error.to_string()))?;
    match document.get("smartctl").or(document.get("device")).is_some_and(Value::is_object) {
        true => Ok(document),
        false => Err(SmartError::NotSmartctl),
    }
}

fn messages(document: &Value) -> Vec<String> {
    let messages = document.pointer("/smartctl/messages").and_then(Value::as_array).into_iter().flatten();
    messages.filter_map(|message| text(message.get("string")?)).collect()
}

/// Adds what smartctl reports alike for drives of all kinds.
fn add_common(report: &mut SmartReport, document: &Value) {
    if let Some(hours) = document.pointer("/power_on_time/hours").and_then(number) {
        let minutes = document.pointer("/power_on_time/minutes").and_then(number);
        report
            .add("PowerOnHours", hours + minutes.filter(|minutes| (0.0..60.0).contains(minutes)).unwrap_or(0.0) / 60.0);
    }
    report.add_at("PowerCycles", document, "/power_cycle_count");
}

/// Sets the overall state. The drive's own word, smartctl's exit status and pre-failure attributes at their threshold
/// each suffice for a failure; only the drive's own word clears it.
fn judge(report: &mut SmartReport, document: &Value) {
    let passed = document.pointer("/smart_status/passed").and_then(Value::as_bool);
    let mut reasons = Vec::new();
    if passed == Some(false) || report.exit_status.is_drive_failing() {
        let details = nvme::warnings(document).or_else(|| scsi::failure(document));
        reasons.push(match details {
            Some(details) => format!("the drive reports its own failure: {details}"),
            None => "the drive reports its own failure".to_owned(),
        });
    }
    let failing = ata::failing_now(document);
    if !failing.is_empty() {
        reasons.push(format!("pre-failure attributes at their threshold: {}", failing.join(", ")));
    } else if report.exit_status.is_prefail_at_threshold() {
        reasons.push("a pre-failure attribute is at its threshold".to_owned());
    }
    report.is_failed = if reasons.is_empty() { passed.map(|passed| !passed) } else { Some(true) };
    report.failure = reasons.join("; ");
    if let Some(is_failed) = report.is_failed {
        report.add(SMART_FAILED, f64::from(u8::from(is_failed)));
    }
}
