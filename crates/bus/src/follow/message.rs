//! Messages of a followed stream, and their places in it.

use async_nats::Subject;
use bytes::Bytes;
use spindle_core::Timestamp;

/// Position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// Time at which the stream was created, which distinguishes it from another of the same name.
    pub created: Timestamp,
    /// Sequence of the newest message taken.
    pub sequence: u64,
}

/// Result of a pull.
#[derive(Debug)]
pub enum Followed {
    /// The messages that were available.
    Messages(FollowedMessages),
    /// Another process follows the stream: its name.
    Taken(String),
}

/// Messages of a stream, in its order.
#[derive(Debug, Default)]
pub struct FollowedMessages {
    /// The messages.
    pub messages: Vec<FollowedMessage>,
    /// Messages removed from the stream before they were received.
    pub n_lost: u64,
    /// The stream was at its end: everything that it held has been received.
    pub is_end: bool,
    /// Messages may be missing between the last one received and this end of the stream.
    pub is_end_behind_gap: bool,
    /// The stream was created again, or came back with less: the position behind which the messages follow. Whatever was
    /// received beyond it, or of the former stream, is not in the stream any more.
    pub replaced: Option<StreamPosition>,
}

/// A message of a followed stream.
#[derive(Debug)]
pub struct FollowedMessage {
    /// Its bytes.
    pub payload: Bytes,
    /// Time at which the server took it, or as of which a simulated past is told.
    pub published: Timestamp,
    /// Part of a simulated past.
    pub is_past: bool,
    /// Messages before it may be missing: they were removed, or the stream was replaced.
    pub is_behind_gap: bool,
    /// Its place, to acknowledge everything up to it.
    pub mark: StreamMark,
}

/// Place of a message in a followed stream.
#[derive(Clone, Debug)]
pub struct StreamMark {
    /// Position of the message.
    pub position: StreamPosition,
    /// Number of the consumer that delivered it.
    pub(super) generation: u64,
    /// Subject of the acknowledgement.
    pub(super) reply: Option<Subject>,
}

impl StreamMark {
    /// Returns a place without a message. Acknowledging it moves the position, and sends nothing.
    pub fn at(position: StreamPosition) -> Self {
        Self { position, generation: 0, reply: None }
    }
}
