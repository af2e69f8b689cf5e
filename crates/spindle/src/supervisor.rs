//! The top floor: checks everything, builds the parts, starts the roles, and stops them in order. The only place that
//! handles signals and spawns roles.

mod connect;
#[cfg(debug_assertions)]
mod failpoints;
pub(crate) mod guard;
pub(crate) mod nats;
mod parts;
mod signals;
mod standalone;
mod up;

use anyhow::{Result, bail};
use tracing::Instrument;

use crate::cli::Command;
use crate::config::Config;
use crate::outcome::Outcome;
use parts::role_span;
pub(crate) use signals::Signals;

/// Runs a command that continues until it is stopped.
pub(crate) async fn run(command: Command, config: Config) -> Result<Outcome> {
    match command {
        Command::Up => up::run(config).await,
        Command::Daemon => standalone::daemon(config).instrument(role_span("daemon")).await,
        Command::Writer => standalone::writer(config).instrument(role_span("writer")).await,
        Command::Detector => standalone::detector(config).instrument(role_span("detector")).await,
        Command::Reader => standalone::reader(config).instrument(role_span("reader")).await,
        Command::Web => standalone::web(config).instrument(role_span("web")).await,
        Command::Client { once } => standalone::client(config, once).instrument(role_span("client")).await,
        Command::Query(_)
        | Command::Top { .. }
        | Command::Decide(_)
        | Command::Dlq(_)
        | Command::Detect(_)
        | Command::Judge { .. }
        | Command::Health
        | Command::Check { .. }
        | Command::Config
        | Command::Guard { .. } => {
            bail!("this command runs no role")
        }
    }
}
