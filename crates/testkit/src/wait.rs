//! Waiting for a state, and ports to wait on.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks at a state: short against what is waited for, long enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// Ports to choose from (half open): below what Linux and macOS hand out by themselves. A client that
/// reconnects to a killed server could otherwise be given that server's port as its own, even connect
/// to itself on the loopback, and the server could never come back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Looks at `condition` until it holds; after `deadline` an error that says `what` was waited for.
/// The condition is looked at once more when time is up, and at least once.
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let until = Deadline::after(deadline);
    loop {
        if condition() {
            return Ok(());
        }
        if !until.pause() {
            bail!("waited {deadline:?} in vain for {what}");
        }
    }
}

/// A TCP port of the loopback address that was free a moment ago. It may be taken before it is used,
/// which is rare but real; [`NatsServer`](crate::NatsServer) tries another one then.
pub fn free_port() -> Result<u16> {
    // Tests run in many processes at once: each begins at its own place, and goes on from there.
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

/// A moment after which waiting ends.
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    /// Lets a little time pass, and says whether it is worth looking again. The only place here where
    /// a thread does nothing; it may return early, which a loop around a state does not mind.
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
