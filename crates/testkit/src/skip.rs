//! Checks that cannot be made on this machine: named on stderr; for want of a tool, an error in continuous integration.

use std::fmt::Display;

use anyhow::{Result, ensure};

/// Names a check that is left out.
#[expect(clippy::print_stderr, reason = "a test that skips its check must report it")]
pub fn not_checked(what: &str) {
    eprintln!("NOT CHECKED: {what}");
}

/// Names a program that does not run.
///
/// # Errors
/// In continuous integration (`CI=true`): it installs what the tests need.
pub fn missing_tool(program: &str, error: &dyn Display) -> Result<()> {
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    ensure!(!is_ci, "{program} does not run ({error}): install it");
    not_checked(&format!("{program} does not run ({error})"));
    Ok(())
}
