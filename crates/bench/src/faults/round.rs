//! One round: start, publish under faults, let everything drain, judge.

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
use super::nats::{Address, jetstream};
use super::plan::{Act, Fault, Ground, Target, plan};
use super::points;
use super::publish::{self, Ledger};
use super::report::Report;
use super::system::{DiskOf, System};
use super::verdict::{Places, judge, n_expected};
use super::watch::Watch;
use super::{NatsKind, Options, StoreKind, disk, talk};

const STREAMS: [&str; 2] = ["METRICS", "EVENTS"];
const SAY_EVERY: Duration = Duration::from_secs(10);
/// A publisher that gets nothing acknowledged for so long, with everything running, has found a fault.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(120);

/// Tasks that go with the round.
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
        talk("NOT ROOT: no disk can be mounted, so none will be full; that kind of fault is left out");
    }
    talk(&format!(
        "seed {}, {} messages, store {}, nats-server {} ({:?}), {}",
        options.seed,
        options.messages,
        options.store.word(),
        Program::find("nats-server")?.version,
        options.nats,
        folder.path().display()
    ));
    let system = Arc::new(System::start(options, folder.path(), with_disks).await?);
    if options.wants("clock") && system.clocks.is_none() {
        talk("NO LIBFAKETIME: only the devices' clock goes wrong, not that of the roles");
    }
    if options.wants("panic") && !system.has_failpoints {
        talk("NO DEBUG BUILD: no message makes the writer panic; that kind of fault is left out");
    }
    let (watch, looking) = Watch::start(&system.roles);
    let mut tasks = Tasks(looking);
    for role in &system.roles {
        let role = role.clone();
        tasks.0.push(tokio::spawn(async move { role.keep().await }));
    }
    let round = Round::new(options, system, watch)?;
    let outcome = round.go(&mut tasks).await;
    drop(tasks);
    round.system.roles.iter().for_each(|role| role.kill());
    // What went wrong is looked at in what was left.
    if options.keep_dir || !outcome.as_ref().is_ok_and(Report::is_good) {
        round.system.keep_servers_logs(folder.path());
        folder.disable_cleanup(true);
        talk(&format!("kept: {}", folder.path().display()));
    }
    if outcome.is_err() {
        round.show_logs();
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
        talk(&format!("{:>6.1} s  everything is acknowledged; letting it drain", flow.as_secs_f64()));
        self.conditions.close();
        self.drain().await?;
        self.wait_until_restored().await?;
        let drained = begin.elapsed();
        talk(&format!("{:>6.1} s  drained; judging", drained.as_secs_f64()));
        self.judge(outcomes, flow, drained).await
    }

    fn plan(&self) -> Vec<Fault> {
        let is_cluster = self.options.nats == NatsKind::Cluster;
        let disks = [DiskOf::Nats, DiskOf::Store].into_iter();
        if let Some(lasts) = self.options.store_down {
            return vec![self.store_down(lasts)];
        }
        let can_be = |kind: &&str| self.options.wants(kind) && (*kind != "panic" || self.system.has_failpoints);
        let ground = Ground {
            kinds: super::KINDS.into_iter().filter(can_be).collect(),
            n_nats: if is_cluster { 3 } else { 1 },
            store_is_apart: self.options.store == StoreKind::Influxdb,
            links: self.system.links.iter().map(|link| link.name.clone()).collect(),
            // All nodes of the cluster share one disk here, and three that are full are no loss of one.
            disks: disks.filter(|of| self.system.disk(*of).is_some() && !(is_cluster && *of == DiskOf::Nats)).collect(),
            role_clocks: self.system.clocks.is_some(),
        };
        plan(self.options.seed, self.options.faults, self.options.gap, &ground)
    }

    /// The embedded store has no process of its own that could be away: its disk is full instead.
    fn store_down(&self, lasts: Duration) -> Fault {
        let act = match self.options.store {
            StoreKind::Influxdb => Act::Kill(Target::Store),
            StoreKind::Embedded => Act::Fill(DiskOf::Store),
        };
        let name = "store away".to_owned();
        Fault { number: 0, at: Duration::from_secs(5), lasts, act, group: name.clone(), name }
    }

    /// Starts to publish; so many messages a second that they end with the faults.
    fn publish(&self, length: Duration, tasks: &mut Tasks) -> JoinHandle<()> {
        let allowed = Arc::new(AtomicU64::new(0));
        let messages = Messages::new(self.shape, self.conditions.clone());
        let publishing =
            publish::start(&self.system.publisher_address, &self.prefix, messages, &self.ledger, allowed.clone());
        let (n_messages, ledger, watch) = (self.shape.n_messages, self.ledger.clone(), self.watch.clone());
        tasks.0.push(tokio::spawn(async move {
            let begin = Instant::now();
            let mut said_at = begin;
            loop {
                let share = begin.elapsed().as_secs_f64() / length.as_secs_f64().max(0.001);
                allowed.store((n_messages as f64 * share.min(1.0)) as u64, Ordering::Relaxed);
                if said_at.elapsed() > SAY_EVERY {
                    said_at = Instant::now();
                    talk(&format!(
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
            if since.elapsed() > PUBLISH_PATIENCE {
                self.ledger.stop();
                published.abort();
                anyhow::bail!(
                    "JetStream acknowledges nothing more: {} of {} messages after {PUBLISH_PATIENCE:?} without one",
                    n_acked(),
                    self.shape.n_messages
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        published.await.context("publishing")
    }

    /// Everything runs, sources stop, and what is in the streams is stored.
    async fn drain(&self) -> Result<()> {
        if !self.system.daemon().stop().await {
            talk("the daemon did not stop in order within its grace period");
        }
        let (mut least, mut since) = (u64::MAX, Instant::now());
        let mut said_at = Instant::now();
        loop {
            let waiting = n_waiting(&self.system.nats_address).await;
            match waiting {
                Ok(0) => return Ok(()),
                Ok(n_waiting) if n_waiting < least => (least, since) = (n_waiting, Instant::now()),
                Ok(_) | Err(_) => {}
            }
            if since.elapsed() > self.options.patience {
                talk(&format!("NOT DRAINED: {waiting:?} messages still wait; judging all the same"));
                return Ok(());
            }
            if said_at.elapsed() > SAY_EVERY {
                said_at = Instant::now();
                talk(&format!("         {waiting:?} messages wait to be stored"));
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Waits until the InfluxDB has as many points as it must. Writers restore beside the streams' consumers, so that
    /// those show nothing of it.
    async fn wait_until_restored(&self) -> Result<()> {
        // A fault may have left it behind stopped.
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
                return Ok(());
            }
            if n_points > before {
                (before, since) = (n_points, Instant::now());
            }
            if since.elapsed() > self.options.patience {
                talk(&format!("NOT RESTORED: {n_points} of {n_expected} points; judging all the same"));
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    async fn judge(&self, outcomes: Vec<Outcome>, flow: Duration, drained: Duration) -> Result<Report> {
        let store = self.system.store().await?;
        let places = Places { store: &store, nats: &self.system.nats_address, prefix: &self.prefix };
        let mut verdict = judge(self.shape, self.conditions.clone(), &self.ledger, places).await?;
        if let Some(influx) = self.system.influx() {
            verdict.compare_count(block_in_place(|| points::count(&influx))?);
            if !verdict.is_good() {
                block_in_place(|| points::describe_duplicates(&influx))?.iter().for_each(|words| talk(words));
            }
        }
        let audit = audit::ask(&self.system.nats_address, self.shape).await?;
        if let Some(audit) = &audit {
            verdict.compare_audit(audit);
        }
        let Self { options, ledger, watch, system, .. } = self;
        let n_trimmed = n_trimmed(&system.nats_address).await?;
        if n_trimmed > 0 {
            talk(&format!("TRIMMED: {n_trimmed} messages left the streams, and could not have been restored"));
        }
        Ok(Report::new(options, outcomes, verdict, audit, ledger, watch, system, [flow, drained], n_trimmed))
    }

    /// The end of each log, for a round that could not be finished.
    fn show_logs(&self) {
        for path in self.system.roles.iter().map(|role| PathBuf::from(&role.recipe.log)) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(8).collect();
            talk(&format!("--- {}", path.display()));
            tail.iter().rev().for_each(|line| talk(line));
        }
    }
}

/// Messages that are no longer in the streams.
async fn n_trimmed(nats: &Address) -> Result<u64> {
    let mut n_trimmed = 0;
    for stream in STREAMS {
        let answer = jetstream(nats, &format!("STREAM.INFO.{stream}"), &json!({})).await?;
        n_trimmed += answer["state"]["first_seq"].as_u64().unwrap_or_default().saturating_sub(1);
    }
    Ok(n_trimmed)
}

/// Messages of both streams that no writer has acknowledged.
async fn n_waiting(nats: &Address) -> Result<u64> {
    let mut n_waiting = 0;
    for stream in STREAMS {
        let answer = jetstream(nats, &format!("CONSUMER.LIST.{stream}"), &json!({})).await?;
        let consumers = answer["consumers"].as_array().context("no list of consumers")?;
        ensure!(!consumers.is_empty(), "stream {stream} has no consumer");
        let count = |consumer: &Value, name: &str| consumer[name].as_u64().unwrap_or_default();
        n_waiting += consumers.iter().map(|one| count(one, "num_pending") + count(one, "num_ack_pending")).sum::<u64>();
    }
    Ok(n_waiting)
}

#[expect(clippy::disallowed_methods, reason = "the devices' clocks begin now; nothing else here asks for the time")]
fn now_ns() -> Result<i64> {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    i64::try_from(since_epoch.as_nanos()).context("the clock is after 2262")
}
