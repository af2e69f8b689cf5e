//! Ctrl-C and SIGTERM.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outcome::INTERRUPTED;

/// Signals this close together are one request: `timeout` and some shells signal the process and then its group.
const ONE_REQUEST: Duration = Duration::from_millis(50);

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        let signals = Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? };
        end_at_the_second().context("cannot listen for signals")?;
        Ok(signals)
    }

    /// Resolves at the next signal to stop.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ends the process at the second signal, even if the runtime is blocked: from a plain thread that takes no lock, logs
/// nothing and runs no exit handlers.
fn end_at_the_second() -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        let mut first = None;
        for _ in signals.forever() {
            let first: Instant = *first.get_or_insert_with(Instant::now);
            if first.elapsed() >= ONE_REQUEST {
                signal_hook::low_level::exit(INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}
