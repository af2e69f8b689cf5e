//! The worst load of each role.

mod answering;
mod fleet;
mod judging;
mod storing;
mod together;

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use spindle_bus::{
    BufferLimits, Bus, Credentials, EVENTS_SUBJECT, METRICS_SUBJECT, NatsSettings, Outgoing, Publisher, StreamLimits,
};
use spindle_testkit::NatsServer;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::process::Process;
use fleet::Fleet;

/// Longest time for one load.
const TIMEOUT: Duration = Duration::from_secs(1_200);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Default of SPINDLE_BUFFER_BYTES.
const HOLD_BYTES: usize = 64 << 20;

/// A load of a role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Name for `--only`.
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    /// Its row in the table.
    pub(super) description: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Hold { per_message: &'static str },
    Host,
    HangingStore,
    HangingInfluxDb,
    LateEvents { on_influxdb: bool },
    Fleet { fleet: Fleet, on_influxdb: bool },
    LargeQueries,
    ManyQueries,
    Alerts,
    LargeAnswers,
    Series { n_devices: usize },
    Together,
}

pub(super) const LOADS: [Load; 17] = [
    load("hold", "daemon", "hold of 64 MiB full, one metric in a message", Kind::Hold { per_message: "1" }),
    load("hold-arrays", "daemon", "hold of 64 MiB full, 500 metrics in a message", Kind::Hold { per_message: "500" }),
    load("host", "daemon", "the source `host` every 100 ms, NATS is away", Kind::Host),
    load("hanging-store", "writer", "messages of 900 kB, the store never answered", Kind::HangingStore),
    load(
        "hanging-influxdb",
        "writer",
        "all batches in flight, messages of 900 kB, InfluxDB 1.6.7 hangs",
        Kind::HangingInfluxDb,
    ),
    load(
        "late-events",
        "writer",
        "messages of 480 late events among 300,000 stored ones",
        Kind::LateEvents { on_influxdb: false },
    ),
    load("late-events-influxdb", "writer", "the same on InfluxDB 1.6.7", Kind::LateEvents { on_influxdb: true }),
    load(
        "fleet",
        "writer",
        "20,000 devices with 20 metrics and 16 labels each",
        Kind::Fleet { fleet: fleet::LARGE, on_influxdb: false },
    ),
    load(
        "fleet-influxdb",
        "writer",
        "the same on InfluxDB 1.6.7",
        Kind::Fleet { fleet: fleet::LARGE, on_influxdb: true },
    ),
    load(
        "caches-influxdb",
        "writer",
        "caches at their limits: 230,000 devices, 730,000 series of 20 months, 500,000 labels, InfluxDB 1.6.7",
        Kind::Fleet { fleet: fleet::BEYOND_CACHES, on_influxdb: true },
    ),
    load(
        "series",
        "detector",
        "1,000 devices with 9 metrics each, judged, saved and restored",
        Kind::Series { n_devices: 1_000 },
    ),
    load(
        "all-series",
        "detector",
        "as many series as it follows: 100,000, judged, saved and restored",
        Kind::Series { n_devices: 100_000 / 9 },
    ),
    load("large-queries", "reader", "1,000 queries of 900 kB while the store hangs", Kind::LargeQueries),
    load("many-queries", "reader", "2,000 queries of 60 kB while the store hangs", Kind::ManyQueries),
    load("alerts", "client", "300,000 critical events at once", Kind::Alerts),
    load("large-answers", "web", "200 clients that read large answers slowly", Kind::LargeAnswers),
    load(
        "together",
        "up",
        "every role in one process: 2,000 simulated devices, 200 MiB of messages of 900 kB, 200 slow clients",
        Kind::Together,
    ),
];

const fn load(name: &'static str, role: &'static str, description: &'static str, kind: Kind) -> Load {
    Load { name, role, description, kind }
}

impl Load {
    /// Runs the load, divided by `divisor`; returns the role's peak in bytes.
    pub(super) async fn run(&self, program: &Path, divisor: usize) -> Result<u64> {
        let mut stage = Stage::new(program, self.role, divisor)?;
        match self.kind {
            Kind::Hold { per_message } => hold(&mut stage, per_message).await,
            Kind::Host => host(&mut stage).await,
            Kind::HangingStore => storing::hanging_from_the_start(&stage).await,
            Kind::HangingInfluxDb => storing::hanging_influxdb(&stage).await,
            Kind::LateEvents { on_influxdb } => storing::late_events(&stage, on_influxdb).await,
            Kind::Fleet { fleet, on_influxdb } => fleet.run(&stage, on_influxdb).await,
            Kind::Series { n_devices } => judging::run(&stage, n_devices / divisor).await,
            Kind::LargeQueries => answering::queries(&stage, 1_000 / divisor, 900_000).await,
            Kind::ManyQueries => answering::queries(&stage, 2_000 / divisor, 60_000).await,
            Kind::Alerts => answering::alerts(&stage, 300_000 / divisor).await,
            Kind::LargeAnswers => answering::large_answers(&stage, 200 / divisor).await,
            Kind::Together => together::run(&stage, 200 / divisor).await,
        }
    }
}

/// A server, a store that hangs, and a folder.
struct Stage<'p> {
    program: &'p Path,
    role: &'static str,
    nats: NatsServer,
    folder: TempDir,
    /// Accepts connections and never answers.
    hanging: TcpListener,
    /// Divisor of the load.
    divisor: usize,
}

impl<'p> Stage<'p> {
    fn new(program: &'p Path, role: &'static str, divisor: usize) -> Result<Self> {
        let (nats, folder) = (NatsServer::start()?, tempfile::tempdir()?);
        Ok(Self { program, role, nats, folder, hanging: TcpListener::bind("127.0.0.1:0")?, divisor })
    }

    /// Starts the role with its store in the folder.
    fn start(&self, more: &[(&str, &str)]) -> Result<Process> {
        let url = self.nats.url();
        Process::start(self.program, self.folder.path(), self.role, &[&[("NATS_URL", url.as_str())], more].concat())
    }

    /// Starts the role with the store that hangs.
    fn start_hanging(&self) -> Result<Process> {
        let host = format!("http://{}", self.hanging.local_addr()?);
        self.start(&[("INFLUXDB_HOST", &host), ("INFLUXDB_VERSION", "1")])
    }

    async fn bus(&self, name: &str) -> Result<Bus> {
        let settings = NatsSettings {
            url: self.nats.url(),
            credentials: Credentials::default(),
            connect_timeout: Duration::from_secs(10),
        };
        Ok(Bus::connect(&settings, name).await?)
    }

    /// Publishes messages, urgent or not, and waits for their acks. Their ids begin with `prefix`.
    async fn publish(&self, prefix: &str, messages: impl Iterator<Item = (bool, String)>) -> Result<()> {
        let bus = self.bus("bench").await?;
        bus.ensure_streams(StreamLimits::default()).await?;
        let (publisher, work) = Publisher::new(bus, BufferLimits::default());
        let work = tokio::spawn(work);
        for (number, (urgent, text)) in messages.enumerate() {
            let subject = if urgent { EVENTS_SUBJECT } else { METRICS_SUBJECT };
            let message_id = format!("{prefix}-{number}");
            publisher
                .enqueue_when_room(Outgoing {
                    subject,
                    message_id,
                    payload: text.into(),
                    n_items: 1,
                    urgent,
                    as_of: None,
                })
                .await;
        }
        publisher.drained().await;
        publisher.close();
        work.await?;
        Ok(())
    }
}

/// Waits until a condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !condition() {
        ensure!(started.elapsed() < TIMEOUT, "waited {} s in vain until {what}", TIMEOUT.as_secs());
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// NATS is away, and the sources go on.
async fn hold(stage: &mut Stage<'_>, per_message: &str) -> Result<u64> {
    let buffer = format!("{}", HOLD_BYTES / stage.divisor);
    let mut daemon = stage.start(&[
        ("SPINDLE_BUFFER_BYTES", &buffer),
        ("SPINDLE_SOURCES", "simulate"),
        ("SPINDLE_DEVICES", "2000"),
        ("SPINDLE_INTERVAL", "200ms"),
        ("SPINDLE_METRICS_PER_MESSAGE", per_message),
    ])?;
    until("the daemon publishes", || daemon.metric("spindle_daemon_acked_items_total") > 0.0).await?;
    stage.nats.kill();
    until("the hold is full", || daemon.metric("spindle_daemon_dropped_items_total{reason=\"buffer_full\"}") > 0.0)
        .await?;
    // Dropping and adding goes on.
    sleep(Duration::from_secs(5)).await;
    daemon.peak_bytes()
}

/// NATS is away, and the host's drives and file systems are measured.
async fn host(stage: &mut Stage<'_>) -> Result<u64> {
    let mut daemon = stage.start(&[("SPINDLE_SOURCES", "host"), ("SPINDLE_INTERVAL", "100ms")])?;
    until("the daemon publishes", || daemon.metric("spindle_daemon_acked_items_total") > 0.0).await?;
    stage.nats.kill();
    sleep(Duration::from_secs(30) / stage.divisor as u32).await;
    daemon.peak_bytes()
}
