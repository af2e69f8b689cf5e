//! Rules of the workspace that no compiler checks: dependencies between crates and modules, the home of each library,
//! names, sizes, and papers that match the code.
//!
//! Each rule is a function from files to a list of violations. Its test expects none in the workspace, and exactly one
//! for each planted violation.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests do")]

mod circles;
mod dependencies;
mod fuzz;
mod names;
mod papers;
mod prose;
mod rust;
mod sizes;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// Text file of the workspace. The path is relative to the root, with `/`.
struct TextFile {
    path: String,
    text: String,
}

impl TextFile {
    fn new(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }
}

/// Folders of build results and downloads. Hidden folders are skipped as well, except [`OUR_HIDDEN`].
const NOT_OURS: [&str; 7] = ["target", "node_modules", "dist", "out", "spindle-data", "corpus", "artifacts"];
const OUR_HIDDEN: [&str; 3] = [".ci", ".config", ".github"];

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Reads every text file of the workspace whose path `choose` accepts. Walks the folders, so that it works in a source
/// archive without git.
fn text_files(choose: impl Fn(&str) -> bool) -> Vec<TextFile> {
    let root = workspace_root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                let is_ours = if name.starts_with('.') {
                    OUR_HIDDEN.contains(&name.as_str())
                } else {
                    !NOT_OURS.contains(&name.as_str())
                };
                if is_ours {
                    folders.push(entry.path());
                }
                continue;
            }
            let path = entry.path().strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            // Skipped: files that are not UTF-8, and those that vanish meanwhile, which are an editor's. `.git` is a file in
            // a secondary worktree.
            if kind.is_file()
                && name != ".git"
                && choose(&path)
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                files.push(TextFile { path, text });
            }
        }
    }
    assert!(!files.is_empty(), "no file chosen under {}: the rule would hold by looking at nothing", root.display());
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// Fails with the list of violations, if there are any.
#[track_caller]
fn expect_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n  {}", violations.len(), violations.join("\n  "));
}

/// Checks that a planted violation is found, once, and named.
#[track_caller]
fn expect_one(violations: &[String], named: &str) {
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].contains(named), "{named:?} is not named in {violations:?}");
}
