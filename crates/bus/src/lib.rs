//! NATS for Spindle: connections, the three streams, publishing with acknowledgement, consuming with explicit acks,
//! request and reply, and the reader's micro service.
//!
//! The only crate that names `async_nats`. It carries bytes, does not interpret them, and does not depend on a store.
//! It must never report a message as sent before JetStream has acknowledged it, nor acknowledge one that its caller
//! has not.

#![warn(missing_docs)]

mod as_of;
mod connect;
mod consume;
mod consumer_check;
mod consumer_metadata;
mod credentials;
mod deadletter;
mod error;
mod follow;
mod permissions;
mod publish;
mod pull;
mod request;
mod service;
mod stream_reader;
mod streams;
mod trim;

pub use connect::{Bus, NatsSettings};
pub use consume::{Consumer, ConsumerLimits, Delivery};
pub use credentials::Credentials;
pub use deadletter::{
    DeadLetter, DeadLetterFilter, DeadLetterHead, DeadLetterPages, NewDeadLetter, NewestDeadLetters, Part, Replayed,
    Replayer,
};
pub use error::{BusError, BusErrorKind};
pub use follow::{Followed, FollowedMessage, FollowedMessages, Follower, FollowerActivity, StreamMark, StreamPosition};
pub use publish::{BufferLimits, Outgoing, PublishStats, Publisher};
pub use service::{Endpoint, Reply, ServiceLimits, Unanswered, serve};
pub use stream_reader::{ConsumerPosition, StoredMessage};
pub use streams::{
    DEAD_LETTER_STREAM, Difference, EVENTS_STREAM, EVENTS_SUBJECT, FillLevel, Impact, METRICS_STREAM, METRICS_SUBJECT,
    StreamFill, StreamFinding, StreamHolder, StreamLimits, StreamState, TightestLimit,
};
pub use trim::trim_acknowledged;
