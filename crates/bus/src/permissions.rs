//! What the server does not let this user do. NATS tells it in words on the side, while the request itself
//! only times out: these words are kept, so that an error can name the missing right.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{BusError, BusErrorKind};

/// What was denied on one connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeniedPermissions(Arc<Mutex<BTreeSet<String>>>);

/// Denials kept; a user without rights is denied the same few again and again, and each has its name in it.
const MAX_KEPT: usize = 64;
/// How the server begins.
const VIOLATION: &str = "permissions violation for ";

impl DeniedPermissions {
    /// Keeps what the server said, if it was a denial.
    pub(crate) fn note(&self, words: &str) {
        if let Some(denied) = denied(words) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_KEPT {
                kept.insert(denied);
            }
        }
    }

    /// Forgets everything: rights may have been granted since, and a new connection has all of them anew.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the right to `verb` a subject was denied.
    pub(crate) fn has(&self, verb: &str, subject: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key(verb, subject))
    }

    /// The error to be reported for a call that needs the right to `verb` ("publish" or "subscribe") one of
    /// `subjects`: what is missing, if one of them was denied, else `otherwise`.
    pub(crate) fn or(&self, verb: &str, subjects: &[&str], otherwise: BusError) -> BusError {
        let missing = subjects.iter().find(|subject| self.has(verb, subject));
        let Some(subject) = missing else { return otherwise };
        let attempt = format!(
            "{otherwise}: the NATS user may not {verb} to '{subject}'; grant it that right (deploy/nats/nats-server.conf has the rights of every role) or use another user"
        );
        BusError::new(BusErrorKind::Configuration, attempt)
    }

    /// Returns the error to report for a call to JetStream's API under `$JS.API.<api>`: the missing permission if that
    /// is the cause, because the server then does not answer at all, else a transient error.
    pub(crate) fn api_error(
        &self,
        attempt: String,
        api: &str,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> BusError {
        self.or("publish", &[&format!("$JS.API.{api}")], BusError::transient(attempt, error))
    }
}

/// `Permissions Violation for Publish to "x"` → `publish x`. The server's capitals have changed over time.
fn denied(words: &str) -> Option<String> {
    let start = words.to_ascii_lowercase().find(VIOLATION)? + VIOLATION.len();
    let (verb, rest) = words[start..].split_once(" to \"")?;
    let subject = rest.split('"').next()?;
    Some(key(&verb.to_ascii_lowercase().replace("subscription", "subscribe"), subject))
}

fn key(verb: &str, subject: &str) -> String {
    format!("{verb} {subject}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_become_the_missing_right() {
        let denied = DeniedPermissions::default();
        denied.note("Permissions Violation for Publish to \"$JS.API.STREAM.INFO.METRICS\"");
        denied.note("permissions violation for subscription to \"reader.query\" using queue \"q\"");
        denied.note("Maximum Payload Violation");
        let lost = || BusError::new(BusErrorKind::Transient, "look up stream METRICS");
        let told = denied.or("publish", &["a", "$JS.API.STREAM.INFO.METRICS"], lost());
        assert_eq!(told.kind(), BusErrorKind::Configuration);
        assert!(told.to_string().contains("may not publish to '$JS.API.STREAM.INFO.METRICS'"), "{told}");
        assert_eq!(denied.or("subscribe", &["reader.query"], lost()).kind(), BusErrorKind::Configuration);
        assert_eq!(denied.or("publish", &["reader.query"], lost()).kind(), BusErrorKind::Transient);
        denied.forget();
        assert_eq!(denied.or("subscribe", &["reader.query"], lost()).kind(), BusErrorKind::Transient);
    }
}
