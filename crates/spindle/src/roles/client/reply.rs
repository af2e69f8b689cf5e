//! The reader's response to `alerts_critical`, as far as the client reads it.

use serde::Deserialize;
use spindle_core::Timestamp;

/// One row of `alerts_critical`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    pub(super) time: Timestamp,
    pub(super) event_id: String,
    pub(super) source_device: String,
    pub(super) event_type: String,
    pub(super) criticality: u8,
    pub(super) event_message: Option<String>,
}

/// The reader's response to `alerts_critical`.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(super) enum AlertsReply {
    Success {
        data: Vec<Alert>,
        #[serde(default)]
        next: Option<NextPage>,
    },
    Error {
        message: String,
    },
}

/// Parameters of the next page.
#[derive(Deserialize)]
pub(super) struct NextPage {
    pub(super) offset: u64,
}
