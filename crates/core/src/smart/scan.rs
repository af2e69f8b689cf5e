//! Output of `smartctl --scan-open` and `--scan`: the devices that smartctl can talk to.

use serde_json::Value;

use super::fields::{rows, text};
use super::{SmartError, document};

/// Device to ask, and the way to talk to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SmartTarget {
    /// Path of the device, such as `/dev/sda` or `/dev/bus/0`.
    pub path: String,
    /// Argument of `-d`, such as `sat` or `megaraid,3`; `None` leaves it to smartctl.
    pub device_type: Option<String>,
}

impl SmartTarget {
    /// Returns `true` if the drive is behind a RAID controller, whose volume is what the path names.
    pub fn is_behind_raid(&self) -> bool {
        const CONTROLLERS: [&str; 9] =
            ["megaraid", "cciss", "3ware", "areca", "aacraid", "hpt", "jmb39x", "jms56x", "sssraid"];
        let parts = self.device_type.iter().flat_map(|kind| kind.split([',', '+']));
        parts.into_iter().any(|part| CONTROLLERS.iter().any(|controller| part.starts_with(controller)))
    }
}

impl std::fmt::Display for SmartTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.device_type {
            Some(device_type) => write!(formatter, "{} ({device_type})", self.path),
            None => formatter.write_str(&self.path),
        }
    }
}

/// Parses the output of a scan. A device that cannot be opened is in it as well: reading it says why.
///
/// # Errors
/// [`SmartError`] if the input is not an output of smartctl.
pub fn parse_scan(output: &[u8]) -> Result<Vec<SmartTarget>, SmartError> {
    let document: Value = document(output)?;
    let mut targets: Vec<SmartTarget> = Vec::new();
    for row in rows(&document, "/devices") {
        // A name that is not a path could pass for an option.
        let Some(path) = row.get("name").and_then(text).filter(|path| path.starts_with('/')) else { continue };
        let target = SmartTarget { path, device_type: row.get("type").and_then(text) };
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}
