//! Waiting for a state, and ports to wait on.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Interval between two checks of a state: short compared with any wait, long enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// Range of ports to choose from: below the ephemeral ports of Linux and macOS. Otherwise a client that reconnects
/// to a killed server could get the server's port as its own, even connect to itself on the loopback address, and the
/// server could never come back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Waits until `condition` holds; after `deadline` returns an error that names `what`. Checks the condition at least
/// once, and once more when time is up.
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let until = Deadline::after(deadline);
    loop {
        if condition() {
            return Ok(());
        }
        if !until.pause() {
            bail!("timed out after {deadline:?} waiting for {what}");
        }
    }
}

/// Returns a TCP port of the loopback address that was free a moment ago. Another process may take it before it is
/// used, which is rare but real; [`NatsServer`](crate::NatsServer) then tries another one.
pub fn free_port() -> Result<u16> {
    // Tests run in many processes at once: each starts at its own offset.
    static N_TAKEN: AtomicU16 = AtomicU16::new(0);
    let n_ports = u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let n_taken = u32::from(N_TAKEN.fetch_add(1, Ordering::Relaxed));
        // A prime step scatters neighbouring process ids.
        let offset = std::process::id().wrapping_mul(7919).wrapping_add(n_taken) % n_ports;
        let port = PORTS.start + u16::try_from(offset).context("port offset out of range")?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free TCP port between {} and {}", PORTS.start, PORTS.end - 1)
}

/// Moment at which a wait ends.
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    /// Parks the thread for a moment; returns false once the deadline has passed. May return early, which a loop around
    /// a state tolerates. The only sleep in this crate.
    pub(crate) fn pause(&self) -> bool {
        let left = self.0.saturating_duration_since(Instant::now());
        thread::park_timeout(PAUSE.min(left));
        !left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_state_and_says_what_did_not_come() {
        let mut n_looks = 0;
        wait_until(Duration::from_secs(10), "the third look", || {
            n_looks += 1;
            n_looks == 3
        })
        .unwrap();
        let error = wait_until(Duration::from_millis(30), "rain", || false).unwrap_err();
        assert!(error.to_string().contains("rain"), "{error}");
        wait_until(Duration::ZERO, "what holds already", || true).unwrap();
    }

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let (first, second) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(first, second);
        for port in [first, second] {
            assert!(PORTS.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
