//! The daemon's readiness for `/readyz`: whether NATS takes its messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spindle_bus::Publisher;

/// Enough of a message for a line on a page.
const MAX_CHARS: usize = 400;

/// Readiness of the daemon. A clone is a handle to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublishReadiness(Arc<Mutex<Option<String>>>);

impl PublishReadiness {
    /// Updates the readiness from the answers that the publisher received last.
    pub(super) fn update(&self, publisher: &Publisher) {
        let (refusals, n_buffered) = (publisher.refusals(), publisher.stats().n_buffered);
        *self.state() = (!refusals.is_empty()).then(|| {
            let reasons: String = refusals.join("; ").chars().take(MAX_CHARS).collect();
            format!("publishes are refused, {n_buffered} metrics and events are buffered: {reasons}")
        });
    }

    /// Returns the reason why the daemon is not ready; `None` if it is.
    pub(crate) fn missing(&self) -> Option<String> {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
