//! Memory of each role under its worst load, against the limit of its container. Every role is a process of its own;
//! the figure is the peak of its resident memory as the kernel counts it.

mod limits;
mod loads;
mod process;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::print;
use limits::Limit;

/// Where to find the program and the limits.
#[derive(Debug, clap::Args)]
pub(crate) struct MemoryOptions {
    /// Program to measure; default: `spindle` beside this one
    #[arg(long)]
    program: Option<PathBuf>,
    /// Folder with docker-compose.yml and deploy/kubernetes
    #[arg(long, default_value = ".")]
    deployment: PathBuf,
    /// Loads to run, by the names in the table; default: all
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Divisor of every load, for a short run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    divide: u32,
}

/// Peak of a role under a load.
#[derive(Debug)]
struct Peak {
    role: &'static str,
    load: &'static str,
    bytes: u64,
}

/// Measures every role and prints the table; the exit code is 1 if a role needs more than its limit.
pub(crate) async fn run(options: MemoryOptions) -> Result<ExitCode> {
    let program = match &options.program {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("spindle"),
    };
    let program = program.canonicalize().with_context(|| {
        format!("no program at {}; build it (`cargo build --release -p spindle`) or set --program", program.display())
    })?;
    let unknown = options.only.iter().find(|name| loads::LOADS.iter().all(|load| load.name != name.as_str()));
    ensure!(unknown.is_none(), "no load '{}'", unknown.map_or("", String::as_str));
    print("| role | load | peak | limit | share |");
    print("|---|---|---|---|---|");
    let mut is_within = true;
    for load in loads::LOADS {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == load.name) {
            continue;
        }
        let limit = limits::of_role(&options.deployment, load.role)?;
        let bytes = load
            .run(&program, options.divide as usize)
            .await
            .with_context(|| format!("load {} of the {}", load.name, load.role))?;
        let peak = Peak { role: load.role, load: load.description, bytes };
        print(&row(&peak, &limit));
        is_within &= bytes <= limit.bytes;
    }
    Ok(if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(peak: &Peak, limit: &Limit) -> String {
    let Peak { role, load, bytes } = peak;
    let (mib, limit_mib, percent) = (bytes >> 20, limit.bytes >> 20, bytes * 100 / limit.bytes.max(1));
    let is_above = if *bytes > limit.bytes { " **above**" } else { "" };
    format!("| {role} | {load} | {mib} MiB | {limit_mib} MiB ({}) | {percent} %{is_above} |", limit.source)
}
