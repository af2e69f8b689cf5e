//! What can go wrong between us and NATS, and whether waiting helps.

/// Whether and how an error mends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// NATS is away, starting, or busy: the same call may succeed later.
    Transient,
    /// The stream is full and refuses new messages until some are stored and removed.
    StreamFull,
    /// Wrong address, credentials or rights: an operator must act, then the same call succeeds.
    Configuration,
    /// This very message or request can never succeed.
    Permanent,
}

/// A failed call to NATS.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct BusError {
    /// What was tried, with the address or subject.
    attempt: String,
    /// Whether waiting helps.
    kind: Kind,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BusError {
    pub(crate) fn new(kind: Kind, attempt: impl Into<String>) -> Self {
        Self { attempt: attempt.into(), kind, source: None }
    }

    pub(crate) fn caused(
        kind: Kind,
        attempt: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { attempt: attempt.into(), kind, source: Some(source.into()) }
    }

    pub(crate) fn transient(
        attempt: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::caused(Kind::Transient, attempt, source)
    }

    /// Whether and how the error mends itself.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}
