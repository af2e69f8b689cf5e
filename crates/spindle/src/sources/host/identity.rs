//! Identity of a disk: what it says of itself, as the kernel keeps it in sysfs. No device node, no root and no udev is
//! needed, so that a container names a drive as its host does.
//!
//! A serial number names a drive as udev's by-id links do, without the bus: `MODEL_SERIAL`. For SATA the full model
//! and serial come from the pages that the kernel read at attachment (0x89, 0x83), since the SCSI model is cut to 16
//! characters. Virtio has no model. A further NVMe namespace or USB unit is told apart by its number.

mod pages;

use std::path::{Path, PathBuf};

use spindle_core::drive_name;

use super::block::Disk;
use super::roots::Roots;
use super::sysfs::{attribute, printable};

/// Identity of one disk, and the labels that describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    /// World-wide name, such as `0x5000c500a1b2c3d4`, or `eui.…` and `uuid.…` for NVMe.
    pub(super) wwn: Option<String>,
    /// `MODEL_SERIAL`, if the serial number is plausible; for software RAID its own UUID.
    pub(super) by_serial: Option<String>,
    /// `wwn-…`, if the name is plausible.
    pub(super) by_wwn: Option<String>,
    /// USB bridges share and invent serial numbers, and are never multipath.
    pub(super) is_usb: bool,
}

impl Identity {
    /// Reads the identity of a disk.
    pub(super) fn read(disk: &Disk, roots: &Roots) -> Self {
        if let Some(uuid) = attribute(&disk.path, "md/uuid").filter(|uuid| drive_name::is_wwn(uuid)) {
            let by_serial = Some(format!("md-uuid-{uuid}"));
            return Self { model: attribute(&disk.path, "md/level"), by_serial, ..Self::default() };
        }
        let device = disk.path.join("device");
        let real = device.canonicalize().unwrap_or_else(|_| device.clone());
        let usb = usb_device(&real);
        let wwid = attribute(&device, "wwid").or_else(|| attribute(&disk.path, "wwid"));
        let scsi = pages::read(&device, wwid.as_deref());
        let udev = || Udev::read(disk, &roots.run);
        let model = scsi.ata_model.or_else(|| attribute(&device, "model")).or_else(|| attribute(&device, "name"));
        let serial = scsi
            .serial
            .or_else(|| attribute(&disk.path, "serial"))
            .or_else(|| attribute(&device, "serial"))
            .or_else(|| usb.as_deref().and_then(|usb| attribute(usb, "serial")))
            .or_else(|| attribute(&device, "cid"))
            .or_else(|| udev().serial);
        let model = model.or_else(|| serial.as_ref().and_then(|_| udev().model));
        let wwn = wwid.as_deref().and_then(pages::wwn_of).or(scsi.wwn).or_else(|| udev().wwn);
        let suffix = suffix(disk, &real, usb.is_some());
        let by_serial = serial.as_deref().filter(|serial| drive_name::is_serial(serial)).map(|serial| {
            let parts: Vec<_> = [model.as_deref(), Some(serial), suffix.as_deref()].into_iter().flatten().collect();
            parts.iter().map(|part| drive_name::udev_name(part)).collect::<Vec<_>>().join("_")
        });
        let by_wwn = wwn
            .as_deref()
            .filter(|wwn| drive_name::is_wwn(wwn))
            .map(|wwn| format!("wwn-{}", drive_name::udev_name(wwn)));
        Self { model, serial, wwn, by_serial, by_wwn, is_usb: usb.is_some() }
    }
}

/// Returns what tells disks behind one serial number apart: the NVMe namespace or the unit of a USB device, unless it
/// is the first.
fn suffix(disk: &Disk, device: &Path, is_usb: bool) -> Option<String> {
    if disk.name.starts_with("nvme") {
        return attribute(&disk.path, "nsid").filter(|nsid| nsid != "1");
    }
    let unit = device.file_name()?.to_str()?.rsplit_once(':')?.1;
    (is_usb && unit != "0").then(|| format!("lun{unit}"))
}

/// Finds the USB device that a disk is attached through.
fn usb_device(device: &Path) -> Option<PathBuf> {
    device.ancestors().find(|path| path.join("idVendor").is_file()).map(Path::to_owned)
}

/// What udev knows of a disk, for kernels that do not keep the pages of SCSI disks (before 3.15).
#[derive(Debug, Default)]
struct Udev {
    model: Option<String>,
    serial: Option<String>,
    wwn: Option<String>,
}

impl Udev {
    fn read(disk: &Disk, run: &Path) -> Self {
        let Some(number) = attribute(&disk.path, "dev") else { return Self::default() };
        let Ok(bytes) = std::fs::read(run.join(format!("udev/data/b{number}"))) else { return Self::default() };
        let text = String::from_utf8_lossy(&bytes);
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='));
            found.and_then(|value| printable(value.as_bytes()))
        };
        let wwn = value("ID_WWN_WITH_EXTENSION").or_else(|| value("ID_WWN"));
        Self { model: value("ID_MODEL"), serial: value("ID_SERIAL_SHORT"), wwn }
    }
}
