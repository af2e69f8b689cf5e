//! Spindle: a telemetry pipeline for storage fleets. One program; each role is a subcommand, and `spindle up` runs
//! them all.

mod cli;
mod clock;
mod commands;
mod config;
mod data_dir;
mod decision_service;
mod line_queue;
mod log_limit;
mod logging;
mod metrics;
mod outcome;
mod output;
mod query_service;
mod roles;
mod sources;
mod supervisor;
mod web;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use cli::{Command, Early};
use config::Config;
use data_dir::run_file;
use outcome::Outcome;

/// Longest wait for the last log lines: nobody may drain stderr.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let (command, overrides) = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(Early::Print(text)) => {
            return output::data(text.as_bytes())
                .map_or_else(|error| fail(&format!("{error:#}")), |()| ExitCode::SUCCESS);
        }
        Err(Early::Mistake(line)) => return fail(&line),
    };
    data_dir::keep_new_files_private();
    let ended = dispatch(command, &overrides);
    if !matches!(ended, Ok(Outcome::Forced)) {
        line_queue::flush_all(FLUSH_TIMEOUT);
    }
    match ended {
        // Threads blocked on a disk or a socket must not keep a forced end waiting.
        Ok(outcome) => outcome.exit_code().unwrap_or_else(|| std::process::exit(outcome::INTERRUPTED)),
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn dispatch(command: Command, overrides: &config::Overrides) -> Result<Outcome> {
    if let Command::Guard { lock, program } = command {
        return supervisor::guard::run(&lock, &program).map(|()| Outcome::Good);
    }
    if let Command::Detect(task) = command {
        return commands::detect::run(&task);
    }
    if let Command::Judge { files } = &command {
        return commands::judge::run(files);
    }
    let config = Config::load(overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = match command {
        Command::Config => output::data(config.to_toml().as_bytes()).map(|()| Outcome::Good),
        Command::Health => commands::health::run(run_file::health_address(&config), config.http_token()?.as_ref()),
        Command::Check { as_json } => runtime.block_on(commands::check::run(&config, as_json)),
        Command::Query(question) => runtime.block_on(commands::query::run(&config, question)),
        Command::Top { interval } => runtime.block_on(commands::top::run(&config, interval)),
        Command::Decide(task) => runtime.block_on(commands::decide::run(&config, task)),
        Command::Dlq(task) => runtime.block_on(commands::dlq::run(&config, task)),
        role => {
            logging::init(&config::log_filter())?;
            runtime.block_on(supervisor::run(role, config))
        }
    };
    runtime.shutdown_background();
    outcome
}

/// Prints an error as one line to stderr and returns its exit code.
fn fail(line: &str) -> ExitCode {
    output::last_message(&format!("spindle: {}", output::safe(&line.replace('\n', " "))));
    outcome::error_code()
}
