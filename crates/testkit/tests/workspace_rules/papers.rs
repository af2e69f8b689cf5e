//! Papers and comments name only what exists.

use crate::rust::{comments, is_name_part};
use crate::{TextFile, expect_none, expect_one, text_files, workspace_root};

const PAPERS: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "web/README.md"];

/// Beginnings that make a quoted word a path of this workspace.
const OURS: [&str; 9] =
    ["crates/", "fuzz/", "web/", "scripts/", "grafana/", "deploy/", ".ci/", "./run.sh", "deny.toml"];

/// Endings of files whose comments are read; a script may have none.
const COMMENTED: [&str; 9] = [".rs", ".ts", ".sh", ".bash", ".bats", ".py", ".toml", ".yml", ".yaml"];

fn is_paper(path: &str) -> bool {
    PAPERS.contains(&path) || path.starts_with("docs/") && path.ends_with(".md")
}

/// Finds paths in backquotes that do not exist.
fn missing_paths(papers: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for paper in papers {
        // Odd parts lie between backquotes; a fence of three leaves empty parts, which do no harm.
        for quoted in paper.text.split('`').skip(1).step_by(2) {
            let word = quoted.split_whitespace().next().unwrap_or_default();
            let path = word.split("::").next().unwrap_or_default().trim_start_matches("./");
            let is_pattern = path.contains(['*', '<', '{', '…']);
            if OURS.iter().any(|beginning| word.starts_with(beginning)) && !is_pattern && !exists(path) {
                violations.push(format!("{} names `{word}`, which does not exist", paper.path));
            }
        }
    }
    violations
}

/// Finds references of papers and comments to documents that are not in the repository: names of Markdown files, and words
/// in capitals before "section".
fn missing_documents(files: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let is_there = |document: &str| {
            let document = document.trim_start_matches("./");
            [document.to_owned(), resolved(folder, document), format!("docs/{document}")]
                .iter()
                .any(|path| exists(path))
        };
        for (line, text) in prose(file) {
            let missing = documents(&text).into_iter().filter(|document| !is_there(document));
            violations.extend(missing.map(|document| format!("{}:{line} names {document}", file.path)));
        }
    }
    violations
}

/// Resolves `../README.md` relative to a folder.
fn resolved(folder: &str, document: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    let mut rest = document;
    while let Some(after) = rest.strip_prefix("../") {
        parts.pop();
        rest = after;
    }
    parts.push(rest);
    parts.join("/").trim_start_matches('/').to_owned()
}

/// Returns the paragraphs of a file with their first lines: all of a paper, the comments of anything else.
fn prose(file: &TextFile) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = if file.path.ends_with(".rs") || file.path.ends_with(".ts") {
        comments(&file.text)
    } else {
        let lines = file.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| file.path.ends_with(".md") || line.trim_start().starts_with('#')).collect()
    };
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut next = 0;
    for (line, text) in lines {
        let text = text.trim_start().trim_start_matches(['/', '!', '#', '*']).trim();
        match paragraphs.last_mut() {
            Some((_, paragraph)) if line == next => *paragraph = format!("{paragraph} {text}"),
            _ => paragraphs.push((line, text.to_owned())),
        }
        next = line + 1;
    }
    paragraphs
}

fn documents(line: &str) -> Vec<String> {
    let is_part = |ch: char| is_name_part(ch) || "./-".contains(ch);
    let mut found = Vec::new();
    for (at, _) in line.match_indices(".md") {
        let start = line[..at].rfind(|ch| !is_part(ch)).map_or(0, |before| before + 1);
        let runs_on = line[at + 3..].starts_with(is_name_part);
        let is_address = line[..start].ends_with(':') && line[start..].starts_with("//");
        let is_pattern = line[..start].ends_with(['*', '>', '}', '$', '…']) || line[start..at].contains('…');
        if !runs_on && !is_address && !is_pattern && start < at {
            found.push(line[start..at + 3].to_owned());
        }
    }
    for (at, _) in line.match_indices(" section ") {
        let word = line[..at].rsplit(|ch| !is_name_part(ch)).next().unwrap_or_default();
        if word.len() > 2 && word.chars().all(|ch| ch.is_ascii_uppercase() || ch == '_') {
            found.push(format!("{word}.md"));
        }
    }
    found
}

/// Finds missing tests in the table of promises: files or folders of tests, and tests in them.
fn missing_tests(guarantees: &str, exists: impl Fn(&str) -> bool, has_test: impl Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for row in guarantees.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let Some(cell) = row.trim_end_matches(['|', ' ']).rsplit('|').next() else { continue };
        for named in cell.split('`').skip(1).step_by(2) {
            let is_found = if named.contains('/') {
                exists(named)
            } else if let Some((_, test)) = named.rsplit_once("::") {
                has_test(test)
            } else {
                ["", ".rs"].iter().any(|ending| exists(&format!("crates/spindle/tests/system/{named}{ending}")))
            };
            if !is_found {
                violations.push(format!("no test {named}: {row}"));
            }
        }
    }
    violations
}

#[test]
fn the_papers_name_only_files_that_exist() {
    let papers = text_files(is_paper);
    assert!(PAPERS.iter().all(|path| papers.iter().any(|paper| paper.path == *path)), "a paper is missing");
    let root = workspace_root();
    expect_none(&missing_paths(&papers, |path| root.join(path).exists()));
    let planted =
        [TextFile::new("README.md", "`crates/core` and `crates/gone/src/lib.rs`; `crates/*/src` `./run.sh up`")];
    expect_one(&missing_paths(&planted, |path| ["crates/core", "run.sh"].contains(&path)), "crates/gone/src/lib.rs");
}

#[test]
fn no_comment_and_no_paper_names_a_missing_document() {
    let has_comments = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        !file.contains('.') || COMMENTED.iter().any(|ending| path.ends_with(ending))
    };
    let files = text_files(|path| path.ends_with(".md") || has_comments(path));
    let check = |path: &str, text: &str, expect: &str| {
        let violations = missing_documents(&[TextFile::new(path, text)], |path| {
            ["README.md", "docs/queries.md", "web/README.md"].contains(&path)
        });
        if expect.is_empty() { expect_none(&violations) } else { expect_one(&violations, expect) }
    };
    check("crates/core/src/a.rs", "//! As in README.md.\n\n// See `GONE.md`, at length.", "a.rs:3 names GONE.md");
    check("crates/core/src/a.rs", "/// As DESIGN\n    /// section 4 has it.", "a.rs:1 names DESIGN.md");
    check("crates/core/src/a.rs", "let a = \"GONE.md\"; // queries.md, HTTP sections", "");
    check("scripts/x", "# docs/gone.md\necho GONE.md", "scripts/x:1 names docs/gone.md");
    check("docs/a.md", "[q](queries.md#x) [r](../README.md) [h](https://x.org/GONE.md) [g](../gone.md)", "../gone.md");
    let root = workspace_root();
    expect_none(&missing_documents(&files, |path| root.join(path).is_file()));
}

#[test]
fn every_test_that_holds_a_promise_exists() {
    let guarantees = &text_files(|path| path == "docs/guarantees.md")[0].text;
    let sources = text_files(|path| path.starts_with("crates/") && path.ends_with(".rs"));
    let root = workspace_root();
    let has_test = |test: &str| sources.iter().any(|source| source.text.contains(&format!("fn {test}(")));
    expect_none(&missing_tests(guarantees, |path| root.join(path).exists(), has_test));
    let planted = "| **1** a thing | `gone::no_such_test_of_anything`, `faults`, `crates/bench/tests/faults.rs` |";
    expect_one(&missing_tests(planted, |path| root.join(path).exists(), has_test), "no_such_test_of_anything");
    expect_one(&missing_tests("| a | `crates/x/tests/gone.rs` |", |_| false, has_test), "crates/x/tests/gone.rs");
    expect_one(&missing_tests("| a | `gone` |", |path| root.join(path).exists(), has_test), "no test gone");
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
