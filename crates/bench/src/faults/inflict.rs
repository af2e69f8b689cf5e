//! Executes the plan. Faults may overlap, but never on the same target.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::sync::OwnedMutexGuard;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep, sleep_until};

use super::backup::Backup;
use super::conditions::Conditions;
use super::plan::{Act, Fault, LinkFault, Target};
use super::points;
use super::progress;
use super::proxy::Mode;
use super::system::{DiskOf, ROLES, System};
use super::watch::{Recovery, Watch};
use crate::harness::process::send_signal;

/// Attempts to start a server that does not come back.
const START_ATTEMPTS: usize = 5;

/// Limit of the wait for something to lose: all messages may be stored already.
const LOSS_TIMEOUT: Duration = Duration::from_secs(20);

/// Result of a fault.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) group: String,
    pub(super) recovery: Recovery,
}

/// Everything that faults act on.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) system: Arc<System>,
    pub(super) watch: Arc<Watch>,
    pub(super) conditions: Arc<Conditions>,
}

/// Executes the plan; returns once the system has recovered from the last fault.
pub(super) async fn inflict(scene: &Scene, plan: Vec<Fault>) -> Result<Vec<Outcome>> {
    let begin = Instant::now();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let mut locks: HashMap<String, Arc<tokio::sync::Mutex<()>>> = HashMap::new();
    let mut under_way: JoinSet<Result<()>> = JoinSet::new();
    let n_faults = plan.len();
    for fault in plan {
        sleep_until(begin + fault.at).await;
        let lock = locks.entry(lock_name(&fault.act)).or_default().clone().lock_owned().await;
        while let Some(ended) = under_way.try_join_next() {
            ended??;
        }
        progress(&format!(
            "{:>6.1} s  fault {:>3} of {n_faults}: {}, {:.1} s",
            begin.elapsed().as_secs_f64(),
            fault.number + 1,
            fault.name,
            fault.lasts.as_secs_f64()
        ));
        let (scene, outcomes) = (scene.clone(), outcomes.clone());
        under_way.spawn(async move {
            let outcome = inflict_one(&scene, &fault, lock).await.with_context(|| format!("fault '{}'", fault.name))?;
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            Ok(())
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    let outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(outcomes)
}

/// Returns the lock of a fault. All nodes of a cluster share one, since it tolerates the loss of one node at a time.
fn lock_name(act: &Act) -> String {
    match act {
        Act::Kill(target) | Act::Pause(target) => match target {
            Target::Role(role) => ROLES[*role].to_owned(),
            Target::Nats(_) => "nats".to_owned(),
            Target::Store => "store".to_owned(),
        },
        Act::Empty(_) | Act::Fill(DiskOf::Nats) => "nats".to_owned(),
        Act::Fill(DiskOf::Store) | Act::Lose => "store".to_owned(),
        Act::Panic(_) => "messages".to_owned(),
        Act::Cut(link, _) => format!("link {link}"),
        Act::RoleClock(role, _) => format!("clock {role}"),
        Act::DeviceClock(_) => "clock of devices".to_owned(),
    }
}

async fn inflict_one(scene: &Scene, fault: &Fault, lock: OwnedMutexGuard<()>) -> Result<Outcome> {
    let system = &scene.system;
    match fault.act {
        Act::Kill(target) => kill(system, target, fault.lasts, false).await?,
        Act::Empty(node) => kill(system, Target::Nats(node), fault.lasts, true).await?,
        Act::Pause(target) => pause(system, target, fault.lasts).await,
        Act::Cut(link, mode) => disturb(system, link, mode, fault.lasts).await,
        Act::Fill(disk) => fill(system, disk, fault.lasts).await?,
        Act::RoleClock(role, offset_s) => {
            if let Some(clocks) = &system.clocks {
                clocks.set(ROLES[role], offset_s)?;
                sleep(fault.lasts).await;
                clocks.set(ROLES[role], 0)?;
            }
        }
        Act::DeviceClock(offset_s) => {
            scene.conditions.set_clock(offset_s * 1_000_000_000);
            sleep(fault.lasts).await;
            scene.conditions.set_clock(0);
        }
        Act::Lose => lose(scene, fault.lasts).await?,
        Act::Panic(n_messages) => {
            scene.conditions.add_panics(n_messages);
            sleep(fault.lasts).await;
        }
    }
    drop(lock);
    Ok(Outcome { group: fault.group.clone(), recovery: scene.watch.recovery().await })
}

async fn kill(system: &System, target: Target, lasts: Duration, is_emptied: bool) -> Result<()> {
    match target {
        Target::Role(role) => {
            system.roles[role].kill();
            sleep(lasts).await;
            system.roles[role].start()
        }
        Target::Nats(node) => {
            block_in_place(|| system.nats()[node].kill());
            if is_emptied {
                let folder = system.nats()[node].store_dir().to_path_buf();
                std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
            }
            sleep(lasts).await;
            start_nats(system, node)
        }
        Target::Store => {
            kill_store(system)?;
            sleep(lasts).await;
            start_store(system)
        }
    }
}

/// Kills the store's server, and copies its data if there is no copy.
fn kill_store(system: &System) -> Result<()> {
    block_in_place(|| {
        if let Some(mut influx) = system.influx() {
            influx.kill();
        }
        system.backup.as_ref().map_or(Ok(()), Backup::take)
    })
}

/// Restarts the store's server with the data of an earlier stop. Without one, stops it now and lets it store something
/// that it will lose.
async fn lose(scene: &Scene, lasts: Duration) -> Result<()> {
    let system = &scene.system;
    let backup = system.backup.as_ref().context("this store cannot lose data")?;
    let count = || block_in_place(|| system.influx().map_or(Ok(0), |influx| points::count(&influx)));
    if !backup.exists() {
        kill_store(system)?;
        start_store(system)?;
        let (n_kept, deadline) = (count()?, Instant::now() + LOSS_TIMEOUT);
        while count()? <= n_kept && Instant::now() < deadline {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(lasts).await;
    }
    let n_before = count()?;
    kill_store(system)?;
    block_in_place(|| backup.put_back())?;
    sleep(lasts).await;
    start_store(system)?;
    // The writers restore at once: this may be too small, never too large.
    let n_lost = n_before.saturating_sub(count()?);
    scene.watch.add_lost_points(n_lost);
    progress(&format!("         store restarted without {n_lost} of {n_before} points"));
    Ok(())
}

/// Restarts a NATS server, whether it is running or not.
pub(super) fn start_nats(system: &System, node: usize) -> Result<()> {
    retry(|| system.nats()[node].restart())
}

/// Restarts the store's server, if there is one: twice, otherwise InfluxDB 1.6.7 itself loses acknowledged data.
pub(super) fn start_store(system: &System) -> Result<()> {
    retry(|| system.influx().map_or(Ok(()), |mut influx| influx.restart_after_a_crash()))
}

fn retry(mut start: impl FnMut() -> Result<()>) -> Result<()> {
    block_in_place(|| {
        for _ in 1..START_ATTEMPTS {
            match start() {
                Ok(()) => return Ok(()),
                Err(error) => progress(&format!("server does not start, retrying: {error:#}")),
            }
        }
        start()
    })
}

async fn pause(system: &System, target: Target, lasts: Duration) {
    let send = |signal: Signal| match target {
        Target::Role(role) => system.roles[role].signal(signal),
        Target::Nats(node) => send_signal(system.nats()[node].pid(), signal),
        Target::Store => {
            if let Some(pid) = system.influx().and_then(|influx| influx.pid()) {
                send_signal(pid, signal);
            }
        }
    };
    send(Signal::STOP);
    sleep(lasts).await;
    send(Signal::CONT);
}

async fn disturb(system: &System, link: usize, fault: LinkFault, lasts: Duration) {
    let proxy = &system.links[link].proxy;
    match fault {
        LinkFault::Now => proxy.cut(),
        LinkFault::While(mode) => {
            proxy.set(mode);
            if mode == Mode::Refuse {
                proxy.cut();
            }
            sleep(lasts).await;
            proxy.set(Mode::Forward);
        }
    }
}

/// Fills a disk for `lasts`, then restarts its server. Neither server recovers from a failed write alone: nats-server
/// refuses everything until its restart (seen with 2.15.1; `spindle up` restarts it), and so does InfluxDB 1, whose
/// write-ahead log keeps the error (seen with 1.6.7). An operator or a supervisor must; here the harness does.
async fn fill(system: &System, of: DiskOf, lasts: Duration) -> Result<()> {
    let disk = system.disk(of).context("no such disk")?;
    disk.fill()?;
    // Keeps it full, whatever was freed meanwhile.
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        sleep(Duration::from_millis(200).min(until - Instant::now())).await;
        disk.fill()?;
    }
    disk.free()?;
    match of {
        DiskOf::Nats => start_nats(system, 0),
        DiskOf::Store => start_store(system),
    }
}
