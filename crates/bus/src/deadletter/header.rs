//! Names of the headers of a dead letter.

pub(super) const REASON: &str = "Spindle-Reason";
pub(super) const DETAIL: &str = "Spindle-Detail";
pub(super) const SUBJECT: &str = "Spindle-Subject";
pub(super) const STREAM: &str = "Spindle-Stream";
pub(super) const SEQUENCE: &str = "Spindle-Sequence";
pub(super) const INDEX: &str = "Spindle-Index";
/// Time at which the original was published.
pub(super) const PUBLISHED: &str = "Spindle-Published";
/// Message id of the original.
pub(super) const MESSAGE_ID: &str = "Spindle-Message-Id";
/// `1/2`: this message is the first of two that hold the dead letter.
pub(super) const PART: &str = "Spindle-Part";
/// Number of replays so far. A replay carries it to the writer, whose next dead letter carries it on.
pub(super) const REPLAYS: &str = "Spindle-Replays";
