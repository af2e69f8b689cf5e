//! Looks at the roles all the time: what the writers have stored, who is ready, how much memory they take.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::process::Role;

/// Between two looks at the counters of a writer: recovery times are no finer than this.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two questions whether a role is ready, each of which costs its store a query: no finer than this.
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// A recovery that takes longer counts as this long, and is shown.
pub(super) const LONGEST_RECOVERY: Duration = Duration::from_secs(180);
const STORED: &str = "spindle_writer_stored_items_total";
const REDELIVERED: &str = "spindle_writer_redelivered_messages_total";
const RESTORED: &str = "spindle_writer_restored_messages_total";
const RETRIES: &str = "spindle_writer_store_retries_total";

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Watch {
    /// When a writer was last seen to have stored something new.
    stored_at: Mutex<Instant>,
    /// Per role: when it was last asked, and whether it was ready.
    ready: Mutex<Vec<(Instant, bool)>>,
    n_stored: AtomicU64,
    n_redelivered: AtomicU64,
    n_retries: AtomicU64,
    n_restored: AtomicU64,
    n_lost_points: AtomicU64,
    /// Most memory that a writer ever took, in KiB.
    peak_kib: Mutex<BTreeMap<String, u64>>,
}

/// How long it took after a fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    /// Until something was stored.
    pub(super) stored: Duration,
    /// Until every role said that it is ready.
    pub(super) ready: Duration,
}

impl Watch {
    /// Begins to look at all roles; the tasks never end by themselves.
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
        let looking = roles.iter().enumerate().map(|(index, role)| {
            let (watch, role) = (watch.clone(), role.clone());
            tokio::spawn(async move { watch.look_at(index, &role).await })
        });
        let looking = looking.collect();
        (watch, looking)
    }

    async fn look_at(&self, index: usize, role: &Role) {
        let is_writer = role.recipe.name.starts_with("writer");
        let mut ticker = interval(LOOK_EVERY);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Counters::default();
        let asking = async {
            loop {
                let asked_at = Instant::now();
                let is_ready = is_ready(role.recipe.health_port).await;
                self.ready.lock().unwrap_or_else(PoisonError::into_inner)[index] = (asked_at, is_ready);
                sleep(ASK_EVERY).await;
            }
        };
        let counting = async {
            loop {
                ticker.tick().await;
                self.look_at_memory(role);
                if let Ok(text) = get(role.recipe.health_port, "/metrics").await {
                    let now = Counters { pid: role.pid(), ..Counters::read(&text) };
                    self.count(&before, &now);
                    before = now;
                }
            }
        };
        if is_writer {
            tokio::join!(asking, counting);
        } else {
            asking.await;
        }
    }

    fn count(&self, before: &Counters, now: &Counters) {
        // A new process counts from 0.
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

    fn look_at_memory(&self, role: &Role) {
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

    /// Messages that the writers wrote again because the store may have lost them.
    pub(super) fn n_restored(&self) -> u64 {
        self.n_restored.load(Ordering::Relaxed)
    }

    pub(super) fn add_lost_points(&self, n_points: u64) {
        self.n_lost_points.fetch_add(n_points, Ordering::Relaxed);
    }

    /// Points that the store had acknowledged and came back without.
    pub(super) fn n_lost_points(&self) -> u64 {
        self.n_lost_points.load(Ordering::Relaxed)
    }

    /// The most that each writer took.
    pub(super) fn peak_kib(&self) -> BTreeMap<String, u64> {
        self.peak_kib.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the system works again after a fault that ended just now.
    pub(super) async fn recovery(&self) -> Recovery {
        let ended_at = Instant::now();
        let (mut stored, mut ready) = (None, None);
        loop {
            let elapsed = ended_at.elapsed();
            if *self.stored_at.lock().unwrap_or_else(PoisonError::into_inner) > ended_at {
                stored.get_or_insert(elapsed);
            }
            let is_ready = |(asked_at, is_ready): &(Instant, bool)| *is_ready && *asked_at > ended_at;
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

/// The most memory a process has taken so far (`VmHWM`).
fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether a role says that it can do its work.
pub(super) async fn is_ready(port: u16) -> bool {
    get(port, "/readyz").await.is_ok()
}

/// The body of a good answer. HTTP/1.0: it ends with the connection.
async fn get(port: u16, path: &str) -> Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        anyhow::ensure!(head.split_whitespace().nth(1) == Some("200"), "{}", body.trim());
        Ok(body.to_owned())
    };
    timeout(ANSWER_PATIENCE, exchange).await?
}
