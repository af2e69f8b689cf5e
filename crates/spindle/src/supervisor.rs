//! The top floor: checks everything, builds the parts, starts the roles, and stops them in order. The only place that
//! handles signals and spawns roles.

mod connect;
pub(crate) mod guard;
pub(crate) mod nats;
mod parts;
mod signals;
mod standalone;
mod up;

use anyhow::{Result, bail};

use crate::cli::Command;
use crate::config::Config;
use crate::outcome::Outcome;

/// Runs a command that continues until it is stopped.
pub(crate) async fn run(command: Command, config: Config) -> Result<Outcome> {
    match command {
        Command::Up => up::run(config).await,
        Command::Daemon => standalone::daemon(config).await,
        Command::Writer => standalone::writer(config).await,
        Command::Reader => standalone::reader(config).await,
        Command::Web => standalone::web(config).await,
        Command::Client { once } => standalone::client(config, once).await,
        Command::Query(_)
        | Command::Dlq(_)
        | Command::Health
        | Command::Check { .. }
        | Command::Config
        | Command::Guard { .. } => {
            bail!("this command runs no role")
        }
    }
}
