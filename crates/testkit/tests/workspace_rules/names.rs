//! Type names are unique over the product crates.

use std::collections::BTreeMap;

use crate::rust::{PRODUCT, code, is_test_file, line_of, name, places, sources};
use crate::{TextFile, expect_none, expect_one};

/// Names that several modules may use.
const SHARED: [&str; 2] = ["Parts", "State"];
const KINDS: [&str; 4] = ["struct", "enum", "trait", "type"];

/// Finds names of several types that are visible in their whole crate or beyond.
fn name_clashes(sources: &[TextFile]) -> Vec<String> {
    let mut places_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !is_test_file(&source.path)) {
        let code = code(&source.text);
        for (line, name) in visible_types(&code) {
            places_of.entry(name.to_owned()).or_default().push(format!("{}:{line}", source.path));
        }
    }
    places_of.retain(|name, places| places.len() > 1 && !SHARED.contains(&name.as_str()));
    places_of.into_iter().map(|(name, places)| format!("{name} is {}", places.join(" and "))).collect()
}

fn visible_types(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for visibility in ["pub ", "pub(crate) "] {
        for at in places(code, visibility) {
            let declaration = &code[at + visibility.len()..];
            let kind = KINDS.iter().find_map(|kind| declaration.strip_prefix(kind)?.strip_prefix(' '));
            found.extend(kind.map(|rest| (line_of(code, at), name(rest))));
        }
    }
    found
}

#[test]
fn a_type_name_is_used_once() {
    let planted = |text: &str| {
        let files = [
            TextFile::new("crates/bus/src/a.rs", "pub struct Answer;\npub(crate) enum State {}"),
            TextFile::new("crates/core/src/b.rs", text),
        ];
        name_clashes(&files)
    };
    expect_one(&planted("\npub(crate) type Answer = u8;"), "crates/bus/src/a.rs:1 and crates/core/src/b.rs:2");
    expect_none(&planted("pub(super) struct Answer; pub struct State; struct Answer; // pub struct Answer"));
    let product: Vec<TextFile> =
        sources().into_iter().filter(|source| PRODUCT.iter().any(|prefix| source.path.starts_with(prefix))).collect();
    expect_none(&name_clashes(&product));
}
