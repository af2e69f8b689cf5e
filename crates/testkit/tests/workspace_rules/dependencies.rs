//! Dependencies between the crates, as declared in the manifests.

use std::process::Command;

use serde_json::Value;

use crate::{TextFile, expect_none, expect_one, text_files, workspace_root};

/// Crates from bottom to top, with the crates that each may depend on.
const MAY_KNOW: [(&str, &[&str]); 7] = [
    ("spindle-core", &[]),
    ("spindle-simulate", &["spindle-core"]),
    ("spindle-bus", &["spindle-core"]),
    ("spindle-store", &["spindle-core"]),
    ("spindle", &["spindle-core", "spindle-simulate", "spindle-bus", "spindle-store"]),
    // The fault harness starts real servers, as tests do.
    ("spindle-bench", &["spindle-core", "spindle-simulate", "spindle-bus", "spindle-store", "spindle-testkit"]),
    ("spindle-testkit", &[]),
];

/// Libraries with one home each, so that each can be replaced in one place. Tests may use them elsewhere: an independent
/// client is a good witness.
const HOMES: [(&str, &[&str]); 7] = [
    ("async-nats", &["spindle-bus"]),
    ("rusqlite", &["spindle-store"]),
    ("reqwest", &["spindle-store"]),
    ("axum", &["spindle"]),
    ("hyper", &["spindle"]),
    ("hyper-util", &["spindle"]),
    ("clap", &["spindle", "spindle-bench"]),
];

/// Crates that the tests of any crate may use.
const TEST_TOOLS: [&str; 2] = ["spindle-simulate", "spindle-testkit"];

/// Crates without a runtime, a clock, a file, a network or the machine's randomness.
const PURE: [&str; 2] = ["spindle-core", "spindle-simulate"];

/// Crates that must not appear anywhere below the pure ones: runtimes, networks, databases, the machine's randomness,
/// and the crates through which everything else reaches the operating system.
const NOT_IN_PURE: [&str; 16] = [
    "async-nats",
    "axum",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "reqwest",
    "rusqlite",
    "rustix",
    "socket2",
    "tempfile",
    "tokio",
    "tracing",
    "ureq",
    "windows-sys",
];

/// One line of a manifest: `from` depends on `to`.
struct Dependency {
    from: String,
    to: String,
    is_dev: bool,
}

fn breaks_the_order(dependencies: &[Dependency]) -> Vec<String> {
    let mut violations = Vec::new();
    for Dependency { from, to, is_dev } in dependencies {
        let Some((_, known)) = MAY_KNOW.iter().find(|(name, _)| name == from) else {
            violations.push(format!("{from} is not in the table of crates: add it with its dependencies"));
            continue;
        };
        let is_ours = MAY_KNOW.iter().any(|(name, _)| name == to);
        let is_test_tool = *is_dev && TEST_TOOLS.contains(&to.as_str());
        if is_ours && !is_test_tool && !known.contains(&to.as_str()) {
            violations.push(format!("{from} depends on {to}"));
        }
    }
    violations
}

fn leaves_home(dependencies: &[Dependency]) -> Vec<String> {
    let mut violations = Vec::new();
    for Dependency { from, to, .. } in dependencies.iter().filter(|dependency| !dependency.is_dev) {
        let home = HOMES.iter().find(|(library, _)| library == to);
        if home.is_some_and(|(_, crates)| !crates.contains(&from.as_str())) {
            violations.push(format!("{from} depends on {to}"));
        }
    }
    violations
}

/// `tree`: one package a line, its name first, as `cargo tree --prefix none` prints it.
fn is_impure(package: &str, tree: &str) -> Vec<String> {
    let mut found: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    found.sort_unstable();
    found.dedup();
    found.retain(|name| NOT_IN_PURE.contains(name));
    found.into_iter().map(|name| format!("{package} reaches {name}")).collect()
}

fn lacks_the_lints(manifests: &[TextFile]) -> Vec<String> {
    let has_them = |text: &str| {
        let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
        lines.find(|line| !line.is_empty()).is_some_and(|line| line.replace(' ', "") == "workspace=true")
    };
    let lacking = manifests.iter().filter(|manifest| !has_them(&manifest.text));
    lacking.map(|manifest| format!("{} lacks `[lints] workspace = true`", manifest.path)).collect()
}

#[test]
fn crates_know_only_those_below_them() {
    expect_none(&breaks_the_order(&declared()));
    let planted = |from, to, is_dev| breaks_the_order(&[dependency(from, to, is_dev)]);
    expect_one(&planted("spindle-core", "spindle-bus", false), "spindle-core depends on spindle-bus");
    expect_one(&planted("spindle-bus", "spindle-store", true), "spindle-bus depends on spindle-store");
    expect_one(&planted("spindle-store", "spindle-bus", false), "spindle-store depends on spindle-bus");
    expect_one(&planted("spindle-core", "spindle-simulate", false), "spindle-core depends on spindle-simulate");
    expect_one(&planted("spindle", "spindle-testkit", false), "spindle depends on spindle-testkit");
    expect_one(&planted("spindle-new", "serde", false), "spindle-new is not in the table");
    expect_none(&planted("spindle", "spindle-testkit", true));
    expect_none(&planted("spindle-store", "spindle-simulate", true));
}

#[test]
fn libraries_stay_at_home() {
    expect_none(&leaves_home(&declared()));
    let planted = |from, to, is_dev| leaves_home(&[dependency(from, to, is_dev)]);
    expect_one(&planted("spindle", "async-nats", false), "async-nats");
    expect_one(&planted("spindle-bus", "rusqlite", false), "rusqlite");
    expect_one(&planted("spindle-bus", "axum", false), "axum");
    expect_one(&planted("spindle-store", "clap", false), "clap");
    expect_none(&planted("spindle", "async-nats", true));
}

#[test]
fn core_reaches_no_runtime_network_file_or_clock() {
    for package in PURE {
        let tree = tree_of(package);
        assert!(tree.contains("serde v"), "not a tree of {package}:\n{tree}");
        expect_none(&is_impure(package, &tree));
    }
    expect_one(
        &is_impure("x", "spindle-core v0.1.0 (/x)\nrand v0.10.4\ngetrandom v0.4.1\ngetrandom v0.4.1 (*)"),
        "getrandom",
    );
    expect_one(&is_impure("x", "tokio-like v1.0.0\ntokio v1.54.0"), "tokio");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let manifests = text_files(|path| path.starts_with("crates/") && path.ends_with("/Cargo.toml"));
    assert_eq!(manifests.len(), MAY_KNOW.len(), "crates on disk and in the table differ");
    expect_none(&lacks_the_lints(&manifests));
    let planted = [
        TextFile::new("crates/good/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"),
        TextFile::new("crates/bad/Cargo.toml", "[package]\n[lints.rust]\n[dependencies]\nworkspace = true\n"),
    ];
    expect_one(&lacks_the_lints(&planted), "crates/bad");
}

fn dependency(from: &str, to: &str, is_dev: bool) -> Dependency {
    Dependency { from: from.to_owned(), to: to.to_owned(), is_dev }
}

fn declared() -> Vec<Dependency> {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for line in package["dependencies"].as_array().unwrap() {
            let is_dev = line["kind"] == "dev";
            found.push(dependency(package["name"].as_str().unwrap(), line["name"].as_str().unwrap(), is_dev));
        }
    }
    assert!(found.iter().any(|line| line.from == "spindle" && line.to == "spindle-core"), "no dependencies were read");
    found
}

/// Uses `cargo tree`, since `cargo metadata` unifies the features of the whole workspace, with which `uuid`, for one,
/// reads random bytes. Not `--offline`: after a build of the workspace nothing is fetched, and before one it is better to
/// fetch than to fail.
fn tree_of(package: &str) -> String {
    cargo(&["tree", "--package", package, "--edges", "normal,build", "--prefix", "none"])
}

fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).arg("--locked").current_dir(workspace_root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
