//! Load generation, benchmarks, and the fault harness, which proves that nothing is lost. Rates are those of this machine
//! at this moment; only the ratios within one run are comparable between machines, so each benchmark also runs a
//! reference.

mod detect;
mod faults;
mod harness;
mod memory;
mod pipeline;
mod queries;
mod scorecard;
mod store;
mod truth;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Decode and encode payloads, compared with serde_json on the same bytes
    Wire,
    /// Judge series on one core, and restore detectors from their bytes
    Detect {
        /// Series to judge, each a week of minutes
        #[arg(long, default_value_t = 200)]
        series: usize,
    },
    /// Write durably to the embedded store or an InfluxDB, in batches of several sizes, several at once
    Store {
        /// Address of an InfluxDB 1 without credentials, instead of the embedded store
        #[arg(long)]
        influxdb: Option<String>,
        /// Values to write
        #[arg(long, default_value_t = 1_000_000)]
        values: usize,
        /// Series to spread them over
        #[arg(long, default_value_t = 1_000)]
        series: usize,
    },
    /// Query one window of a store with 1, 10 and 100 times its data before it
    Queries {
        /// Address of an InfluxDB 1 without credentials, instead of the embedded store
        #[arg(long)]
        influxdb: Option<String>,
        /// Values in the window
        #[arg(long, default_value_t = 20_000)]
        values: usize,
    },
    /// Measure from a publisher's ack to the reader's response, through a running `spindle up`
    Pipeline {
        /// Address of the NATS server
        #[arg(long)]
        nats: String,
        /// Values to send
        #[arg(long, default_value_t = 1_000_000)]
        values: usize,
        /// Values in one message
        #[arg(long, default_value_t = 500)]
        per_message: usize,
    },
    /// Send known messages through real processes under faults, then check that each acknowledged one is stored once
    Faults(faults::Options),
    /// Put each role under its worst load and compare its memory with the limit of its container
    Memory(memory::MemoryOptions),
    /// Judge simulated fleets, or a recording, and score the judgement by the truth: recall, lead, false pages, notes
    Scorecard(scorecard::ScorecardOptions),
    /// Compare what Spindle says with what is: foreign answers, aged data, colliding ids, unsafe streams, wrong clocks
    Truth(truth::Options),
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Cli::parse().benchmark {
        Benchmark::Faults(options) => return faults::run(options).await,
        Benchmark::Memory(options) => return memory::run(options).await,
        Benchmark::Truth(options) => return truth::run(options).await,
        Benchmark::Scorecard(options) => scorecard::run(&options),
        Benchmark::Wire => wire::run(),
        Benchmark::Detect { series } => detect::run(series),
        Benchmark::Store { influxdb: None, values, series } => store::embedded(values, series).await,
        Benchmark::Store { influxdb: Some(host), values, series } => store::influxdb(&host, values, series).await,
        Benchmark::Queries { influxdb, values } => queries::run(influxdb.as_deref(), values).await,
        Benchmark::Pipeline { nats, values, per_message } => pipeline::run(&nats, values, per_message).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Makes `n` values of one device and metric, a millisecond apart, ending before `until`.
fn metrics(device: &str, n: usize, until: spindle_core::Timestamp) -> Result<Vec<spindle_core::DeviceMetric>> {
    let (source_device, metric_type) =
        (spindle_core::DeviceName::new(device)?, spindle_core::MetricType::new("DiskTemp")?);
    let metric = |index: usize| spindle_core::DeviceMetric {
        timestamp: spindle_core::Timestamp::from_ns(until.as_ns() - (n - index) as i64 * 1_000_000),
        source_device: source_device.clone(),
        metric_type: metric_type.clone(),
        value: 30.0 + (index % 1000) as f64 / 37.0,
        seq: None,
        labels: None,
    };
    Ok((0..n).map(metric).collect())
}

/// Formats a rate.
fn rate(n: usize, elapsed: std::time::Duration) -> String {
    format!("{:>9.0} values/s", n as f64 / elapsed.as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "figures are the output of this tool")]
fn print(line: &str) {
    println!("{line}");
}
