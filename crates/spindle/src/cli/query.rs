//! Arguments of `spindle query`.

use clap::Args;

use super::{Early, OutputFormat, words};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// Type of the query
    #[arg(value_name = "TYPE")]
    query_type: String,
    /// Parameters of the query
    #[arg(value_name = "NAME=VALUE")]
    params: Vec<String>,
    #[command(flatten)]
    format: OutputFormat,
    /// Longest wait for the response
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    timeout: std::time::Duration,
}

/// Query from the command line.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) query_type: String,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) as_json: bool,
    pub(crate) timeout: std::time::Duration,
}

/// Splits the parameters, and finds the query type by its other names.
pub(super) fn question(query: QueryArgs) -> Result<Question, Early> {
    let split = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Early::Mistake(format!(
            "'{word}' is not a parameter; expected NAME=VALUE such as source_device=DiskUnit"
        ))),
    };
    let params = query.params.iter().map(split).collect::<Result<_, _>>()?;
    let query_type = words::query_type(&query.query_type).map_or(query.query_type, str::to_owned);
    Ok(Question { query_type, params, as_json: query.format.is_json(), timeout: query.timeout })
}

/// Parses a timeout; zero would never let a response through.
fn timeout(text: &str) -> Result<std::time::Duration, String> {
    match config::parse_duration(text) {
        Some(timeout) if timeout.is_zero() => Err("expected a duration above zero".to_owned()),
        Some(timeout) => Ok(timeout),
        None => Err(format!("expected {}", config::DURATION)),
    }
}
