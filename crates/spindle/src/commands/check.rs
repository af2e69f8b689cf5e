//! `spindle check`: checks everything that a role needs before any role runs, each problem with its remedy. It changes
//! nothing: it creates no stream, no database and no file.

mod environment;
mod finding;
mod nats;
mod smart;
mod store;

use anyhow::Result;
use serde_json::json;

use crate::config::Config;
use crate::data_dir::run_file;
use crate::outcome::Outcome;
use crate::output;
use finding::{Finding, Severity};

/// Runs all checks and prints a row for each. The outcome is negative if one fails; warnings do not count.
pub(crate) async fn run(config: &Config, as_json: bool) -> Result<Outcome> {
    let running = run_file::read(config).ok();
    let mut findings = vec![configuration(config)];
    findings.extend(environment::data_directory(config, running.as_ref()));
    findings.extend(nats::check(config, running.as_ref()).await);
    findings.extend(store::check(config).await);
    findings.extend(environment::sources(config).await);
    findings.extend(environment::addresses(config, running.as_ref()));
    let text = if as_json { as_document(&findings)? } else { as_text(&findings) };
    output::data(text.as_bytes())?;
    let fails = findings.iter().any(|finding| finding.state == Severity::Fail);
    Ok(if fails { Outcome::NotGood } else { Outcome::Good })
}

/// The settings have been read by now; what is left is how they fit together.
fn configuration(config: &Config) -> Finding {
    match config.http_token_of_data() {
        Ok(_) => Finding::ok("configuration", "valid"),
        Err(error) => Finding::fail(
            "configuration",
            format!("{error:#}"),
            "correct the setting; `spindle config` prints the effective values",
        ),
    }
}

fn as_document(findings: &[Finding]) -> Result<String> {
    let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(Severity::Ok);
    let document = serde_json::to_string_pretty(&json!({ "state": worst, "findings": findings }))?;
    Ok(format!("{document}\n"))
}

/// A table for a terminal; for a file or a program one finding per line, as a table would be wider than any page.
fn as_text(findings: &[Finding]) -> String {
    let lines = if output::width().is_some() { table(findings) } else { findings.iter().map(line).collect() };
    let count = |state| findings.iter().filter(|finding| finding.state == state).count() as u64;
    let (n_ok, n_fail) = (count(Severity::Ok), count(Severity::Fail));
    format!("{lines}{n_ok} ok, {}, {n_fail} failed\n", output::count(count(Severity::Warn), "warning"))
}

fn line(finding: &Finding) -> String {
    let Finding { check, state, detail, remedy } = finding;
    let remedy = if remedy.is_empty() { String::new() } else { format!("; remedy: {}", output::safe(remedy)) };
    format!("{:<4}  {check}: {}{remedy}\n", state.as_str(), output::safe(detail))
}

fn table(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        let Finding { check, state, detail, remedy } = finding;
        vec![check.clone(), state.as_str().to_owned(), output::safe(detail), output::safe(remedy)]
    };
    output::table(&["check", "state", "detail", "remedy"], findings.iter().map(row).collect())
}
