//! The error of every call to NATS, with a kind that decides between retrying and reporting.

use std::error::Error;

/// Remedy for a [`BusError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusErrorKind {
    /// NATS is away, starting, or busy: the same call may succeed later.
    Transient,
    /// The stream is full and refuses new messages until some are stored and removed.
    StreamFull,
    /// Wrong address, credentials or permissions: an operator must act, then the same call succeeds.
    Configuration,
    /// This message or request can never succeed.
    Permanent,
}

/// A failed call to NATS.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct BusError {
    /// The operation that failed, with the address or subject.
    attempt: String,
    kind: BusErrorKind,
    /// All causes in one message, see [`chain_message`].
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BusError {
    pub(crate) fn new(kind: BusErrorKind, attempt: impl Into<String>) -> Self {
        Self { attempt: attempt.into(), kind, source: None }
    }

    pub(crate) fn caused(
        kind: BusErrorKind,
        attempt: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        let message = chain_message(source.into().as_ref());
        Self { attempt: attempt.into(), kind, source: Some(message.into()) }
    }

    pub(crate) fn transient(attempt: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused(BusErrorKind::Transient, attempt, source)
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> BusErrorKind {
        self.kind
    }

    /// Returns `true` if the same call may succeed later without an operator: NATS is away or a stream is full.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            BusErrorKind::Transient | BusErrorKind::StreamFull => true,
            BusErrorKind::Configuration | BusErrorKind::Permanent => false,
        }
    }
}

/// Joins an error and its causes in one line, without repetitions: errors of async-nats include their causes in their
/// own message, and a server repeats the client's.
pub(crate) fn chain_message(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        for part in error.to_string().split(": ") {
            let part = part.trim().replace('\n', " ");
            // The client's bare name carries no information.
            if !part.is_empty() && part != "nats" && !parts.iter().any(|before| before.eq_ignore_ascii_case(&part)) {
                parts.push(part);
            }
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use async_nats::{ConnectError, ConnectErrorKind};

    use super::*;

    #[test]
    fn what_a_chain_repeats_is_said_once() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused (os error 111)");
        let error = ConnectError::with_source(ConnectErrorKind::Io, refused);
        assert_eq!(format!("{error}: {}", error.source().unwrap()).matches("refused").count(), 2);
        let printed = |error| printed(&BusError::transient("connect", error));
        assert_eq!(printed(error), "connect: IO error: Connection refused (os error 111)");
        let refused = ConnectError::with_source(
            ConnectErrorKind::AuthorizationViolation,
            "nats: authorization violation: user unknown",
        );
        assert_eq!(printed(refused), "connect: authorization violation: user unknown");
    }

    /// A chain as a program prints it.
    fn printed(error: &BusError) -> String {
        let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (**cause).source());
        causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"))
    }
}
