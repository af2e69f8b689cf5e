//! Spindle: event handling for storage fleets. One program; each role is a subcommand, and `spindle up`
//! runs them all.

mod ask;
mod cli;
mod clock;
mod config;
mod dlq;
mod logging;
mod metrics;
mod output;
mod query_service;
mod roles;
mod sources;
mod supervisor;
mod web;

use std::process::ExitCode;

use anyhow::Result;
use cli::{Command, Early};
use config::Config;

/// Not found, or unhealthy.
const NOT_GOOD: u8 = 1;
/// A mistake in what was asked, or a fault.
const ERROR: u8 = 2;

fn main() -> ExitCode {
    let (command, overrides) = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(Early::Print(text)) => {
            return output::data(text.as_bytes())
                .map_or_else(|error| fail(&format!("{error:#}")), |()| ExitCode::SUCCESS);
        }
        Err(Early::Mistake(line)) => return fail(&line),
    };
    match dispatch(command, &overrides) {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::NotGood) => ExitCode::from(NOT_GOOD),
        // Threads that still wait for a disk or a socket must not keep a program that was told to end.
        Ok(Outcome::Forced) => std::process::exit(130),
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// An answer, but not a good one: not found, or unhealthy.
    NotGood,
    /// A second Ctrl-C: ended at once, whatever was under way.
    Forced,
}

fn dispatch(command: Command, overrides: &config::Overrides) -> Result<Outcome> {
    if let Command::Guard { lock, program } = command {
        return supervisor::guard::run(&lock, &program).map(|()| Outcome::Good);
    }
    let config = Config::load(overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = match command {
        Command::Config => output::data(config.to_toml().as_bytes()).map(|()| Outcome::Good),
        Command::Health => {
            web::probes::ask(supervisor::runfile::health_address(&config), config.http_token()?.as_ref())
        }
        Command::Query(question) => runtime.block_on(ask::run(&config, question)),
        Command::Dlq(task) => runtime.block_on(dlq::run(&config, task)),
        role => {
            logging::init(&config::log_filter())?;
            runtime.block_on(supervisor::run(role, config))
        }
    };
    runtime.shutdown_background();
    outcome
}

/// One line that says what and what to do, on stderr.
fn fail(line: &str) -> ExitCode {
    output::say(&format!("spindle: {}", output::safe(&line.replace('\n', " "))));
    ExitCode::from(ERROR)
}
