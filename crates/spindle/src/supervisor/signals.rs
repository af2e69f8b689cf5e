//! Ctrl-C, SIGTERM, and the SIGHUP of a terminal that closes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::outcome::INTERRUPTED;

/// Signals this close together are one request: `timeout` and some shells signal the process and then its group.
const ONE_REQUEST: Duration = Duration::from_millis(50);
/// Signals that are ignored, as a hexadecimal mask. Linux only.
const STATUS: &str = "/proc/self/status";

/// Signals that stop a process; a second one ends it at once.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it keeps its effect.
    hang_up: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        let takes_hang_up = std::fs::read_to_string(STATUS).is_ok_and(|status| !ignores_hang_up(&status));
        let hang_up = takes_hang_up.then(|| on(SignalKind::hangup())).transpose()?;
        let (interrupt, terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        end_at_the_second(takes_hang_up).context("cannot listen for signals")?;
        Ok(Self { interrupt, terminate, hang_up })
    }

    /// Resolves at the next signal to stop.
    pub(crate) async fn next(&mut self) {
        let Self { interrupt, terminate, hang_up } = self;
        let hang_up = async {
            match hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up => {}
        }
    }

    /// Resolves at the next signal to end at once. SIGHUP is none: the kernel and a shell may both send one.
    pub(super) async fn again(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns true if SIGHUP is ignored, as `nohup` has it, or if that is unknown: then it keeps its effect.
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

/// Ends the process at the second signal, even if the runtime is blocked: from a plain thread that takes no lock, logs
/// nothing and runs no exit handlers.
fn end_at_the_second(takes_hang_up: bool) -> std::io::Result<()> {
    let handled = [SIGINT, SIGTERM].into_iter().chain(takes_hang_up.then_some(SIGHUP));
    let mut signals = signal_hook::iterator::Signals::new(handled)?;
    let watch = move || {
        let mut first = None;
        for signal in signals.forever() {
            let first: Instant = *first.get_or_insert_with(Instant::now);
            if signal != SIGHUP && first.elapsed() >= ONE_REQUEST {
                signal_hook::low_level::exit(INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_respected() {
        assert!(ignores_hang_up("Name:\tspindle\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hang_up("Name:\tspindle\nSigIgn:\t0000000000001000\n"));
        assert!(ignores_hang_up("Name:\tspindle\n"), "unknown");
    }
}
