//! NATS for Spindle: connections, the three streams, publishing with acknowledgement, consuming with
//! explicit acks, request and reply, and the reader's micro service.
//!
//! The only crate that names `async_nats`. It carries bytes and knows nothing of what is in them, and
//! nothing of stores. It must never report a message as sent before JetStream has acknowledged it, nor
//! acknowledge one that its caller did not.

mod connect;
mod consume;
mod credentials;
mod deadletter;
mod error;
mod janitor;
mod publish;
mod pull;
mod request;
mod rights;
mod service;
mod stored;
mod streams;

pub use connect::{Bus, NatsSettings};
pub use consume::{Delivery, Intake, IntakeLimits};
pub use credentials::Credentials;
pub use deadletter::{
    DeadLetter, Letter, LetterFilter, Letters, MAX_ATTEMPTS, Part, Replayed, Replayer, Suspicion, UNDELIVERABLE,
    WholeLetter,
};
pub use error::{BusError, Kind};
pub use janitor::{n_messages, purge_stored};
pub use publish::{HoldLimits, Outgoing, PublishStats, Publisher};
pub use service::{Endpoint, Reply, serve};
pub use stored::Progress;
pub use streams::{
    DEAD_LETTER_STREAM, EVENTS_STREAM, EVENTS_SUBJECT, METRICS_STREAM, METRICS_SUBJECT, StreamLimits, StreamState,
};
