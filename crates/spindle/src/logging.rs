//! Logging to stderr; stdout is for data.

/// Starts the log, filtered as `SPINDLE_LOG` asks.
pub(crate) fn init(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        anyhow::anyhow!("SPINDLE_LOG = '{filter}': {error}: expected a level such as info or debug")
    })?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
    Ok(())
}

/// An error with all its causes in one line, for the field `error`.
pub(crate) fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
