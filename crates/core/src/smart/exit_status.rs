//! Exit status of smartctl: a bit mask. Bits 0 to 2 speak of the command, bits 3 to 7 of the drive.

use serde_json::Value;

/// Exit status of smartctl.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitStatus(u8);

impl ExitStatus {
    /// Returns the exit status in a document; 0 if there is none.
    pub(super) fn of(document: &Value) -> Self {
        let status = document.pointer("/smartctl/exit_status").and_then(Value::as_u64);
        Self(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(0))
    }

    /// Returns the bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Bit 0: the command line was not understood.
    pub fn is_usage_error(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bit 1: the device could not be opened or identified, or was left asleep.
    pub fn is_device_closed(self) -> bool {
        self.0 & 2 != 0
    }

    /// Bit 2: a command to the drive failed, or a checksum was wrong. What was read is still valid.
    pub fn is_incomplete(self) -> bool {
        self.0 & 4 != 0
    }

    /// Bit 3: the drive reports that it fails.
    pub fn is_drive_failing(self) -> bool {
        self.0 & 8 != 0
    }

    /// Bit 4: a pre-failure attribute is at or below its threshold now. Bit 5, the same in the past or for usage
    /// attributes, and bits 6 and 7, entries in the logs of errors and self-tests, are no failure.
    pub fn is_prefail_at_threshold(self) -> bool {
        self.0 & 16 != 0
    }
}
