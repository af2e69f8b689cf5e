//! Checks of the fuzz targets, a separate workspace that no command at the root builds.

use crate::{TextFile, expect_none, expect_one, text_files};

/// Targets that are never built, because the manifest does not name them.
fn never_run(targets: &[TextFile], manifest: &str) -> Vec<String> {
    let is_named = |path: &str| manifest.contains(&format!("path = \"{}\"", path.trim_start_matches("fuzz/")));
    let unnamed = targets.iter().filter(|target| target.text.contains("fuzz_target!(") && !is_named(&target.path));
    unnamed.map(|target| format!("{} is in no [[bin]] of fuzz/Cargo.toml", target.path)).collect()
}

/// Packages whose version differs from the program's: the fuzzed code would differ from the shipped code.
fn strays(fuzzed: &str, shipped: &str) -> Vec<String> {
    let shipped = packages(shipped);
    let mut violations = Vec::new();
    for (name, version) in packages(fuzzed) {
        let mut known = shipped.iter().filter(|(other, _)| *other == name).peekable();
        if known.peek().is_some() && !known.any(|(_, other)| *other == version) {
            violations.push(format!("fuzz/Cargo.lock has {name} {version}, Cargo.lock another version"));
        }
    }
    violations
}

/// Returns the name and version of each package in a lock file.
fn packages(lock: &str) -> Vec<(&str, &str)> {
    lock.split("[[package]]")
        .filter_map(|package| Some((quoted(package, "name")?, quoted(package, "version")?)))
        .collect()
}

fn quoted<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
    package.lines().find_map(value)
}

#[test]
fn every_fuzz_target_is_built() {
    let targets = text_files(|path| path.starts_with("fuzz/targets/") && path.ends_with(".rs"));
    let manifest = &text_files(|path| path == "fuzz/Cargo.toml")[0].text;
    expect_none(&never_run(&targets, manifest));
    expect_one(&never_run(&targets, &manifest.replace("targets/query.rs", "")), "fuzz/targets/query.rs");
}

#[test]
fn what_is_fuzzed_is_what_ships() {
    let lock = |path: &str| text_files(|candidate| candidate == path)[0].text.clone();
    let (fuzzed, shipped) = (lock("fuzz/Cargo.lock"), lock("Cargo.lock"));
    assert!(packages(&fuzzed).iter().any(|(name, _)| *name == "serde_json"), "no packages were read");
    expect_none(&strays(&fuzzed, &shipped));
    let planted = "[[package]]\nname = \"serde_json\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"foreign\"\nversion = \"1.0.0\"\n";
    expect_one(&strays(planted, &shipped), "serde_json 0.1.0");
}
