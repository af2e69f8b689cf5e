//! Keeps the generated part of docs/queries.md in step with the table of query types.
//! `UPDATE_DOCS=1 cargo test -p spindle-core --test docs` writes it.

use std::path::Path;

use spindle_core::query;

const BEGIN: &str = "<!-- generated: queries -->\n";
const END: &str = "<!-- end generated -->";

#[test]
fn the_query_types_are_documented_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/queries.md");
    let text = std::fs::read_to_string(&path).expect("docs/queries.md is readable");
    let (head, rest) = text.split_once(BEGIN).expect("docs/queries.md has the marker of the generated part");
    let (found, tail) = rest.split_once(END).expect("the generated part ends with its marker");
    let expected = query::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(&path, format!("{head}{BEGIN}{expected}{END}{tail}")).expect("docs are writable");
    }
    assert!(found == expected, "docs/queries.md is out of date: run with UPDATE_DOCS=1; expected\n{expected}");
}
