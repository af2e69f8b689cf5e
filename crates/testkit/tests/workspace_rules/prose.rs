//! Documentation opens with the thing that it describes.

use crate::rust::{name, sources};
use crate::{TextFile, expect_one};

/// Openings of a free clause, "What the store refused" instead of "Points that the store refused".
const FREE_CLAUSES: [&str; 8] = ["What", "Who", "Whom", "Whose", "Whether", "How", "Where", "When"];
/// Some of them are good English, such as "When the store is away, ...".
const MAX_SHARE: f64 = 0.02;

/// Counts the blocks of documentation, and lists those that open with a free clause.
fn openings(sources: &[TextFile]) -> (usize, Vec<String>) {
    let (mut n_blocks, mut found) = (0, Vec::new());
    for source in sources {
        let mut before = None;
        for (index, line) in source.text.lines().enumerate() {
            let line = line.trim_start();
            let marker = ["///", "//!"].into_iter().find(|marker| line.starts_with(marker));
            if let Some(marker) = marker
                && before != Some(marker)
            {
                n_blocks += 1;
                let opening = line[marker.len()..].trim_start();
                if FREE_CLAUSES.contains(&name(opening)) {
                    found.push(format!("{}:{} {opening}", source.path, index + 1));
                }
            }
            before = marker;
        }
    }
    (n_blocks, found)
}

#[test]
fn documentation_opens_with_a_noun_or_a_verb() {
    let planted = TextFile::new("x.rs", "//! Rules.\n//! What it is.\n\n/// What is lost.\nfn f() {}\n/// However.\n");
    let (n_blocks, found) = openings(&[planted]);
    assert_eq!(n_blocks, 3);
    expect_one(&found, "x.rs:4 What is lost.");
    let (n_blocks, found) = openings(&sources());
    let share = found.len() as f64 / n_blocks as f64;
    println!("{} of {n_blocks} blocks of documentation open with a free clause: {:.1} %", found.len(), share * 100.0);
    assert!(n_blocks > 1_000 && share <= MAX_SHARE, "{:.1} %:\n  {}", share * 100.0, found.join("\n  "));
}
