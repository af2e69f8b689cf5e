//! Limits for the length of files and functions.

use crate::rust::{code, end_of_item, is_test_file, line_of, name, places, sources};
use crate::{TextFile, expect_none, expect_one};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

/// Uniform tables, which nobody reads from top to bottom.
const TABLES: [(&str, &str); 1] =
    [("crates/spindle/src/config/settings.rs", "the table of settings: one row each, all alike")];

fn too_large(sources: &[TextFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        let n_lines = source.text.lines().count();
        if n_lines > MAX_FILE_LINES && !TABLES.iter().any(|(path, _)| *path == source.path) {
            violations.push(format!("{} has {n_lines} lines", source.path));
        }
        if is_test_file(&source.path) {
            continue;
        }
        let code = code(&source.text);
        for at in places(&code, "fn ") {
            let n_lines = code[at..end_of_item(&code, at)].lines().count();
            if n_lines > MAX_FUNCTION_LINES {
                let (line, name) = (line_of(&code, at), name(&code[at + 3..]));
                violations.push(format!("{}:{line} {name} has {n_lines} lines", source.path));
            }
        }
    }
    violations
}

#[test]
fn files_and_functions_stay_small() {
    let planted = |n_lines: usize| {
        let body = "    call(\"}\");\n".repeat(n_lines - 2);
        [TextFile::new("crates/x/src/a.rs", &format!("fn small();\nfn large() {{\n{body}}}\n"))]
    };
    expect_none(&too_large(&planted(MAX_FUNCTION_LINES)));
    expect_one(&too_large(&planted(MAX_FUNCTION_LINES + 1)), "a.rs:2 large has 61 lines");
    expect_one(&too_large(&[TextFile::new("crates/x/src/a.rs", &"\n".repeat(401))]), "has 401 lines");
    let sources = sources();
    expect_none(&too_large(&sources));
    for (path, reason) in TABLES {
        let table = sources.iter().find(|source| source.path == path);
        let is_large = table.is_some_and(|table| table.text.lines().count() > MAX_FILE_LINES);
        assert!(is_large && !reason.is_empty(), "{path} is not large any more: take it off the list");
    }
}
