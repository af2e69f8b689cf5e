//! Observes the roles: stored items, readiness, memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::harness::http;
use crate::harness::process::Role;

/// Interval for reading the counters of a writer: the resolution of recovery times.
const COUNT_INTERVAL: Duration = Duration::from_millis(50);
/// Interval of readiness checks, each of which costs the store a query: the resolution of these times.
const READY_INTERVAL: Duration = Duration::from_millis(500);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Limit of a recovery; longer ones count as this long.
pub(super) const LONGEST_RECOVERY: Duration = Duration::from_secs(180);
const STORED: &str = "spindle_writer_stored_items_total";
const REDELIVERED: &str = "spindle_writer_redelivered_messages_total";
const RESTORED: &str = "spindle_writer_restored_messages_total";
const RETRIES: &str = "spindle_writer_store_retries_total";

/// Observations so far.
#[derive(Debug)]
pub(super) struct Watch {
    /// Last time at which a writer had stored something new.
    stored_at: Mutex<Instant>,
    /// Last check of each role, and its readiness.
    ready: Mutex<Vec<(Instant, bool)>>,
    n_stored: AtomicU64,
    n_redelivered: AtomicU64,
    n_retries: AtomicU64,
    n_restored: AtomicU64,
    n_lost_points: AtomicU64,
    /// Peak memory of each writer, in KiB.
    peak_kib: Mutex<BTreeMap<String, u64>>,
}

/// Recovery times after a fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// Time until something was stored.
    pub(super) stored: Duration,
    /// Time until every role was ready.
    pub(super) ready: Duration,
}

impl Watch {
    /// Starts to observe all roles; the tasks run until they are aborted.
    pub(super) fn start(roles: &[Arc<Role>]) -> (Arc<Self>, Vec<JoinHandle<()>>) {
        let now = Instant::now();
        let watch = Arc::new(Self {
            stored_at: Mutex::new(now),
            ready: Mutex::new(vec![(now, false); roles.len()]),
            n_stored: AtomicU64::new(0),
            n_redelivered: AtomicU64::new(0),
            n_retries: AtomicU64::new(0),
            n_restored: AtomicU64::new(0),
            n_lost_points: AtomicU64::new(0),
            peak_kib: Mutex::default(),
        });
        let tasks = roles.iter().enumerate().map(|(index, role)| {
            let (watch, role) = (watch.clone(), role.clone());
            tokio::spawn(async move { watch.observe(index, &role).await })
        });
        let tasks = tasks.collect();
        (watch, tasks)
    }

    async fn observe(&self, index: usize, role: &Role) {
        let is_writer = role.recipe.name.starts_with("writer");
        let mut ticker = interval(COUNT_INTERVAL);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Counters::default();
        let checking = async {
            loop {
                let checked_at = Instant::now();
                let is_ready = is_ready(role.recipe.health_port).await;
                self.ready.lock().unwrap_or_else(PoisonError::into_inner)[index] = (checked_at, is_ready);
                sleep(READY_INTERVAL).await;
            }
        };
        let counting = async {
            loop {
                ticker.tick().await;
                self.record_memory(role);
                if let Ok(text) = get(role.recipe.health_port, "/metrics").await {
                    let now = Counters { pid: role.pid(), ..Counters::read(&text) };
                    self.count(&before, &now);
                    before = now;
                }
            }
        };
        if is_writer {
            tokio::join!(checking, counting);
        } else {
            checking.await;
        }
    }

    fn count(&self, before: &Counters, now: &Counters) {
        // A new process starts at 0.
        let before = if before.pid == now.pid { *before } else { Counters::default() };
        let n_stored = now.stored.saturating_sub(before.stored);
        if n_stored > 0 {
            *self.stored_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        self.n_stored.fetch_add(n_stored, Ordering::Relaxed);
        self.n_redelivered.fetch_add(now.redelivered.saturating_sub(before.redelivered), Ordering::Relaxed);
        self.n_retries.fetch_add(now.retries.saturating_sub(before.retries), Ordering::Relaxed);
        self.n_restored.fetch_add(now.restored.saturating_sub(before.restored), Ordering::Relaxed);
    }

    fn record_memory(&self, role: &Role) {
        let Some(kib) = peak_memory_kib(role.pid()) else { return };
        let mut peaks = self.peak_kib.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = peaks.entry(role.recipe.name.clone()).or_default();
        *peak = kib.max(*peak);
    }

    pub(super) fn n_stored(&self) -> u64 {
        self.n_stored.load(Ordering::Relaxed)
    }

    pub(super) fn n_redelivered(&self) -> u64 {
        self.n_redelivered.load(Ordering::Relaxed)
    }

    pub(super) fn n_retries(&self) -> u64 {
        self.n_retries.load(Ordering::Relaxed)
    }

    /// Messages that the writers restored to the store.
    pub(super) fn n_restored(&self) -> u64 {
        self.n_restored.load(Ordering::Relaxed)
    }

    pub(super) fn add_lost_points(&self, n_points: u64) {
        self.n_lost_points.fetch_add(n_points, Ordering::Relaxed);
    }

    /// Acknowledged points that the store lost.
    pub(super) fn n_lost_points(&self) -> u64 {
        self.n_lost_points.load(Ordering::Relaxed)
    }

    /// Peak memory of each writer.
    pub(super) fn peak_kib(&self) -> BTreeMap<String, u64> {
        self.peak_kib.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the system has recovered from a fault that has just ended.
    pub(super) async fn recovery(&self) -> Recovery {
        let ended_at = Instant::now();
        let (mut stored, mut ready) = (None, None);
        loop {
            let elapsed = ended_at.elapsed();
            if *self.stored_at.lock().unwrap_or_else(PoisonError::into_inner) > ended_at {
                stored.get_or_insert(elapsed);
            }
            let is_ready = |(checked_at, is_ready): &(Instant, bool)| *is_ready && *checked_at > ended_at;
            if self.ready.lock().unwrap_or_else(PoisonError::into_inner).iter().all(is_ready) {
                ready.get_or_insert(elapsed);
            }
            if let (Some(stored), Some(ready)) = (stored, ready) {
                return Recovery { stored, ready };
            }
            if elapsed > LONGEST_RECOVERY {
                return Recovery { stored: stored.unwrap_or(elapsed), ready: ready.unwrap_or(elapsed) };
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    pid: u32,
    stored: u64,
    redelivered: u64,
    retries: u64,
    restored: u64,
}

impl Counters {
    fn read(text: &str) -> Self {
        let sum = |name: &str| -> u64 {
            let lines =
                text.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
        };
        Self {
            pid: 0,
            stored: sum(STORED),
            redelivered: sum(REDELIVERED),
            retries: sum(RETRIES),
            restored: sum(RESTORED),
        }
    }
}

/// Reads the peak memory of a process (`VmHWM`).
fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns true if a role reports itself ready.
pub(super) async fn is_ready(port: u16) -> bool {
    get(port, "/readyz").await.is_ok()
}

/// Returns the body of a 200. HTTP/1.0: it ends with the connection.
async fn get(port: u16, path: &str) -> Result<String> {
    let (status, body) = http::get(&format!("127.0.0.1:{port}"), path, RESPONSE_TIMEOUT).await?;
    anyhow::ensure!(status == 200, "{body}");
    Ok(body)
}
