//! Memory limits of the containers, as docker-compose.yml and the Kubernetes manifests give them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Limit of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) bytes: u64,
    /// The file that sets it.
    pub(super) source: String,
}

/// Returns the smallest limit of a role. The web role and `up`, which is all roles in one process, have no container of
/// their own: they get the limit that every role has in docker-compose.yml.
pub(super) fn of_role(deployment: &Path, role: &str) -> Result<Limit> {
    let compose = deployment.join("docker-compose.yml");
    let text = fs::read_to_string(&compose).with_context(|| format!("cannot read {}", compose.display()))?;
    let shared = of_compose(&text, "x-role");
    let own = of_compose(&text, &format!("  {role}"));
    let bytes = own.or(shared).with_context(|| format!("no mem_limit of x-role in {}", compose.display()))?;
    let mut limits = vec![Limit { bytes, source: "Compose".to_owned() }];
    let manifests = deployment.join("deploy/kubernetes");
    for file in [format!("{role}.yaml"), format!("host/{role}-host.yaml")] {
        // Not every role has one.
        let Ok(text) = fs::read_to_string(manifests.join(&file)) else { continue };
        let bytes = of_manifest(&text).with_context(|| format!("no memory limit in {file}"))?;
        limits.push(Limit { bytes, source: file });
    }
    limits.into_iter().min_by_key(|limit| limit.bytes).context("no limit")
}

/// Returns the `mem_limit` of a service, or the one that all roles share.
fn of_compose(text: &str, service: &str) -> Option<u64> {
    let service = text.split(&format!("\n{service}:")).nth(1)?;
    let service = service.split("\n\n").next()?;
    let limit = service.lines().find_map(|line| line.trim().strip_prefix("mem_limit:"))?;
    bytes(limit.trim())
}

/// Returns the memory limit of the last container.
fn of_manifest(text: &str) -> Option<u64> {
    let limits = text.lines().rfind(|line| line.trim_start().starts_with("limits:"))?;
    let memory = limits.split("memory:").nth(1)?;
    bytes(memory.trim().trim_end_matches('}').trim())
}

/// Parses `512m`, `1g`, `256Mi`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|ch: char| ch.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_files_give_every_role_a_limit() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for role in ["daemon", "writer", "detector", "reader", "client", "web", "up"] {
            let limit = of_role(&root, role).unwrap();
            assert!((64 << 20..=3 << 29).contains(&limit.bytes), "{role}: {limit:?}");
        }
    }

    #[test]
    fn sizes_are_read_as_their_tools_write_them() {
        assert_eq!(
            [bytes("512m"), bytes("1g"), bytes("256Mi"), bytes("7"), bytes("x")],
            [Some(512 << 20), Some(1 << 30), Some(256 << 20), Some(7), None]
        );
    }
}
