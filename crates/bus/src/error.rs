//! What can go wrong between us and NATS, and whether waiting helps.

use std::error::Error;

/// Whether and how an error mends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusErrorKind {
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
    kind: BusErrorKind,
    /// The causes in words, all in one: see [`said_once`].
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
        let words = said_once(source.into().as_ref());
        Self { attempt: attempt.into(), kind, source: Some(words.into()) }
    }

    pub(crate) fn transient(attempt: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::caused(BusErrorKind::Transient, attempt, source)
    }

    /// Whether and how the error mends itself.
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

/// An error and its causes in one line. Those of async-nats repeat their causes in their own words, and a server
/// repeats what the client has said: what was said already is left out.
pub(crate) fn said_once(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        for words in error.to_string().split(": ") {
            let words = words.trim().replace('\n', " ");
            // The name of the client alone says nothing.
            if !words.is_empty() && words != "nats" && !said.iter().any(|before| before.eq_ignore_ascii_case(&words)) {
                said.push(words);
            }
        }
        next = error.source();
    }
    said.join(": ")
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
        let shown = |error| printed(&BusError::transient("connect", error));
        assert_eq!(shown(error), "connect: IO error: Connection refused (os error 111)");
        let refused = ConnectError::with_source(
            ConnectErrorKind::AuthorizationViolation,
            "nats: authorization violation: user unknown",
        );
        assert_eq!(shown(refused), "connect: authorization violation: user unknown");
    }

    /// A chain as a program prints it.
    fn printed(error: &BusError) -> String {
        let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (**cause).source());
        causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
    }
}
