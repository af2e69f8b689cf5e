//! The command line: parses arguments into a command and the settings that they override. It decides nothing.

mod decide;
mod detect;
mod dlq;
mod query;
mod top;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Overrides;
use crate::decision_service::DecisionRequest;
pub(crate) use detect::DetectTask;
pub(crate) use dlq::{Action, BACKWARDS, DlqTask, Moment, Wanted, Which};
pub(crate) use query::Question;

/// Telemetry pipeline for storage fleets: device metrics and critical events, from source to query
#[derive(Debug, Parser)]
#[command(
    name = "spindle",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: CommandLine,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Shared {
    /// Configuration file (default: spindle.toml, if it exists)
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory for persistent data (default: ./spindle-data)
    #[arg(long, global = true, value_name = "DIR", alias = "datadir")]
    data_dir: Option<String>,
    /// Address of a NATS server (default: NATS_URL; else `up` starts its own, and other commands use that of the running `up`)
    #[arg(long, global = true, value_name = "URL", alias = "server", short_alias = 's')]
    nats: Option<String>,
    /// Store backend: embedded or influxdb
    #[arg(long, global = true, value_name = "KIND")]
    store: Option<String>,
}

#[derive(Debug, Subcommand)]
enum CommandLine {
    /// Run everything in one process: sources, NATS, store, detector, reader, client, HTTP
    Up {
        #[command(flatten)]
        http: Http,
        #[command(flatten)]
        sources: Sources,
        /// Leave out the detector
        #[arg(long)]
        no_detector: bool,
    },
    /// Collect from sources and publish to NATS
    Daemon {
        #[command(flatten)]
        sources: Sources,
    },
    /// Consume from NATS and write to the store
    Writer,
    /// Judge metrics and events while they flow, and publish notes and findings as events
    Detector,
    /// Answer queries over NATS
    Reader,
    /// Answer queries over HTTP
    Web {
        #[command(flatten)]
        http: Http,
    },
    /// Query the reader periodically and log critical events
    Client(ClientArgs),
    /// Run a query: `spindle query devices`, `spindle query device_health source_device=DiskUnit`
    #[command(after_help = query_help())]
    Query(query::QueryArgs),
    /// Show the fleet in the terminal, live: sentence, incidents, pipeline, critical events; q quits
    Top(top::TopArgs),
    /// Accept a finding: it leaves the verdict until it gets worse or the time is over
    ///
    /// Without a finding of that name in the verdict, nothing is accepted. `spindle query device_health` lists the
    /// decisions in force.
    Accept(decide::AcceptArgs),
    /// Record that somebody works on a device; its verdict stays
    Acknowledge(decide::AcknowledgeArgs),
    /// Inspect, replay or remove dead letters: messages that could not be stored, with the reason
    Dlq {
        #[command(subcommand)]
        command: dlq::DlqCommand,
    },
    /// Score the rows of a recorded series: how odd each is, and where an incident begins
    ///
    /// Reads columns `timestamp` and `value`, plain or compressed, and prints a row for each row. A row is judged by
    /// itself and the rows before it.
    Detect(detect::DetectArgs),
    /// Judge recorded drives, row by row, and print a score for each: `spindle judge 2024-*.csv > scores.csv`
    Judge {
        /// Tables of Backblaze Drive Stats, or metrics in the wire format (latency with label `enclosure` or `model`), in
        /// order of time, plain or compressed
        #[arg(required = true, value_name = "DATA")]
        files: Vec<PathBuf>,
    },
    /// Check that the role on this machine is ready; exit code 1 if it is not, or if nothing answers
    ///
    /// Uses its SPINDLE_HEALTH, else its HTTP address, else the address of the running `spindle up`.
    Health {
        /// Address of the HTTP server of the role
        #[arg(long, value_name = "ADDR")]
        http: Option<String>,
    },
    /// Check everything that the roles need, and print remedies; exit code 1 if something fails
    ///
    /// Checks configuration, data directory, disk space, nats-server or the connection to NATS, permissions, streams,
    /// store, sources and addresses. Changes nothing.
    Check(OutputFormat),
    /// Print the effective configuration, secrets masked
    Config {
        #[arg(hide = true, value_parser = ["show", "view", "print", "get", "list", "ls"])]
        _view: Option<String>,
    },
    /// Print the version
    #[command(hide = true)]
    Version,
    /// Run a program until standard input ends, then stop it in order
    #[command(hide = true)]
    Guard {
        #[arg(long)]
        lock: PathBuf,
        #[arg(required = true, last = true)]
        program: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Http {
    /// Address of the HTTP server (default: 127.0.0.1:8080; port 0 takes any)
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
}

#[derive(Debug, Args)]
struct Sources {
    /// Source: simulate, host, smart or replay:FILE; repeatable (default: simulate and host)
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Number of simulated devices
    #[arg(long, value_name = "N")]
    devices: Option<String>,
    /// Seed of the simulated fleet
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// Length of the past that a new simulated fleet gives at once (default: 24h; 0 for none)
    #[arg(long, value_name = "TIME")]
    past: Option<String>,
    /// Time between two collections
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// Maximum number of metrics in a message
    #[arg(long, value_name = "N")]
    metrics_per_message: Option<String>,
    /// Speed of a replay: 1x as recorded, 60x, max
    #[arg(long, value_name = "SPEED")]
    replay_speed: Option<String>,
    /// Shift the timestamps of a recording so that it begins now
    #[arg(long)]
    replay_shift_to_now: bool,
}

#[derive(Debug, Args)]
struct ClientArgs {
    /// Log file of critical events
    #[arg(long, value_name = "FILE")]
    log: Option<String>,
    /// Time between two queries
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// Lowest criticality to log
    #[arg(long, value_name = "1-10")]
    min_criticality: Option<String>,
    /// Query once and exit
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Args)]
struct OutputFormat {
    /// Output format
    #[arg(
        long,
        short = 'o',
        visible_alias = "output",
        value_name = "FORMAT",
        default_value = "table",
        ignore_case = true
    )]
    #[arg(value_parser = format_names())]
    format: String,
    /// Same as `--format json`
    #[arg(long, hide = true, conflicts_with = "format")]
    json: bool,
}

fn format_names() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new([PossibleValue::new("table").aliases(["text", "wide"]), PossibleValue::new("json")])
}

impl OutputFormat {
    fn is_json(&self) -> bool {
        self.json || self.format.eq_ignore_ascii_case("json")
    }
}

/// Command to run.
#[derive(Debug)]
pub(crate) enum Command {
    Up,
    Daemon,
    Writer,
    Detector,
    Reader,
    Web,
    Client { once: bool },
    Query(Question),
    Top { interval: Duration },
    Decide(DecisionRequest),
    Dlq(DlqTask),
    Detect(DetectTask),
    Judge { files: Vec<PathBuf> },
    Health,
    Check { as_json: bool },
    Config,
    Guard { lock: PathBuf, program: Vec<String> },
}

/// Reason to exit before anything runs.
#[derive(Debug)]
pub(crate) enum Early {
    /// Help or version: data, for stdout.
    Print(String),
    /// A usage error, in one line.
    Mistake(String),
}

/// Parses the command line.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<(Command, Overrides), Early> {
    let cli = match_words(words.collect()).map_err(early)?;
    let mut overrides = Overrides { file: cli.shared.config, flags: Vec::new() };
    let mut set = |key: &'static str, value: Option<String>| overrides.flags.extend(value.map(|value| (key, value)));
    set("data_dir", cli.shared.data_dir);
    set("nats.url", cli.shared.nats);
    set("store.kind", cli.shared.store);
    let command = match cli.command {
        CommandLine::Up { http, sources, no_detector } => {
            set("http.listen", http.http);
            set("detector.enabled", no_detector.then(|| "false".to_owned()));
            set_sources(sources, &mut set);
            Command::Up
        }
        CommandLine::Daemon { sources } => {
            set_sources(sources, &mut set);
            Command::Daemon
        }
        CommandLine::Writer => Command::Writer,
        CommandLine::Detector => Command::Detector,
        CommandLine::Reader => Command::Reader,
        CommandLine::Web { http } => {
            set("http.listen", http.http);
            Command::Web
        }
        CommandLine::Client(client) => {
            set("client.log", client.log);
            set("client.interval", client.interval);
            set("client.min_criticality", client.min_criticality);
            Command::Client { once: client.once }
        }
        CommandLine::Query(query) => Command::Query(query::question(query)?),
        CommandLine::Top(args) => Command::Top { interval: args.interval },
        CommandLine::Accept(args) => Command::Decide(args.into()),
        CommandLine::Acknowledge(args) => Command::Decide(args.into()),
        CommandLine::Dlq { command } => Command::Dlq(dlq::task(command)?),
        CommandLine::Detect(args) => Command::Detect(args.into()),
        CommandLine::Judge { files } => Command::Judge { files },
        CommandLine::Health { http } => {
            set("http.listen", http);
            Command::Health
        }
        CommandLine::Check(format) => Command::Check { as_json: format.is_json() },
        CommandLine::Config { .. } => Command::Config,
        CommandLine::Version => return Err(Early::Print(Cli::command().render_version())),
        CommandLine::Guard { lock, program } => Command::Guard { lock, program },
    };
    Ok((command, overrides))
}

/// Matches the words, aliases included; a query type may stand without `query`.
fn match_words(mut words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matched = |words: &[OsString]| words::with_aliases(Cli::command()).try_get_matches_from(words);
    let matches = matched(&words).or_else(|error| {
        let Some(word) = words::unknown_command(&error).filter(|word| words::query_type(word).is_some()) else {
            return Err(error);
        };
        let place = words.iter().position(|given| given.as_os_str() == OsStr::new(word)).unwrap_or(1);
        words.insert(place, "query".into());
        matched(&words)
    })?;
    Cli::from_arg_matches(&matches)
}

fn set_sources(sources: Sources, set: &mut impl FnMut(&'static str, Option<String>)) {
    set("daemon.sources", (!sources.source.is_empty()).then(|| sources.source.join(",")));
    set("daemon.devices", sources.devices);
    set("daemon.seed", sources.seed);
    set("daemon.past", sources.past);
    set("daemon.interval", sources.interval);
    set("daemon.metrics_per_message", sources.metrics_per_message);
    set("daemon.replay_speed", sources.replay_speed);
    set("daemon.replay_shift_to_now", sources.replay_shift_to_now.then(|| "true".to_owned()));
}

/// Turns an error of clap, which has several lines, into one line with a reference to the help.
fn early(mut error: clap::Error) -> Early {
    words::keep_slips(&mut error);
    if !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Early::Print(error.render().to_string());
    }
    let rendered = error.render().to_string();
    let mut lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    if let Some(tip) = words::tip(&error) {
        return Early::Mistake(format!("{first}: {tip}"));
    }
    let details: Vec<_> =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let joined = if details.is_empty() { first } else { format!("{first} {}", details.join("; ")) };
    Early::Mistake(format!("{joined}; see `spindle --help` or `spindle COMMAND --help`"))
}

fn query_help() -> String {
    let mut text = "Types and their parameters:\n".to_owned();
    for query_type in spindle_core::query::QUERY_TYPES {
        text += &format!("\n  {}: {}\n", query_type.name, query_type.help);
        for param in query_type.params {
            let default = param.default.map_or_else(|| "required".to_owned(), |default| format!("default {default}"));
            text += &format!("      {:<16} {} ({default})\n", param.name, param.expected());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<(Command, Overrides), Early> {
        parse(std::iter::once("spindle").chain(words.split_whitespace()).map(Into::into))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        words::with_aliases(Cli::command()).debug_assert();
        let (command, overrides) =
            parsed("up --devices 3 --source simulate --source replay:x.csv --http 127.0.0.1:0").unwrap();
        assert!(matches!(command, Command::Up));
        assert!(overrides.flags.contains(&("daemon.sources", "simulate,replay:x.csv".to_owned())));
    }

    #[test]
    fn a_mistake_is_one_line_that_says_where_to_look() {
        for words in ["up --nonsense", "nonsense", "query", "query devices limit", "query devices --format xml"] {
            let Err(Early::Mistake(line)) = parsed(words) else { panic!("'{words}' passed") };
            assert!(!line.contains('\n') && line.len() > 20, "{line}");
        }
        for words in ["query devices --timeout abc", "query devices --timeout 0s"] {
            let Err(Early::Mistake(line)) = parsed(words) else { panic!("'{words}' passed") };
            assert!(line.contains("--timeout") && line.contains("expected a duration"), "{line}");
        }
        let Ok((Command::Query(question), _)) = parsed("query devices --timeout 5") else { panic!("no question") };
        assert_eq!(question.timeout, std::time::Duration::from_secs(5));
        assert!(matches!(parsed("--help"), Err(Early::Print(_))));
    }
}
