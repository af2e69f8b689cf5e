//! Completes the store's indexes from what an earlier version stored, beside the lanes.

use std::time::Duration;

use spindle_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::logging::chain;

const RETRY: Duration = Duration::from_secs(10);

/// Tries until the indexes are complete or the writer stops.
pub(super) async fn run(store: Store, stop: CancellationToken) {
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = store.complete_indexes(clock::now()) => outcome,
        };
        let Err(error) = outcome else { return };
        warn!(error = chain(error), "indexes of the store not completed, retrying");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}
