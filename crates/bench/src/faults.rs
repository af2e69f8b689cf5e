//! The fault harness: known messages go in, every process and every way between them is hit at random moments,
//! and afterwards each acknowledged message must be stored once or be a dead letter.
//!
//! Nothing of what is judged takes part in the judging: messages are written by hand, and the harness speaks to
//! NATS with a client of its own. The store is read with `spindle-store`, which its own suite holds to account.
//!
//! - `messages`, `nats`, `publish`: the known messages, and getting them acknowledged.
//! - `system`, `process`, `proxy`, `disk`, `clock`: what is under test, and the handles to hurt it.
//! - `plan`, `inflict`: which faults, and doing them.
//! - `watch`: how it recovers, and what memory it takes.
//! - `verdict`, `audit`, `report`: what came of it.

mod audit;
mod backup;
mod clock;
mod conditions;
mod disk;
mod inflict;
mod messages;
mod nats;
mod plan;
mod points;
mod process;
mod proxy;
mod publish;
mod random;
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

use crate::say;

/// Kinds of faults, as `--kinds` names them.
const KINDS: [&str; 8] = ["kill", "pause", "cut", "disk", "clock", "empty", "lose", "panic"];

/// What to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The `spindle` program to test [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The store
    #[arg(long, value_enum, default_value_t = StoreKind::Embedded)]
    store: StoreKind,
    /// One NATS server, or three that keep three copies
    #[arg(long, value_enum, default_value_t = NatsKind::Single)]
    nats: NatsKind,
    /// Messages to send
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Values in one message of metrics
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=500))]
    values: u64,
    /// Devices that send
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=9_999))]
    devices: u64,
    /// Faults to inflict
    #[arg(long, default_value_t = 40)]
    faults: usize,
    /// Mean time from the beginning of one fault to the next
    #[arg(long, default_value = "4s", value_parser = humantime::parse_duration)]
    gap: Duration,
    /// Time over which the messages are spread [default: that of the faults]
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Faults and messages follow from it: the same seed, the same plan
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of faults: kill, pause, cut, disk, clock, empty (of a cluster's node)
    #[arg(long, value_delimiter = ',', default_values = KINDS, value_parser = KINDS)]
    kinds: Vec<String>,
    /// How long the system may make no progress at the end before it is judged all the same
    #[arg(long, default_value = "3m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Instead of many faults one: the store is away for so long, under load
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    store_down: Option<Duration>,
    /// Soak: round after round, each with the next seed, until this time is over
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    soak: Option<Duration>,
    /// Keep the logs, and name the folder
    #[arg(long)]
    keep_dir: bool,
    /// Print the figures as JSON, one line a round
    #[arg(long)]
    json: bool,
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Embedded,
    Influxdb,
}

impl StoreKind {
    fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Influxdb => "influxdb",
        }
    }
}

/// Which NATS.
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
            format!("no program at {}: build it (`cargo build -p spindle`) or name it with --program", path.display())
        })?;
        Ok(path)
    }
}

/// Runs one round, or as many as there is time for. Failure unless nothing at all was lost or doubled.
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    options.program()?;
    ensure!(options.messages >= options.devices, "fewer messages than devices");
    let needs_disks = options.wants("disk") || options.store_down.is_some();
    if needs_disks && disk::is_root() {
        disk::keep_mounts_to_ourselves()?;
    }
    let begin = Instant::now();
    let (mut options, mut is_good, mut n_rounds) = (options, true, 0);
    loop {
        let report = round::run(&options).await?;
        n_rounds += 1;
        is_good &= report.is_good();
        say(&if options.json { report.json().to_string() } else { report.text() });
        options.seed += 1;
        // A round that lost something ends the soak: what it left is looked at first.
        if options.soak.is_none_or(|soak| begin.elapsed() > soak) || !is_good {
            break;
        }
    }
    if options.soak.is_some() {
        let summary = json!({ "rounds": n_rounds, "seconds": begin.elapsed().as_secs(), "good": is_good });
        say(&if options.json {
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

/// Progress, for people: on stderr, since stdout is for the figures.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
fn talk(line: &str) {
    eprintln!("{line}");
}
