//! One round: start, publish under faults, drain, judge.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use spindle_testkit::Program;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Instant, sleep};

use super::audit;
use super::conditions::Conditions;
use super::inflict::{Outcome, Scene, inflict, start_store};
use super::messages::{Messages, Shape};
use super::plan::{Act, Fault, Target, Targets, plan};
use super::points;
use super::publish::{self, Ledger};
use super::report::Report;
use super::system::{DiskOf, System};
use super::verdict::{Sources, judge, n_expected};
use super::watch::Watch;
use super::{NatsKind, Options, StoreKind, disk, progress};
use crate::harness::nats::{Address, jetstream};

const STREAMS: [&str; 2] = ["METRICS", "EVENTS"];
/// Longer than the interval at which a writer asks whether a restore is due.
const RESTORE_QUIET: Duration = Duration::from_secs(12);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// Time without an ack, with everything running, after which the round fails.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(120);

/// Tasks that end with the round.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

pub(super) async fn run(options: &Options) -> Result<Report> {
    let begin = Instant::now();
    let mut folder = tempfile::Builder::new().prefix("spindle-faults-").tempdir()?;
    let with_disks = (options.wants("disk") || options.store_down.is_some()) && disk::is_root();
    if !with_disks && options.wants("disk") {
        progress("NOT ROOT: cannot mount disks; faults of kind disk are left out");
    }
    progress(&format!(
        "seed {}, {} messages, store {}, nats-server {} ({:?}), {}",
        options.seed,
        options.messages,
        options.store.as_str(),
        Program::find("nats-server")?.version,
        options.nats,
        folder.path().display()
    ));
    let system = Arc::new(System::start(options, folder.path(), with_disks).await?);
    if options.wants("clock") && system.clocks.is_none() {
        progress("NO LIBFAKETIME: clock faults affect only the devices, not the roles");
    }
    if options.wants("panic") && !system.has_failpoints {
        progress("NOT A DEBUG BUILD: no message can make the writer panic; faults of kind panic are left out");
    }
    let (watch, watching) = Watch::start(&system.roles);
    let mut tasks = Tasks(watching);
    for role in &system.roles {
        let role = role.clone();
        tasks.0.push(tokio::spawn(async move { role.keep().await }));
    }
    let round = Round::new(options, system, watch)?;
    let outcome = round.go(&mut tasks).await;
    drop(tasks);
    round.system.roles.iter().for_each(|role| role.kill());
    // The files of a bad round are needed to examine it.
    if options.keep_dir || !outcome.as_ref().is_ok_and(Report::is_good) {
        round.system.keep_servers_logs(folder.path());
        folder.disable_cleanup(true);
        progress(&format!("kept: {}", folder.path().display()));
    }
    if outcome.is_err() {
        round.print_logs();
    }
    let mut report = outcome?;
    report.took = begin.elapsed();
    Ok(report)
}

struct Round<'a> {
    options: &'a Options,
    system: Arc<System>,
    watch: Arc<Watch>,
    shape: Shape,
    conditions: Arc<Conditions>,
    ledger: Arc<Ledger>,
    prefix: String,
}

impl<'a> Round<'a> {
    fn new(options: &'a Options, system: Arc<System>, watch: Arc<Watch>) -> Result<Self> {
        let shape = Shape {
            seed: options.seed,
            n_messages: options.messages,
            n_devices: options.devices,
            values_per_message: options.values,
            begin_ns: now_ns()?,
        };
        Ok(Self {
            options,
            system,
            watch,
            shape,
            conditions: Arc::default(),
            ledger: Arc::new(Ledger::new(options.messages)),
            prefix: format!("f{}-{}", options.seed, std::process::id()),
        })
    }

    async fn go(&self, tasks: &mut Tasks) -> Result<Report> {
        let plan = self.plan();
        let length =
            self.options.duration.unwrap_or_else(|| plan.last().map_or(Duration::ZERO, |last| last.at + last.lasts));
        let published = self.publish(length, tasks);
        let begin = Instant::now();
        let scene =
            Scene { system: self.system.clone(), watch: self.watch.clone(), conditions: self.conditions.clone() };
        let outcomes = inflict(&scene, plan).await?;
        self.wait_until_published(published).await?;
        let flow = begin.elapsed();
        progress(&format!("{:>6.1} s  all messages acknowledged, draining", flow.as_secs_f64()));
        self.conditions.close();
        self.drain().await?;
        self.wait_until_restored().await?;
        let drained = begin.elapsed();
        progress(&format!("{:>6.1} s  drained; judging", drained.as_secs_f64()));
        self.judge(outcomes, flow, drained).await
    }

    fn plan(&self) -> Vec<Fault> {
        let is_cluster = self.options.nats == NatsKind::Cluster;
        let disks = [DiskOf::Nats, DiskOf::Store].into_iter();
        if let Some(lasts) = self.options.store_down {
            return vec![self.store_down(lasts)];
        }
        let is_possible = |kind: &&str| self.options.wants(kind) && (*kind != "panic" || self.system.has_failpoints);
        let targets = Targets {
            kinds: super::KINDS.into_iter().filter(is_possible).collect(),
            n_nats: if is_cluster { 3 } else { 1 },
            has_store_server: self.options.store == StoreKind::Influxdb,
            links: self.system.links.iter().map(|link| link.name.clone()).collect(),
            // All nodes of the cluster share one disk, and three full nodes are more than the loss of one.
            disks: disks.filter(|of| self.system.disk(*of).is_some() && !(is_cluster && *of == DiskOf::Nats)).collect(),
            role_clocks: self.system.clocks.is_some(),
        };
        plan(self.options.seed, self.options.faults, self.options.gap, &targets)
    }

    /// Makes the store unavailable. The embedded store has no separate process: its disk is full instead.
    fn store_down(&self, lasts: Duration) -> Fault {
        let act = match self.options.store {
            StoreKind::Influxdb => Act::Kill(Target::Store),
            StoreKind::Embedded => Act::Fill(DiskOf::Store),
        };
        let name = "store away".to_owned();
        Fault { number: 0, at: Duration::from_secs(5), lasts, act, group: name.clone(), name }
    }

    /// Starts to publish, at the rate at which the messages end with the faults.
    fn publish(&self, length: Duration, tasks: &mut Tasks) -> JoinHandle<()> {
        let allowed = Arc::new(AtomicU64::new(0));
        let messages = Messages::new(self.shape, self.conditions.clone());
        let publishing =
            publish::start(&self.system.publisher_address, &self.prefix, messages, &self.ledger, allowed.clone());
        let (n_messages, ledger, watch) = (self.shape.n_messages, self.ledger.clone(), self.watch.clone());
        tasks.0.push(tokio::spawn(async move {
            let begin = Instant::now();
            let mut printed_at = begin;
            loop {
                let share = begin.elapsed().as_secs_f64() / length.as_secs_f64().max(0.001);
                allowed.store((n_messages as f64 * share.min(1.0)) as u64, Ordering::Relaxed);
                if printed_at.elapsed() > PROGRESS_INTERVAL {
                    printed_at = Instant::now();
                    progress(&format!(
                        "{:>6.1} s  {} of {n_messages} messages acknowledged, {} values and events stored",
                        begin.elapsed().as_secs_f64(),
                        ledger.n_acked.load(Ordering::Relaxed),
                        watch.n_stored()
                    ));
                }
                sleep(Duration::from_millis(5)).await;
            }
        }));
        publishing
    }

    async fn wait_until_published(&self, published: JoinHandle<()>) -> Result<()> {
        let n_acked = || self.ledger.n_acked.load(Ordering::Relaxed);
        let (mut before, mut since) = (n_acked(), Instant::now());
        while !published.is_finished() {
            if n_acked() > before {
                (before, since) = (n_acked(), Instant::now());
            }
            if since.elapsed() > PUBLISH_TIMEOUT {
                self.ledger.stop();
                published.abort();
                anyhow::bail!(
                    "no acks from JetStream for {PUBLISH_TIMEOUT:?}: {} of {} messages acknowledged",
                    n_acked(),
                    self.shape.n_messages
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        published.await.context("publishing")
    }

    /// Stops the sources and waits until the streams are stored.
    async fn drain(&self) -> Result<()> {
        if !self.system.daemon().stop().await {
            progress("the daemon did not stop in time");
        }
        let (mut least, mut since) = (u64::MAX, Instant::now());
        let mut printed_at = Instant::now();
        loop {
            let waiting = n_waiting(&self.system.nats_address).await;
            match waiting {
                Ok(0) => return Ok(()),
                Ok(n_waiting) if n_waiting < least => (least, since) = (n_waiting, Instant::now()),
                Ok(_) | Err(_) => {}
            }
            if since.elapsed() > self.options.drain_timeout {
                progress(&format!("NOT DRAINED: {waiting:?} messages waiting; judging all the same"));
                return Ok(());
            }
            if printed_at.elapsed() > PROGRESS_INTERVAL {
                printed_at = Instant::now();
                progress(&format!("         {waiting:?} messages waiting"));
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until the InfluxDB holds as many points as expected. The state of the consumers does not show a restore.
    async fn wait_until_restored(&self) -> Result<()> {
        // A fault may have left it stopped.
        if self.system.influx().is_some_and(|influx| influx.pid().is_none()) {
            start_store(&self.system)?;
        }
        let n_expected = n_expected(self.shape, self.conditions.clone(), &self.ledger);
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let Some(n_points) = block_in_place(|| self.system.influx().map(|influx| points::count(&influx))) else {
                return Ok(());
            };
            let n_points = n_points?;
            if n_points >= n_expected {
                self.wait_until_no_restore_runs().await;
                return Ok(());
            }
            if n_points > before {
                (before, since) = (n_points, Instant::now());
            }
            if since.elapsed() > self.options.drain_timeout {
                progress(&format!("NOT RESTORED: {n_points} of {n_expected} points; judging all the same"));
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// A restore loads the store, which then answers no audit in time.
    async fn wait_until_no_restore_runs(&self) {
        let (mut n_before, mut since) = (self.watch.n_restored(), Instant::now());
        while since.elapsed() < RESTORE_QUIET {
            sleep(Duration::from_secs(1)).await;
            if self.watch.n_restored() > n_before {
                (n_before, since) = (self.watch.n_restored(), Instant::now());
            }
        }
    }

    async fn judge(&self, outcomes: Vec<Outcome>, flow: Duration, drained: Duration) -> Result<Report> {
        let store = self.system.store().await?;
        let sources = Sources { store: &store, nats: &self.system.nats_address, prefix: &self.prefix };
        let mut verdict = judge(self.shape, self.conditions.clone(), &self.ledger, sources).await?;
        if let Some(influx) = self.system.influx() {
            verdict.compare_count(block_in_place(|| points::count(&influx))?);
            if !verdict.is_good() {
                block_in_place(|| points::describe_duplicates(&influx))?.iter().for_each(|line| progress(line));
            }
        }
        let audit = audit::ask(&self.system.nats_address, self.shape).await?;
        if let Some(audit) = &audit {
            verdict.compare_audit(audit);
        }
        let Self { options, ledger, watch, system, .. } = self;
        let n_trimmed = n_trimmed(&system.nats_address).await?;
        if n_trimmed > 0 {
            progress(&format!(
                "TRIMMED: {n_trimmed} messages are gone from the streams; a restore could not have read them"
            ));
        }
        Ok(Report::new(options, outcomes, verdict, audit, ledger, watch, system, [flow, drained], n_trimmed))
    }

    /// Prints the end of each log, for a round that could not be finished.
    fn print_logs(&self) {
        for path in self.system.roles.iter().map(|role| PathBuf::from(&role.recipe.log)) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(8).collect();
            progress(&format!("--- {}", path.display()));
            tail.iter().rev().for_each(|line| progress(line));
        }
    }
}

/// Counts messages that have been removed from the streams.
async fn n_trimmed(nats: &Address) -> Result<u64> {
    let mut n_trimmed = 0;
    for stream in STREAMS {
        let reply = jetstream(nats, &format!("STREAM.INFO.{stream}"), &json!({})).await?;
        n_trimmed += reply["state"]["first_seq"].as_u64().unwrap_or_default().saturating_sub(1);
    }
    Ok(n_trimmed)
}

/// Counts messages of both streams that no writer has acknowledged.
async fn n_waiting(nats: &Address) -> Result<u64> {
    let mut n_waiting = 0;
    for stream in STREAMS {
        let reply = jetstream(nats, &format!("CONSUMER.LIST.{stream}"), &json!({})).await?;
        let consumers = reply["consumers"].as_array().context("reply without a list of consumers")?;
        let name = |consumer: &Value| consumer["name"].as_str().unwrap_or_default().to_owned();
        let consumers: Vec<&Value> = consumers.iter().filter(|one| name(one).starts_with("writer-")).collect();
        ensure!(!consumers.is_empty(), "stream {stream} has no consumer of a writer");
        let count = |consumer: &Value, name: &str| consumer[name].as_u64().unwrap_or_default();
        n_waiting += consumers.iter().map(|one| count(one, "num_pending") + count(one, "num_ack_pending")).sum::<u64>();
    }
    Ok(n_waiting)
}

#[expect(clippy::disallowed_methods, reason = "the devices' clocks start now; nothing else here reads the clock")]
fn now_ns() -> Result<i64> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    i64::try_from(since_epoch.as_nanos()).context("the clock is after 2262")
}
