//! Name and labels of a drive. A drive that the kernel shows has the name of the `host` source, so that both report the
//! same device; one behind a RAID controller is named by what smartctl reports.

use std::collections::BTreeMap;

use spindle_core::Labels;
use spindle_core::smart::{DriveIdentity, SmartTarget};

use super::SmartOptions;
use crate::sources::host::{NamedDrive, name_drives};

/// Prefix of the kernel's names of NVMe controllers and namespaces.
const NVME: &str = "nvme";

/// Drives that the kernel shows, and the names of those that answered.
#[derive(Debug, Default)]
pub(super) struct Names {
    drives: Vec<NamedDrive>,
    known: BTreeMap<SmartTarget, (String, Labels)>,
}

impl Names {
    /// Reads the drives of the machine.
    pub(super) async fn refresh(&mut self, options: &SmartOptions) {
        let (roots, hostname, register) = (options.roots.clone(), options.hostname.clone(), options.register.clone());
        let named = tokio::task::spawn_blocking(move || name_drives(&roots, &hostname, register)).await;
        self.drives = named.unwrap_or_default();
    }

    /// Returns name and labels of a drive; `None` for one asleep that is not known.
    pub(super) fn of(
        &mut self,
        target: &SmartTarget,
        identity: &DriveIdentity,
        hostname: &str,
        is_asleep: bool,
    ) -> Option<(String, Labels)> {
        let drive = self.drive_of(target, identity);
        if is_asleep {
            let shown = drive.map(|drive| (drive.device.clone(), drive.labels.clone()));
            return shown.or_else(|| self.known.get(target).cloned());
        }
        let kernel_name = target.path.trim_start_matches("/dev/").to_owned();
        let name = drive.map(|drive| drive.device.clone()).or_else(|| identity.name());
        let name = name.unwrap_or_else(|| match &target.device_type {
            Some(device_type) if target.is_behind_raid() => format!("{hostname}:{kernel_name}:{device_type}"),
            _ => format!("{hostname}:{kernel_name}"),
        });
        let mut labels = drive.map(|drive| drive.labels.clone()).unwrap_or_default();
        let own = [
            ("host", Some(hostname.to_owned())),
            ("class", Some("BlockDevice".to_owned())),
            ("name", Some(kernel_name)),
            ("model", identity.model.clone()),
            ("serial", identity.serial.clone()),
            ("wwn", identity.wwn.clone()),
        ];
        let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        for (key, value) in own.chain(identity.labels.clone()) {
            labels.entry(key).or_insert(value);
        }
        self.known.insert(target.clone(), (name.clone(), labels.clone()));
        Some((name, labels))
    }

    /// Finds the drive that the kernel shows: by its name, or for NVMe by the serial number, since smartctl names the
    /// controller.
    fn drive_of(&self, target: &SmartTarget, identity: &DriveIdentity) -> Option<&NamedDrive> {
        if target.is_behind_raid() {
            return None;
        }
        let path = std::fs::canonicalize(&target.path).unwrap_or_else(|_| target.path.clone().into());
        let kernel_name = path.strip_prefix("/dev").ok()?.to_str()?;
        if let Some(drive) = self.drives.iter().find(|drive| drive.kernel_names.iter().any(|name| name == kernel_name))
        {
            return Some(drive);
        }
        let serial = identity.serial.as_deref().filter(|_| kernel_name.starts_with(NVME))?;
        let is_same = |drive: &&NamedDrive| {
            let is_nvme = drive.kernel_names.iter().any(|name| name.starts_with(NVME));
            is_nvme && drive.labels.get("serial").is_some_and(|known| known == serial)
        };
        let name = identity.name();
        let first = || self.drives.iter().find(is_same);
        self.drives.iter().filter(is_same).find(|drive| Some(&drive.device) == name.as_ref()).or_else(first)
    }
}
