//! Place of a disk in the machine: the bay of its enclosure, the port of its controller, the kernel's name. Numbers
//! that the kernel hands out in the order of discovery are no part of a port.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::block::Disk;
use super::sysfs::{attribute, names};

/// Link from a SCSI disk to the bay that holds it, before the name of the bay.
const BAY_LINK: &str = "enclosure_device:";

/// Transports whose target numbers follow the order of discovery: SAS, Fibre Channel, iSCSI.
const FABRICS: [&str; 3] = ["end_device-", "rport-", "session"];

/// Place of a disk; what the kernel does not show is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Kernel's names; several for the paths of one multipath drive.
    pub(super) names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) enclosure: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<String>,
}

impl Place {
    /// Reads the place of a drive, given its paths.
    pub(super) fn read(paths: &[Disk]) -> Self {
        let names = paths.iter().map(Disk::display_name).collect();
        let Some(first) = paths.first() else { return Self::default() };
        let device = first.path.join("device");
        let (enclosure, bay) = bay(&device);
        Self { names, enclosure, bay, port: port(&device) }
    }

    /// Returns true if both are the same place, by the most reliable part that both have.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if self.bay.is_some() && other.bay.is_some() && self.enclosure.is_some() && other.enclosure.is_some() {
            return (&self.enclosure, &self.bay) == (&other.enclosure, &other.bay);
        }
        if self.port.is_some() && other.port.is_some() {
            return self.port == other.port;
        }
        self.shares_name(other)
    }

    /// Returns true if a kernel's name is the same.
    pub(super) fn shares_name(&self, other: &Self) -> bool {
        self.names.iter().any(|name| other.names.contains(name))
    }

    /// Returns the place for people.
    pub(super) fn describe(&self) -> String {
        let bay = self.bay.as_ref().map(|bay| match &self.enclosure {
            Some(enclosure) => format!("bay {bay} of enclosure {enclosure}"),
            None => format!("bay {bay}"),
        });
        [Some(self.names.join(", ")), bay].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Reads enclosure and bay: of a shelf with an SES processor, or of a SAS expander that numbers its bays.
fn bay(device: &Path) -> (Option<String>, Option<String>) {
    let linked = names(device).into_iter().find(|name| name.starts_with(BAY_LINK));
    if let Some(link) = linked {
        let id = attribute(&device.join(&link).join(".."), "id");
        return (id, Some(link[BAY_LINK.len()..].trim().to_owned()));
    }
    let Ok(real) = device.canonicalize() else { return (None, None) };
    let ports = real.ancestors().filter(|path| file_name(path).starts_with("end_device-"));
    for port in ports {
        let sas = port.join("sas_device").join(file_name(port));
        if let Some(bay) = attribute(&sas, "bay_identifier") {
            return (attribute(&sas, "enclosure_identifier"), Some(bay));
        }
    }
    (None, None)
}

/// Returns the port: address of the controller, then what lies between it and the disk, without numbers given in the
/// order of discovery. `None` for a device that is not on PCI or on a fabric, whose place the kernel does not show.
fn port(device: &Path) -> Option<String> {
    let real = controller(device)?;
    let components: Vec<&str> = real.iter().filter_map(|part| part.to_str()).collect();
    if components.iter().any(|part| FABRICS.iter().any(|prefix| part.starts_with(prefix))) {
        return None;
    }
    let last_pci = components.iter().rposition(|part| is_pci(part))?;
    let mut parts = vec![format!("pci-{}", components[last_pci])];
    for (index, part) in components.iter().enumerate().skip(last_pci + 1) {
        if let Some(number) = part.strip_prefix("ata").and_then(|number| number.parse::<u32>().ok()) {
            let controller: std::path::PathBuf = real.iter().take(index).collect();
            parts.push(format!("ata-{}", rank(&controller, number)));
        } else if index + 1 == components.len() && part.matches(':').count() == 3 {
            // Host, channel, target, unit: the host number follows the order of discovery.
            parts.push(part.split_once(':')?.1.to_owned());
        } else if part.contains('-') && part.starts_with(|ch: char| ch.is_ascii_digit()) && !part.contains(':') {
            // A USB port; the first number is that of the bus.
            parts.push(format!("usb-{}", part.split_once('-')?.1));
        }
    }
    Some(parts.join("-"))
}

/// Resolves a disk's device; for a multipath NVMe disk, the first controller of its subsystem.
fn controller(device: &Path) -> Option<std::path::PathBuf> {
    let real = device.canonicalize().ok()?;
    if !file_name(&real).starts_with("nvme-subsys") {
        return Some(real);
    }
    let is_controller = |name: &String| {
        name.strip_prefix("nvme").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let first = names(&real).into_iter().find(is_controller)?;
    real.join(first).canonicalize().ok()
}

/// Returns the rank of an ATA port among those of its controller, from 1: the kernel numbers all ports of the machine.
fn rank(controller: &Path, number: u32) -> usize {
    let ports = names(controller).into_iter().filter_map(|name| name.strip_prefix("ata")?.parse::<u32>().ok());
    1 + ports.filter(|other| *other < number).count()
}

/// Returns true for `0000:00:1f.2`.
fn is_pci(part: &str) -> bool {
    let mut fields = part.split([':', '.']);
    let is_hex = |field: Option<&str>, length: usize| {
        field.is_some_and(|field| field.len() >= length && field.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    part.contains('.') && is_hex(fields.next(), 4) && is_hex(fields.next(), 2) && is_hex(fields.next(), 2)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_no_number_of_discovery() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let ata = make("pci0000:00/0000:00:1f.2/ata4/host3/target3:0:0/3:0:0:0");
        make("pci0000:00/0000:00:1f.2/ata3");
        assert_eq!(port(&ata).as_deref(), Some("pci-0000:00:1f.2-ata-2-0:0:0"));
        let usb = make("pci0000:00/0000:00:14.0/usb2/2-1/2-1.3/2-1.3:1.0/host7/target7:0:0/7:0:0:1");
        assert_eq!(port(&usb).as_deref(), Some("pci-0000:00:14.0-usb-1-usb-1.3-0:0:1"));
        let virtio = make("pci0000:00/0000:00:02.0/virtio1");
        assert_eq!(port(&virtio).as_deref(), Some("pci-0000:00:02.0"));
        assert_eq!(port(&make("pseudo_0/adapter0/host0/target0:0:0/0:0:0:0")), None);
    }

    #[test]
    fn places_are_compared_by_what_both_have() {
        let place = |name: &str, bay: Option<&str>, port: Option<&str>| Place {
            names: vec![name.into()],
            enclosure: bay.map(|_| "0x5000".into()),
            bay: bay.map(Into::into),
            port: port.map(Into::into),
        };
        assert!(place("sda", Some("3"), Some("x")).is_same(&place("sdb", Some("3"), Some("y"))));
        assert!(!place("sda", None, Some("x")).is_same(&place("sda", Some("3"), Some("y"))));
        assert!(place("sda", None, None).is_same(&place("sda", Some("3"), Some("y"))));
    }
}
