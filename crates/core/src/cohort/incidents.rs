//! Findings to incidents: devices of one enclosure that get slow or fail together have one cause, the enclosure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::name::DeviceName;
use crate::timestamp::Timestamp;

/// Largest time between two findings of one incident. Two drives of one shelf that fail on their own within ten minutes
/// are rarer than a shelf with a bad power supply, cable or expander.
pub const TOGETHER_WITHIN: Duration = Duration::from_secs(600);

/// Device that became slow or failed.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceFinding {
    /// Device.
    pub device: DeviceName,
    /// Enclosure, if known.
    pub enclosure: Option<String>,
    /// Time at which the device became slow or failed.
    pub since: Timestamp,
}

/// One cause with the devices it explains.
#[derive(Clone, Debug, PartialEq)]
pub struct CohortIncident {
    /// Enclosure that its devices have in common; `None` for the incident of a single device.
    pub enclosure: Option<String>,
    /// Devices, in order of name.
    pub devices: Vec<DeviceName>,
    /// Time of the first finding.
    pub since: Timestamp,
}

/// Groups findings into incidents, in order of time. Findings in one enclosure, each within [`TOGETHER_WITHIN`] of the
/// next, are one incident that names the enclosure if they concern two devices or more. The order of `findings` does not
/// matter.
pub fn group(findings: &[DeviceFinding]) -> Vec<CohortIncident> {
    let mut by_enclosure: BTreeMap<&str, Vec<&DeviceFinding>> = BTreeMap::new();
    let mut incidents = Vec::new();
    for finding in findings {
        match &finding.enclosure {
            Some(enclosure) => by_enclosure.entry(enclosure).or_default().push(finding),
            None => incidents.push(incident(None, &[finding])),
        }
    }
    for (enclosure, mut findings) in by_enclosure {
        findings.sort_by(|a, b| (a.since.as_ns(), &a.device).cmp(&(b.since.as_ns(), &b.device)));
        let together = |a: &&DeviceFinding, b: &&DeviceFinding| b.since <= a.since.plus(TOGETHER_WITHIN);
        incidents.extend(findings.chunk_by(together).map(|findings| incident(Some(enclosure), findings)));
    }
    incidents.sort_by(|a, b| (a.since, &a.devices).cmp(&(b.since, &b.devices)));
    incidents
}

/// Returns the incident of some findings, of which there is one at least, the earliest first.
fn incident(enclosure: Option<&str>, findings: &[&DeviceFinding]) -> CohortIncident {
    let mut devices: Vec<_> = findings.iter().map(|finding| finding.device.clone()).collect();
    devices.sort();
    devices.dedup();
    let enclosure = enclosure.filter(|_| devices.len() > 1).map(str::to_owned);
    CohortIncident { enclosure, devices, since: findings[0].since }
}
