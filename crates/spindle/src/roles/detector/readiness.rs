//! The detector's readiness and its reasons, for `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Enough of a message for a line on a page.
const MAX_CHARS: usize = 400;

/// Reason for which the detector does not judge, or may judge twice after its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hindrance {
    /// Another detector follows the streams.
    Other,
    /// Messages cannot be fetched.
    Fetch,
    /// Events are not taken.
    Publish,
    /// The state cannot be saved.
    Save,
}

/// Readiness of the detector. A clone is a handle to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct DetectorReadiness(Arc<Mutex<Status>>);

#[derive(Debug, Default)]
struct Status {
    is_running: bool,
    hindrances: BTreeMap<Hindrance, String>,
}

impl DetectorReadiness {
    pub(super) fn set_running(&self, is_running: bool) {
        self.status().is_running = is_running;
    }

    /// Keeps a reason, or removes it; returns `true` if it is new.
    pub(super) fn set(&self, hindrance: Hindrance, message: Option<&str>) -> bool {
        let hindrances = &mut self.status().hindrances;
        match message {
            Some(message) => hindrances.insert(hindrance, message.chars().take(MAX_CHARS).collect()).is_none(),
            None => {
                hindrances.remove(&hindrance);
                false
            }
        }
    }

    /// Returns the reasons why the detector is not ready; `None` if it is.
    pub(crate) fn missing(&self) -> Option<String> {
        let status = self.status();
        if !status.is_running {
            return Some("the detector is not running".to_owned());
        }
        let lines: Vec<String> = status
            .hindrances
            .iter()
            .map(|(hindrance, message)| match hindrance {
                Hindrance::Other => message.clone(),
                Hindrance::Fetch => format!("the detector cannot fetch messages: {message}"),
                Hindrance::Publish => format!("the detector waits until its events are taken: {message}"),
                Hindrance::Save => format!("the detector cannot save its state: {message}"),
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stays_until_it_is_over() {
        let readiness = DetectorReadiness::default();
        assert_eq!(readiness.missing().unwrap(), "the detector is not running");
        readiness.set_running(true);
        assert!(readiness.set(Hindrance::Save, Some("no space left")));
        assert!(!readiness.set(Hindrance::Save, Some("no space left")));
        readiness.set(Hindrance::Publish, Some("stream EVENTS is full"));
        assert_eq!(
            readiness.missing().unwrap(),
            "the detector waits until its events are taken: stream EVENTS is full; the detector cannot save its state: no space left"
        );
        readiness.set(Hindrance::Save, None);
        readiness.set(Hindrance::Publish, None);
        assert_eq!(readiness.missing(), None);
    }
}
