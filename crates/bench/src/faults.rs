//! Fault harness: sends known messages, hits every process and every link at random moments, and checks that each
//! acknowledged message is stored once or is a dead letter.
//!
//! The harness shares no code with the system that it judges: messages are written by hand, and NATS has a separate
//! client. The store is read with `spindle-store`, which its conformance suite covers.
//!
//! - `messages`, `conditions`, `publish`: the known messages, published until they are acknowledged.
//! - `system`, `proxy`, `disk`, `backup`: the system under test, and the means to hurt it.
//! - `plan`, `inflict`: choice and execution of the faults.
//! - `watch`: recovery and memory.
//! - `verdict`, `points`, `audit`, `report`: the result.

mod audit;
mod backup;
mod conditions;
mod disk;
mod inflict;
mod messages;
mod plan;
mod points;
mod proxy;
mod publish;
mod report;
mod round;
mod system;
mod verdict;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::time::Instant;

use crate::print;

/// Kinds of faults, as named by `--kinds`.
const KINDS: [&str; 8] = ["kill", "pause", "cut", "disk", "clock", "empty", "lose", "panic"];

/// Options of the harness.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// `spindle` program to test [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Store backend
    #[arg(long, value_enum, default_value_t = StoreKind::Embedded)]
    store: StoreKind,
    /// One NATS server, or three with three replicas
    #[arg(long, value_enum, default_value_t = NatsKind::Single)]
    nats: NatsKind,
    /// Messages to send
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Values per message of metrics
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=500))]
    values: u64,
    /// Number of devices
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=9_999))]
    devices: u64,
    /// Number of faults
    #[arg(long, default_value_t = 40)]
    faults: usize,
    /// Mean time between the starts of two faults
    #[arg(long, default_value = "4s", value_parser = humantime::parse_duration)]
    gap: Duration,
    /// Time over which the messages are spread [default: duration of the plan of faults]
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Seed of faults and messages: the same seed gives the same plan
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of faults: kill, pause, cut, disk, clock, empty (a cluster's node), lose (data of an InfluxDB), panic (of the
    /// writer on a message; debug builds only)
    #[arg(long, value_delimiter = ',', default_values = KINDS, value_parser = KINDS)]
    kinds: Vec<String>,
    /// Time without progress at the end after which the round is judged all the same
    #[arg(long, default_value = "3m", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    /// Inflict one fault only: stop the store for this long, under load
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    store_down: Option<Duration>,
    /// Soak test: repeat rounds with successive seeds for this long
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// Keep the logs and print their folder
    #[arg(long)]
    keep_dir: bool,
    /// Print the results as JSON, one line per round
    #[arg(long)]
    json: bool,
}

/// Store backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Embedded,
    Influxdb,
}

impl StoreKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Influxdb => "influxdb",
        }
    }
}

/// Layout of the NATS servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NatsKind {
    Single,
    Cluster,
}

impl Options {
    fn wants(&self, kind: &str) -> bool {
        self.kinds.iter().any(|wanted| wanted == kind)
    }

    fn program(&self) -> Result<PathBuf> {
        let path = match &self.program {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("spindle"),
        };
        let path = path.canonicalize().with_context(|| {
            format!("no program at {}; build it (`cargo build -p spindle`) or set --program", path.display())
        })?;
        Ok(path)
    }
}

/// Runs one round, or as many as fit into `--for`. Fails if anything was lost or doubled.
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    options.program()?;
    ensure!(options.messages >= options.devices, "fewer messages than devices");
    let needs_disks = options.wants("disk") || options.store_down.is_some();
    if needs_disks && disk::is_root() {
        disk::isolate_mounts()?;
    }
    let begin = Instant::now();
    let (mut options, mut is_good, mut n_rounds) = (options, true, 0);
    loop {
        let report = round::run(&options).await?;
        n_rounds += 1;
        is_good &= report.is_good();
        print(&if options.json { report.json().to_string() } else { report.text() });
        options.seed += 1;
        // A bad round ends the soak, so that its files can be examined.
        if options.soak.is_none_or(|soak| begin.elapsed() > soak) || !is_good {
            break;
        }
    }
    if options.soak.is_some() {
        let summary = json!({ "rounds": n_rounds, "seconds": begin.elapsed().as_secs(), "good": is_good });
        print(&if options.json {
            summary.to_string()
        } else {
            format!(
                "{n_rounds} rounds in {} s, {}",
                begin.elapsed().as_secs(),
                if is_good { "all good" } else { "NOT GOOD" }
            )
        });
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints progress on stderr; stdout is for the results.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
fn progress(line: &str) {
    eprintln!("{line}");
}
