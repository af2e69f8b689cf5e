//! Scorecard of the judgement: plays a simulated fleet, whose truth is known, or a recording to `core::judge`, without
//! NATS, and counts what it publishes and what health says of each device.
//!
//! The simulator compresses time: a drive wears out in half an hour to eight hours, and some in every fleet do each day.
//! So pages about faults are given per fault; rates per device-year (365.25 days of simulated time) are those of pages
//! that no fault explains.
//!
//! - `faults`: the faults of the simulator, and which of them explains a page.
//! - `evidence`: what a store would know, and the verdict on each device by it.
//! - `play`, `recorded`: the two ways to feed the judge; `recorder` counts what comes of it in a `tally`.
//! - `report`: figures as a table or JSON.

mod evidence;
mod faults;
mod play;
mod recorded;
mod recorder;
mod report;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::print;
use report::Report;

/// Options of the scorecard.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScorecardOptions {
    /// Devices of the simulated fleet; of several fleets, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "20,100")]
    devices: Vec<usize>,
    /// Simulated hours
    #[arg(long, default_value_t = 96)]
    hours: u32,
    /// Number of seeds, each a fleet of its own
    #[arg(long, default_value_t = 4)]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Time between two measurements
    #[arg(long, default_value = "60s")]
    interval: humantime::Duration,
    /// Factor of the simulator's fault rates, which are made for demonstrations; 0.0015 is about that of a real fleet
    #[arg(long, default_value_t = 1.0)]
    rates: f64,
    /// Recording to judge instead of simulated fleets: metrics on the wire, one a line, or CSV of Backblaze; `-` reads
    /// standard input. The only truth in it are its failures
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "table")]
    format: ScorecardFormat,
    /// Print each page that no fault explains, and each drive that failed without a page
    #[arg(long)]
    cases: bool,
}

/// Form of the scorecard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScorecardFormat {
    Table,
    Json,
}

pub(crate) fn run(options: &ScorecardOptions) -> Result<()> {
    let interval: Duration = options.interval.into();
    ensure!(interval >= Duration::from_secs(1), "interval must be a second or more");
    ensure!(options.rates.is_finite() && options.rates >= 0.0, "rates must be 0 or more");
    let mut reports = Vec::new();
    match &options.recording {
        Some(path) => {
            let (tally, cases) = recorded::judge(path)?;
            show_cases(options, &cases);
            reports.push(Report::new(format!("recording {}", path.display()), &tally));
        }
        None => {
            for n_devices in &options.devices {
                reports.push(simulated(options, *n_devices, interval));
            }
        }
    }
    match options.format {
        ScorecardFormat::Table => reports.iter().flat_map(Report::lines).for_each(|line| print(&line)),
        ScorecardFormat::Json => {
            let values: Vec<_> = reports.iter().map(Report::json).collect();
            print(&serde_json::to_string_pretty(&values)?);
        }
    }
    Ok(())
}

fn simulated(options: &ScorecardOptions, n_devices: usize, interval: Duration) -> Report {
    let ScorecardOptions { hours, seeds, first_seed, rates, .. } = *options;
    let mut whole = tally::Tally::default();
    let last_seed = first_seed + seeds.saturating_sub(1);
    for seed in first_seed..=last_seed {
        let (tally, cases) = play::judge(n_devices, seed, hours, interval, rates);
        show_cases(options, &cases);
        whole.merge(tally);
    }
    let interval = humantime::format_duration(interval);
    let name =
        format!("{n_devices} devices, {hours} h, every {interval}, seeds {first_seed} to {last_seed}, rates × {rates}");
    Report::new(name, &whole)
}

fn show_cases(options: &ScorecardOptions, cases: &[String]) {
    if options.cases {
        cases.iter().for_each(|case| print(case));
    }
}
