//! Names of drives: plausibility of serial numbers and world-wide names, and their spelling in a name. USB bridges invent them and hypervisors number their disks from
//! one on every machine; two drives under one name are worse than a name that follows the slot.

/// Shorter ones are counters or leftovers.
const MIN_SERIAL_CHARS: usize = 5;
/// Characters that differ; `0000000001` has two.
const MIN_DISTINCT: usize = 3;
/// Digits in a drive's number; `disk1` and `data` are labels of an operator.
const MIN_DIGITS: usize = 2;
/// Sequences that firmware holds where no serial number was written.
const SEQUENCES: [&str; 4] = [
    "0123456789abcdef0123456789abcdef",
    "01234567890123456789012345678901",
    "fedcba9876543210",
    "98765432109876543210",
];
/// Words that stand where no serial number was written.
const PLACEHOLDERS: [&str; 14] = [
    "unknown",
    "none",
    "null",
    "default",
    "serial",
    "serialnumber",
    "noserial",
    "notspecified",
    "notavailable",
    "tobefilledbyoem",
    "xxxxxxxx",
    "invalid",
    "generic",
    "baduser",
];
/// Numbers that hypervisors give to the disks of every virtual machine.
const HYPERVISORS: [&str; 7] =
    ["drive-", "persistent-disk", "local-ssd", "nvme_card", "vmware nvme", "virtual", "disk-"];
/// Prefix of QEMU's numbers, before digits only.
const QEMU: &str = "qm";
const MIN_WWN_DIGITS: usize = 16;

/// Returns true if a serial number can be that of one drive only.
pub fn is_serial(serial: &str) -> bool {
    let lower = serial.to_ascii_lowercase();
    let plain: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_qemu = plain.strip_prefix(QEMU).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    serial.is_ascii()
        && plain.len() >= MIN_SERIAL_CHARS
        && is_varied(&plain)
        && !PLACEHOLDERS.contains(&plain.as_str())
        && !HYPERVISORS.iter().any(|prefix| lower.starts_with(prefix))
        && !is_qemu
        && plain.bytes().filter(u8::is_ascii_digit).count() >= MIN_DIGITS
}

/// Returns true if a world-wide name or UUID can be that of one device only.
pub fn is_wwn(wwn: &str) -> bool {
    let digits = wwn.trim_start_matches("0x").trim_start_matches("eui.").trim_start_matches("uuid.");
    let plain: String = digits.to_ascii_lowercase().chars().filter(char::is_ascii_hexdigit).collect();
    plain.len() >= MIN_WWN_DIGITS && is_varied(&plain)
}

/// Converts text as udev does for links: runs of blanks become one `_`, as does each other character outside its list.
pub fn udev_name(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let is_kept = |ch: char| ch.is_ascii_alphanumeric() || "#+-.:=@_".contains(ch) || !ch.is_ascii();
    words.join("_").chars().map(|ch| if is_kept(ch) { ch } else { '_' }).collect()
}

fn is_varied(plain: &str) -> bool {
    let mut distinct: Vec<char> = plain.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() >= MIN_DISTINCT && !SEQUENCES.iter().any(|sequence| sequence.contains(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_of_drives_are_told_from_fillers() {
        for good in ["ZA101R30", "WD-WCC4N1234567", "S4EVNF0M123456", "0x2f3a1b4c", "VB1a2b3c4d-5e6f7a8b", "5KG0A1B2"] {
            assert!(is_serial(good), "{good}");
        }
        let bad = [
            "",
            "000000000000",
            "0123456789ABCDEF",
            "123456789012",
            "FFFFFFFFFFFF",
            "000000000001",
            "2000",
            "disk1",
            "QM00001",
            "drive-scsi0",
            "persistent-disk-0",
            "nvme_card-pd",
            "VMWare NVME_0000",
            "Not Specified",
            "None",
            "S\u{fffd}12345",
            "0123456789",
            "abcdefgh",
        ];
        for bad in bad {
            assert!(!is_serial(bad), "{bad}");
        }
    }

    #[test]
    fn names_of_zeros_are_none() {
        assert!(is_wwn("0x5000c500a1b2c3d4") && is_wwn("eui.0025385b71b00a2d"));
        for bad in ["0x0000000000000000", "0x5000000000000000", "eui.0000000000000001", "0x5000c5", ""] {
            assert!(!is_wwn(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_those_of_udev() {
        assert_eq!(udev_name("  WDC WD40EFRX-68N32N0 "), "WDC_WD40EFRX-68N32N0");
        assert_eq!(udev_name("Ultra   Fit/1 (a)"), "Ultra_Fit_1__a_");
    }
}
