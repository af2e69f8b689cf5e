//! Parses Rust just well enough for the rules, without expanding macros.

use std::ops::Range;

use crate::{TextFile, text_files};

/// Crates whose code ships.
pub(crate) const PRODUCT: [&str; 5] =
    ["crates/core/", "crates/simulate/", "crates/bus/", "crates/store/", "crates/spindle/"];

/// Reads the sources of all crates.
pub(crate) fn sources() -> Vec<TextFile> {
    text_files(|path| path.starts_with("crates/") && path.contains("/src/") && path.ends_with(".rs"))
}

/// Returns true for a file of tests alone, beside the file that it tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Returns the code with comments, literals and test-only items blanked. Line numbers stay the same.
pub(crate) fn code(text: &str) -> String {
    let mut code = blank(text, &comments_and_texts(text));
    while let Some(at) = code.find("#[cfg(test)]") {
        let end = end_of_item(&code, at);
        code = blank(&code, std::slice::from_ref(&(at..end)));
    }
    code
}

/// Returns each comment with its line number.
pub(crate) fn comments(text: &str) -> Vec<(usize, &str)> {
    let found = comments_and_texts(text).into_iter().map(|range| (range.start, &text[range]));
    let found = found.filter(|(_, piece)| piece.starts_with("//") || piece.starts_with("/*"));
    found.map(|(at, comment)| (line_of(text, at), comment)).collect()
}

/// Returns the line number of a byte.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Returns the end of the item that begins at `at`: its closing brace, or its semicolon.
pub(crate) fn end_of_item(code: &str, at: usize) -> usize {
    let Some(open) = code[at..].find(['{', ';']).map(|offset| at + offset) else { return code.len() };
    if code[open..].starts_with(';') {
        return open + 1;
    }
    let mut depth = 0;
    for (offset, byte) in code[open..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    code.len()
}

pub(crate) fn is_name_part(ch: char) -> bool {
    ch.is_alphanumeric() || ch == '_'
}

/// Returns the name at the start of `code`, which may be empty.
pub(crate) fn name(code: &str) -> &str {
    &code[..code.find(|ch| !is_name_part(ch)).unwrap_or(code.len())]
}

/// Returns the places where `word` is a complete name.
pub(crate) fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let runs_on = word.ends_with(is_name_part) && code[at + word.len()..].starts_with(is_name_part);
        !code[..*at].ends_with(is_name_part) && !runs_on
    })
}

fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut kept_from = 0;
    for range in ranges {
        blanked.push_str(&text[kept_from..range.start]);
        blanked.extend(text[range.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        kept_from = range.end;
    }
    blanked + &text[kept_from..]
}

/// Returns the places of comments, string and char literals, in order.
fn comments_and_texts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(ch) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_inside_name = text[..at].ends_with(is_name_part);
        let length = match ch {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted_length(rest),
            'r' if !is_inside_name => raw_length(rest),
            'b' if !is_inside_name && rest.starts_with("br") => match raw_length(&rest[1..]) {
                0 => 0,
                length => length + 1,
            },
            '\'' => char_length(rest),
            _ => 0,
        };
        if length == 0 {
            at += ch.len_utf8();
        } else {
            found.push(at..at + length);
            at += length;
        }
    }
    found
}

fn quoted_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, ch) in rest.char_indices().skip(1) {
        match ch {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of `r"…"` or `r#"…"#`; 0 for a name.
fn raw_length(rest: &str) -> usize {
    let n_hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[1 + n_hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(n_hashes));
    let start = 2 + n_hashes;
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// Returns the length of `'x'` or `'\n'`; 0 for a lifetime.
fn char_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_), _) => rest[3..].find('\'').map_or(0, |end| end + 4),
        (Some(_), Some((at, '\'')), _) => at + 1,
        _ => 0,
    }
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = "fn a<'x>() { \"}{ // \\\" \"; r#\"{\"#; '{'; '\\''; b\"{\" } // {\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c();\n";
    let code = code(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<String>(), "fna<'x>(){;;;;b}fnc();");
    assert_eq!(comments("let a = \"// no\"; // yes\n/* too */"), [(1, "// yes"), (2, "/* too */")]);
    assert_eq!(places("a::b ba b", "b").collect::<Vec<_>>(), [3, 8]);
}
