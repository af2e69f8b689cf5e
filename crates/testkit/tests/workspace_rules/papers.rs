//! The papers speak of what exists.

use crate::{TextFile, expect_none, expect_one, text_files, workspace_root};

const PAPERS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "web/README.md"];

/// Beginnings that make a quoted word a path of this workspace.
const OURS: [&str; 9] =
    ["crates/", "fuzz/", "web/", "scripts/", "grafana/", "deploy/", ".ci/", "./run.sh", "deny.toml"];

/// Paths in backquotes that are not there. `exists` is asked with the path alone.
fn names_nothing(papers: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for paper in papers {
        // Odd parts lie between backquotes; a fence of three leaves empty parts, which harm nobody.
        for quoted in paper.text.split('`').skip(1).step_by(2) {
            let word = quoted.split_whitespace().next().unwrap_or_default();
            let path = word.split("::").next().unwrap_or_default().trim_start_matches("./");
            let is_pattern = path.contains(['*', '<', '{', '…']);
            if OURS.iter().any(|beginning| word.starts_with(beginning)) && !is_pattern && !exists(path) {
                violations.push(format!("{} speaks of `{word}`, which does not exist", paper.path));
            }
        }
    }
    violations
}

#[test]
fn the_papers_name_only_files_that_exist() {
    let papers = text_files(|path| PAPERS.contains(&path));
    assert_eq!(papers.len(), PAPERS.len(), "a paper is missing");
    let root = workspace_root();
    expect_none(&names_nothing(&papers, |path| root.join(path).exists()));
    let planted =
        [TextFile::new("README.md", "`crates/core` and `crates/gone/src/lib.rs`; `crates/*/src` `./run.sh up`")];
    expect_one(&names_nothing(&planted, |path| ["crates/core", "run.sh"].contains(&path)), "crates/gone/src/lib.rs");
}

#[test]
fn the_architecture_names_every_crate() {
    let manifests = text_files(|path| path.starts_with("crates/") && path.ends_with("/Cargo.toml"));
    let architecture = &text_files(|path| path == "ARCHITECTURE.md")[0].text;
    let unnamed = |text: &str| -> Vec<String> {
        let folders = manifests.iter().map(|manifest| manifest.path.trim_end_matches("/Cargo.toml").to_owned());
        folders.filter(|folder| !text.contains(&format!("`{folder}`"))).collect()
    };
    expect_none(&unnamed(architecture));
    expect_one(&unnamed(&architecture.replace("`crates/core`", "")), "crates/core");
}
