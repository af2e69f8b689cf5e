//! Bad records of a recording.

use std::io;

use crate::wire::MAX_PAYLOAD_BYTES;
#[cfg(doc)]
use crate::{recording::Line, wire};

/// Bytes of a bad record that are kept for display.
const MAX_KEPT_BYTES: usize = 1_024;

/// Part of a line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Stable identifier for counters and filters, as [`wire::WireError::reason`]; `unreadable` if the reader failed.
    pub kind: &'static str,
    /// Problem, with the offending value.
    pub reason: String,
    /// First 1,024 bytes of the record.
    pub bytes: Vec<u8>,
}

impl RefusedRecord {
    /// Describes a [`Line::TooLong`].
    pub fn too_long(n_bytes: u64, head: &[u8]) -> Self {
        let reason = format!("line of {n_bytes} bytes is longer than {MAX_PAYLOAD_BYTES}: split it");
        Self::new("too_large", reason, head)
    }

    /// Describes the end of a recording whose reader failed.
    pub fn unreadable(error: &io::Error) -> Self {
        Self::new("unreadable", format!("read failed, the replay ends here: {error}"), &[])
    }

    pub(super) fn new(kind: &'static str, reason: impl ToString, bytes: &[u8]) -> Self {
        let kept = &bytes[..bytes.len().min(MAX_KEPT_BYTES)];
        Self { kind, reason: reason.to_string(), bytes: kept.to_vec() }
    }
}
