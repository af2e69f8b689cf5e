//! Vital product data of SCSI disks: the pages that the kernel read at attachment and keeps in sysfs.

use std::fs;
use std::path::Path;

use crate::sources::host::sysfs::{attribute, printable};

/// Page 0x83, type of a designator.
const DESIGNATOR_T10: u8 = 1;
const DESIGNATOR_EUI: u8 = 2;
const DESIGNATOR_NAA: u8 = 3;
/// Vendor of all SATA disks behind a SCSI layer, in a T10 designator.
const ATA_VENDOR: &str = "ATA     ";
/// Length of an ATA model in bytes; the serial number follows.
const ATA_MODEL_BYTES: usize = 40;
/// Offset of the identify data in page 0x89.
const IDENTIFY_OFFSET: usize = 60;

/// What the pages say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) serial: Option<String>,
    /// Whole model of an ATA disk.
    pub(super) ata_model: Option<String>,
    pub(super) wwn: Option<String>,
}

/// Reads the pages of the device in `path`; `wwid` is the kernel's choice among the designators.
pub(super) fn read(path: &Path, wwid: Option<&str>) -> Pages {
    let page = |name: &str| fs::read(path.join(name)).ok();
    let designators = page("vpd_pg83").map(|page| designators(&page)).unwrap_or_default();
    let t10 = designators.t10.as_deref().or_else(|| wwid?.strip_prefix("t10."));
    let is_ata = attribute(path, "vendor").as_deref() == Some(ATA_VENDOR.trim_end());
    let ata = page("vpd_pg89").as_deref().and_then(identify).or_else(|| t10.and_then(ata_of_t10));
    let unit_serial = page("vpd_pg80").and_then(|page| printable(page.get(4..)?));
    match ata.filter(|_| is_ata || unit_serial.is_none()) {
        Some((model, serial)) => Pages { ata_model: Some(model), serial: Some(serial), wwn: designators.wwn },
        None => Pages { serial: unit_serial, ata_model: None, wwn: designators.wwn },
    }
}

/// Returns the world-wide name in the kernel's `wwid`, in udev's form. `None` for forms made of vendor and serial.
pub(super) fn wwn_of(wwid: &str) -> Option<String> {
    match wwid.split_once('.') {
        Some(("naa", digits)) => Some(format!("0x{digits}")),
        Some(("eui" | "uuid", _)) => Some(wwid.to_owned()),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Designators {
    wwn: Option<String>,
    t10: Option<String>,
}

/// Parses page 0x83: designators of the logical unit, each with a header of four bytes.
fn designators(page: &[u8]) -> Designators {
    let mut found = Designators::default();
    let mut rest = page.get(4..).unwrap_or_default();
    while let [_, kind, _, length, tail @ ..] = rest {
        let Some((value, next)) = tail.split_at_checked(usize::from(*length)) else { break };
        let hex = || value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // Bits 4 and 5 are the association; 0 is the logical unit, others are ports and enclosures.
        match (kind & 0x30, kind & 0x0f) {
            (0, DESIGNATOR_NAA) => found.wwn = Some(format!("0x{}", hex())),
            (0, DESIGNATOR_EUI) if found.wwn.is_none() => found.wwn = Some(format!("eui.{}", hex())),
            (0, DESIGNATOR_T10) => found.t10 = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
        rest = next;
    }
    found
}

/// Splits an ATA disk's T10 designator into model and serial number.
fn ata_of_t10(text: &str) -> Option<(String, String)> {
    let (model, serial) = text.strip_prefix(ATA_VENDOR)?.split_at_checked(ATA_MODEL_BYTES)?;
    Some((printable(model.as_bytes())?, printable(serial.as_bytes())?))
}

/// Reads model and serial number from page 0x89, whose identify data swaps the bytes of each word.
fn identify(page: &[u8]) -> Option<(String, String)> {
    let text = |from: usize, length: usize| {
        let words = page.get(IDENTIFY_OFFSET + from..IDENTIFY_OFFSET + from + length)?;
        printable(&words.chunks(2).flat_map(|word| word.iter().rev().copied()).collect::<Vec<_>>())
    };
    Some((text(54, ATA_MODEL_BYTES)?, text(20, 20)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sata_disk_has_its_whole_model() {
        let t10 = format!("ATA     {:40}{:>20}", "ST8000NM0055-1RM112", "ZA101R30");
        assert_eq!(ata_of_t10(&t10), Some(("ST8000NM0055-1RM112".into(), "ZA101R30".into())));
        let mut page = vec![0; IDENTIFY_OFFSET + 512];
        let swap = |text: String| text.as_bytes().chunks(2).flat_map(|word| [word[1], word[0]]).collect::<Vec<_>>();
        page[IDENTIFY_OFFSET + 20..IDENTIFY_OFFSET + 40].copy_from_slice(&swap(format!("{:>20}", "ZA101R30")));
        page[IDENTIFY_OFFSET + 54..IDENTIFY_OFFSET + 94]
            .copy_from_slice(&swap(format!("{:40}", "ST8000NM0055-1RM112")));
        assert_eq!(identify(&page), Some(("ST8000NM0055-1RM112".into(), "ZA101R30".into())));
        assert_eq!(identify(&page[..100]), None);
    }

    #[test]
    fn designators_of_the_unit_count() {
        let page = [
            &[0, 0x83, 0, 40][..],
            &[1, 0x93, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, 1],
            &[1, 0x03, 0, 8, 0x50, 0x00, 0xc5, 0x00, 0xa1, 0xb2, 0xc3, 0xd4],
            &[2, 0x01, 0, 4, b'A', b'B', b'C', b'D'],
            &[1, 0x03, 0, 99, 1],
        ]
        .concat();
        let found = designators(&page);
        assert_eq!((found.wwn.as_deref(), found.t10.as_deref()), (Some("0x5000c500a1b2c3d4"), Some("ABCD")));
        assert_eq!(wwn_of("naa.5000c500a1b2c3d4").as_deref(), Some("0x5000c500a1b2c3d4"));
        assert_eq!(wwn_of("eui.0025385b71b00a2d").as_deref(), Some("eui.0025385b71b00a2d"));
        assert_eq!(wwn_of("nvme.144d-5334"), None);
        assert_eq!(wwn_of("t10.ATA     x"), None);
    }
}
