//! Completes the store's indexes from what an earlier version stored, and keeps them complete and small, beside the
//! lanes.

use std::time::Duration;

use spindle_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::logging::chain;

/// Shorter than the shortest period of an index.
const REPEAT: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(10);

/// Completes the indexes again and again until the writer stops.
pub(super) async fn run(store: Store, stop: CancellationToken) {
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = store.complete_indexes(clock::now()) => outcome,
        };
        let pause = match outcome {
            Ok(()) => REPEAT,
            Err(error) => {
                warn!(error = chain(error), "indexes of the store not completed, retrying");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
