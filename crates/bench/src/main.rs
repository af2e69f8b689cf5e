//! Load and benchmarks. Figures are rates of this machine at this moment; what can be compared between
//! machines are the ratios within one run, so each benchmark also runs something to compare with. And the fault
//! harness, which proves that nothing is lost.

mod faults;
mod pipeline;
mod store;
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
    /// Reading and writing payloads, against serde_json reading the same bytes
    Wire,
    /// Durable writes into the embedded store or an InfluxDB, large batches against small ones, several at once
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
    /// From a publisher's ack to the reader's answer, through a running `spindle up`
    Pipeline {
        /// Address of its NATS
        #[arg(long)]
        nats: String,
        /// Values to send
        #[arg(long, default_value_t = 1_000_000)]
        values: usize,
        /// Values in one message
        #[arg(long, default_value_t = 500)]
        per_message: usize,
    },
    /// Known messages through real processes that are killed, paused, cut off and starved; then whether each
    /// acknowledged one is stored once
    Faults(faults::Options),
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Cli::parse().benchmark {
        Benchmark::Faults(options) => return faults::run(options).await,
        Benchmark::Wire => wire::run(),
        Benchmark::Store { influxdb: None, values, series } => store::embedded(values, series).await,
        Benchmark::Store { influxdb: Some(host), values, series } => store::influxdb(&host, values, series).await,
        Benchmark::Pipeline { nats, values, per_message } => pipeline::run(&nats, values, per_message).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// `n` values of one device and metric, a millisecond apart, ending before `until`.
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

/// A rate as people read it.
fn rate(n: usize, elapsed: std::time::Duration) -> String {
    format!("{:>9.0} values/s", n as f64 / elapsed.as_secs_f64())
}

#[expect(clippy::print_stdout, reason = "figures are what this tool is for")]
fn say(line: &str) {
    println!("{line}");
}
