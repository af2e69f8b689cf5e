//! Failures that tests inject into a shutdown. Debug builds only.

use crate::config;

/// Blocks every thread of the runtime, as a lock that is never released would.
pub(super) fn block_runtime() {
    if config::planted("SPINDLE_TEST_BLOCK_STOP").is_none() {
        return;
    }
    for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
        tokio::spawn(async { block() });
    }
    block();
}

fn block() {
    loop {
        std::thread::park();
    }
}
