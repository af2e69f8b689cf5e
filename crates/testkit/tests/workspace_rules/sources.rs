//! Names with one home each, and roles that never meet. The sources are read as text without whole-line comments:
//! the rules catch slips, not evasion. A library is searched as code names it (`axum::`, `use axum`), since a log
//! filter may name it too.

use crate::rust::{is_name_part, sources};
use crate::{TextFile, expect_none, expect_one, text_files};

/// Allows `words` below `under` only in files whose path begins with one of `homes`.
struct Rule {
    words: &'static [&'static str],
    under: &'static [&'static str],
    homes: &'static [&'static str],
    reason: &'static str,
}

const EVERYWHERE: &[&str] = &["crates/"];
const PROGRAM: &[&str] = &["crates/core/", "crates/bus/", "crates/store/", "crates/spindle/"];

const RULES: [Rule; 9] = [
    Rule {
        words: &["async_nats::", "use async_nats"],
        under: EVERYWHERE,
        homes: &["crates/bus/src/"],
        reason: "only the bus uses NATS",
    },
    Rule {
        words: &["rusqlite::", "use rusqlite"],
        under: EVERYWHERE,
        homes: &["crates/store/src/"],
        reason: "only the store uses SQL",
    },
    Rule {
        words: &["axum::", "use axum", "hyper::", "hyper_util::"],
        under: EVERYWHERE,
        homes: &["crates/spindle/src/web"],
        reason: "only the web front serves HTTP",
    },
    Rule {
        words: &["clap::", "use clap", "#[clap"],
        under: EVERYWHERE,
        homes: &["crates/spindle/src/cli", "crates/bench/src/"],
        reason: "only the command line handles flags",
    },
    Rule {
        words: &["ratatui::", "use ratatui", "crossterm::"],
        under: EVERYWHERE,
        homes: &["crates/spindle/src/commands/top"],
        reason: "only `spindle top` draws on the terminal",
    },
    Rule {
        words: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "SystemTime",
            "Instant::now",
            // Groups hide names from this rule: in the pure crates, each import of std has a line of its own.
            "std::{",
        ],
        under: &["crates/core/src/", "crates/simulate/src/"],
        homes: &[],
        reason: "core and simulate are pure: files, network, environment and time are arguments",
    },
    Rule {
        words: &["env::var", "env::var_os", "env::vars", "env::vars_os", "from_default_env"],
        under: PROGRAM,
        homes: &["crates/spindle/src/config"],
        reason: "only the configuration reads the environment",
    },
    Rule {
        words: &["process::exit"],
        under: EVERYWHERE,
        homes: &["crates/spindle/src/main.rs", "crates/spindle/src/outcome.rs", "crates/bench/src/main.rs"],
        reason: "only main ends the process, with the exit code of outcome",
    },
    Rule {
        words: &["tokio::signal", "signal::ctrl_c", "signal::unix", "signal_hook"],
        under: EVERYWHERE,
        homes: &["crates/spindle/src/supervisor"],
        reason: "only the supervisor handles signals",
    },
];

fn breaks(rule: &Rule, sources: &[TextFile]) -> Vec<String> {
    let begins = |path: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| begins(&source.path, rule.under) && !begins(&source.path, rule.homes))
    {
        for (number, line) in code_lines(&source.text) {
            for word in rule.words.iter().filter(|word| names(line, word)) {
                violations.push(format!("{}:{number} names {word}: {}", source.path, rule.reason));
            }
        }
    }
    violations
}

/// Files below `roles/` that name another role: roles meet only through the bus and the store.
fn roles_that_meet(sources: &[TextFile]) -> Vec<String> {
    const ROLES: &str = "crates/spindle/src/roles/";
    let role_of = |path: &str| -> Option<String> {
        let first = path.strip_prefix(ROLES)?.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first).to_owned()).filter(|role| role != "mod")
    };
    let mut roles: Vec<String> = sources.iter().filter_map(|source| role_of(&source.path)).collect();
    roles.sort_unstable();
    roles.dedup();
    let mut violations = Vec::new();
    for source in sources {
        let Some(own) = role_of(&source.path) else { continue };
        for (number, line) in code_lines(&source.text) {
            let named = roles.iter().find(|role| **role != own && imports_role(line, role));
            if let Some(other) = named {
                violations.push(format!("{}:{number} names the role {other}", source.path));
            }
        }
    }
    violations
}

/// Returns true for `crate::roles::writer…`, `super::writer…`, and the same inside braces.
fn imports_role(line: &str, role: &str) -> bool {
    ["roles::", "super::"].iter().any(|parent| {
        line.match_indices(parent).any(|(at, _)| {
            let rest = &line[at + parent.len()..];
            match rest.strip_prefix('{') {
                Some(group) => names(group.split('}').next().unwrap_or(group), role),
                None => rest.strip_prefix(role).is_some_and(|after| !after.starts_with(is_name_part)),
            }
        })
    })
}

/// Absolute paths of one developer's machine.
fn names_a_machine(files: &[TextFile]) -> Vec<String> {
    // Composed, so that this file does not match itself.
    let folders = ["home", "root", "work", "Users"].map(|folder| format!("/{folder}/"));
    let mut violations = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let is_absolute =
                |at: usize| !line[..at].ends_with(|before: char| is_name_part(before) || "./-}~".contains(before));
            let named = |folder: &&String| line.match_indices(folder.as_str()).any(|(at, _)| is_absolute(at));
            if let Some(folder) = folders.iter().find(named) {
                violations.push(format!("{}:{} names a path below {folder}", file.path, number + 1));
            }
        }
    }
    violations
}

/// Returns the lines that are not whole-line comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Returns true if `word` stands in `line` as a complete name.
fn names(line: &str, word: &str) -> bool {
    let can_run_on = word.ends_with(is_name_part);
    line.match_indices(word).any(|(at, _)| {
        let runs_on = can_run_on && line[at + word.len()..].starts_with(is_name_part);
        !line[..at].ends_with(is_name_part) && !runs_on
    })
}

#[test]
fn each_thing_is_named_only_at_its_home() {
    let sources = sources();
    expect_none(&RULES.iter().flat_map(|rule| breaks(rule, &sources)).collect::<Vec<_>>());
}

#[test]
fn each_rule_sees_each_of_its_words() {
    // Below every rule, and home of nothing.
    let stranger = "crates/core/src/somewhere.rs";
    for rule in &RULES {
        for word in rule.words {
            let planted = [TextFile::new(stranger, &format!("//! {word}\nfn f() {{ {word}(); }}\n"))];
            expect_one(&breaks(rule, &planted), &format!(":2 names {word}"));
            for home in rule.homes {
                expect_none(&breaks(rule, &[TextFile::new(&format!("{home}/inside.rs"), &planted[0].text)]));
            }
        }
    }
    assert!(!names("let x = claps + my_clap + clap_it;", "clap"), "parts of names are not names");
}

#[test]
fn roles_never_meet() {
    expect_none(&roles_that_meet(&sources()));
    let check = |line: &str, expect_seen: bool| {
        let planted = [
            TextFile::new("crates/spindle/src/roles/writer/mod.rs", ""),
            TextFile::new("crates/spindle/src/roles/reader.rs", line),
        ];
        let violations = roles_that_meet(&planted);
        assert_eq!(violations.len(), usize::from(expect_seen), "{line}: {violations:?}");
    };
    check("use crate::roles::writer::Batch;", true);
    check("use crate::roles::{reader, writer};", true);
    check("use super::writer;", true);
    check("use super::{Parts, writer::Batch};", true);
    check("    super::writer::flush();", true);
    check("use crate::roles::reader::answer;", false);
    check("use super::writers_lag;", false);
    check("// super::writer does the same", false);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    expect_none(&names_a_machine(&text_files(|_| true)));
    let check = |line: &str, expect_seen: bool| {
        let line = line.replace('%', "home");
        let violations = names_a_machine(&[TextFile::new("x.md", &format!("first\n{line}"))]);
        assert_eq!(violations.len(), usize::from(expect_seen), "{line}: {violations:?}");
    };
    check("see /%/me/notes", true);
    check("\"file:///%/me\"", false); // a URL's path, three slashes
    check("DIR=/%/me", true);
    check("https://example.org/%/page", false);
    check("a/%/b and ./%/b", false);
}
