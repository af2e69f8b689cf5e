//! Permissions that the server denied to this user. NATS reports a denial out of band, while the request itself only
//! times out: the reports are kept so that an error can name the missing permission.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{BusError, BusErrorKind};

/// Permissions denied on one connection. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeniedPermissions(Arc<Mutex<VecDeque<String>>>);

/// Bound on the denials kept, the newest. A user without permissions is denied the same few over and over, but a denial
/// may contain a generated name.
const MAX_KEPT: usize = 64;
/// Start of the server's message.
const VIOLATION: &str = "permissions violation for ";

impl DeniedPermissions {
    /// Keeps the server's message if it reports a denial.
    pub(crate) fn note(&self, message: &str) {
        if let Some(denied) = denied(message) {
            let mut kept = self.lock();
            if kept.contains(&denied) {
                return;
            }
            if kept.len() == MAX_KEPT {
                kept.pop_front();
            }
            kept.push_back(denied);
        }
    }

    /// Forgets all denials: permissions may have been granted since, and a new connection checks every one again.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Returns `true` if the permission to `verb` a subject was denied.
    pub(crate) fn has(&self, verb: &str, subject: &str) -> bool {
        self.lock().contains(&key(verb, subject))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error to report for a call that must `verb` ("publish" or "subscribe") to one of `subjects`: the
    /// missing permission if one of them was denied, else `otherwise`.
    pub(crate) fn or(&self, verb: &str, subjects: &[&str], otherwise: BusError) -> BusError {
        let missing = subjects.iter().find(|subject| self.has(verb, subject));
        match missing {
            Some(subject) => denial(&otherwise, verb, subject),
            None => otherwise,
        }
    }

    /// Returns the error to report for a call whose reply did not come: a subscription to `inbox` that was denied, else
    /// `otherwise`.
    pub(crate) fn or_inbox(&self, inbox: &str, otherwise: BusError) -> BusError {
        let is_denied = self
            .lock()
            .iter()
            .any(|denied| denied.strip_prefix("subscribe ").and_then(|subject| subject.strip_prefix(inbox)).is_some());
        if is_denied { denial(&otherwise, "subscribe", &format!("{inbox}.>")) } else { otherwise }
    }

    /// Returns the error to report for a call to JetStream's API under `$JS.API.<api>`: the missing permission if that
    /// is the cause, because the server then does not reply at all, else a transient error.
    pub(crate) fn api_error(
        &self,
        attempt: impl Into<String>,
        api: &str,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> BusError {
        self.or("publish", &[&format!("$JS.API.{api}")], BusError::transient(attempt, error))
    }
}

fn denial(lost: &BusError, verb: &str, subject: &str) -> BusError {
    let attempt = format!(
        "{lost}: the NATS user may not {verb} to '{subject}'; grant that permission (deploy/nats/nats-server.conf lists those of every role) or use another user"
    );
    BusError::new(BusErrorKind::Configuration, attempt)
}

/// Parses `Permissions Violation for Publish to "x"` into `publish x`. Capitals differ between server versions.
fn denied(message: &str) -> Option<String> {
    let start = message.to_ascii_lowercase().find(VIOLATION)? + VIOLATION.len();
    let (verb, rest) = message[start..].split_once(" to \"")?;
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
    fn the_servers_message_becomes_the_missing_permission() {
        let denied = DeniedPermissions::default();
        denied.note("Permissions Violation for Publish to \"$JS.API.STREAM.INFO.METRICS\"");
        denied.note("permissions violation for subscription to \"reader.query\" using queue \"q\"");
        denied.note("Maximum Payload Violation");
        let lost = || BusError::new(BusErrorKind::Transient, "look up stream METRICS");
        let error = denied.or("publish", &["a", "$JS.API.STREAM.INFO.METRICS"], lost());
        assert_eq!(error.kind(), BusErrorKind::Configuration);
        assert!(error.to_string().contains("may not publish to '$JS.API.STREAM.INFO.METRICS'"), "{error}");
        assert_eq!(denied.or("subscribe", &["reader.query"], lost()).kind(), BusErrorKind::Configuration);
        assert_eq!(denied.or("publish", &["reader.query"], lost()).kind(), BusErrorKind::Transient);
        denied.note("Permissions Violation for Subscription to \"_INBOX.spindle-decide.x9.*\"");
        let error = denied.or_inbox("_INBOX.spindle-decide", lost());
        assert!(error.to_string().contains("may not subscribe to '_INBOX.spindle-decide.>'"), "{error}");
        assert_eq!(denied.or_inbox("_INBOX.spindle-web", lost()).kind(), BusErrorKind::Transient);
        // Generated names push out the oldest denials, never the newest.
        for number in 0..=MAX_KEPT {
            denied.note(&format!("Permissions Violation for Publish to \"$JS.API.CONSUMER.CREATE.S.dlq-{number}\""));
            assert!(denied.has("publish", &format!("$JS.API.CONSUMER.CREATE.S.dlq-{number}")), "{number}");
        }
        denied.note("permissions violation for subscription to \"reader.query\"");
        denied.forget();
        assert_eq!(denied.or("subscribe", &["reader.query"], lost()).kind(), BusErrorKind::Transient);
    }
}
