//! Finds a server program and its version.
//!
//! Order: the variable `SPINDLE_NATS_SERVER` (used as it is), then the `PATH`, then `.tools/` of the workspace, where
//! `./run.sh` puts the programs that it fetches. On the `PATH`, versions before 2.10 are skipped, as in `run.sh`: some
//! distributions still carry 2.9.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Oldest supported server; `run.sh` has the same number.
const OLDEST_SUPPORTED: Version = Version { major: 2, minor: 10, patch: 0 };

/// Version of a server; versions compare by major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major version: incompatible changes.
    pub major: u32,
    /// Minor version: features.
    pub minor: u32,
    /// Patch version: fixes. A suffix such as `-RC.1` is dropped.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Program that was found and can be run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Path of the program.
    pub path: PathBuf,
    /// Version that `--version` printed.
    pub version: Version,
}

impl Program {
    /// Finds the program called `name`. The error names the places that were searched and the remedy.
    pub fn find(name: &str) -> Result<Program> {
        let variable = format!("SPINDLE_{}", name.to_uppercase().replace('-', "_"));
        let named = env::var_os(&variable).filter(|value| !value.is_empty());
        let path = env::var_os("PATH").unwrap_or_default();
        find_in(name, named.map(PathBuf::from), env::split_paths(&path), &tools_dir())
            .with_context(|| format!("no usable {name}: `./run.sh test` fetches one, or set {variable} to the program"))
    }

    fn at(path: &Path) -> Result<Program> {
        let output =
            Command::new(path).arg("--version").output().with_context(|| format!("cannot run {}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = parse_version(&text).with_context(|| {
            format!("{} --version printed {:?}, which is not a version", path.display(), text.trim())
        })?;
        Ok(Program { path: path.to_path_buf(), version })
    }
}

fn find_in(
    name: &str,
    named: Option<PathBuf>,
    search_path: impl Iterator<Item = PathBuf>,
    tools_dir: &Path,
) -> Result<Program> {
    if let Some(path) = named {
        return Program::at(&path);
    }
    let mut rejected = Vec::new();
    let folders = search_path.chain([tools_dir.to_path_buf()]);
    for candidate in folders.map(|folder| folder.join(name)).filter(|path| path.is_file()) {
        match Program::at(&candidate) {
            Ok(program) if program.version >= OLDEST_SUPPORTED => return Ok(program),
            Ok(program) => {
                rejected.push(format!("{} is {}, older than {OLDEST_SUPPORTED}", candidate.display(), program.version))
            }
            Err(error) => rejected.push(format!("{error:#}")),
        }
    }
    if rejected.is_empty() {
        bail!("{name} is neither on the PATH nor in {}", tools_dir.display());
    }
    bail!("{}", rejected.join("; "));
}

/// Returns `.tools` at the root of the workspace that this crate was built in.
pub(crate) fn tools_dir() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.ancestors().nth(2).unwrap_or(crate_dir).join(".tools")
}

/// Parses `nats-server: v2.15.1` and the like: the first word that begins with a version.
fn parse_version(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.strip_prefix('v').unwrap_or(word).splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some(Version { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake_server(folder: &Path, version: &str) -> PathBuf {
        let path = folder.join("nats-server");
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho nats-server: v{version}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn versions_are_read_and_ordered() {
        let check = |text, expect: Option<&str>| {
            assert_eq!(parse_version(text).map(|v| v.to_string()).as_deref(), expect, "{text:?}");
        };
        check("nats-server: v2.15.1\n", Some("2.15.1"));
        check("nats-server: v2.11.0-RC.3", Some("2.11.0"));
        check("nats-server: v2.9.10", Some("2.9.10"));
        check("nats-server: dev", None);
        check("", None);
        assert!(parse_version("v2.9.10") < parse_version("v2.10.0"));
    }

    #[test]
    fn an_old_server_on_the_path_gives_way_to_the_fetched_one() {
        let dir = tempfile::tempdir().unwrap();
        let (old, tools) = (dir.path().join("bin"), dir.path().join("tools"));
        fake_server(&old, "2.9.10");
        let error = find_in("nats-server", None, [old.clone()].into_iter(), &tools).unwrap_err();
        assert!(error.to_string().contains("2.9.10, older than 2.10.0"), "{error:#}");
        let fetched = fake_server(&tools, "2.15.1");
        let found = find_in("nats-server", None, [old.clone()].into_iter(), &tools).unwrap();
        assert_eq!(found.path, fetched);
        let named = find_in("nats-server", Some(old.join("nats-server")), std::iter::empty(), &tools).unwrap();
        assert_eq!(named.version.to_string(), "2.9.10", "a named server is used as it is");
    }

    #[test]
    fn a_missing_server_is_an_error_that_names_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = find_in("nats-server", None, std::iter::empty(), dir.path()).unwrap_err();
        assert!(error.to_string().contains("neither on the PATH"), "{error:#}");
    }
}
