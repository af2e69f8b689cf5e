//! What the fuzz targets share: what must hold of any payload, and of any words for people.
//!
//! Properties only, in terms of the public interface: nothing here may know how the code under test does it.

pub mod made;

use std::error::Error;
use std::fmt::Display;

use spindle_core::wire::{self, Decoded, WireError};

/// Longest error text: what a log line and a row of a page still take.
const MAX_WORDS: usize = 1_000;

/// Words for people end up in logs, headers and terminals: one line, no control characters, no novel.
pub fn is_one_line(words: impl Display) -> String {
    let words = words.to_string();
    assert!(!words.is_empty() && words.len() <= MAX_WORDS, "{} bytes of words: {words:?}", words.len());
    assert!(!words.chars().any(char::is_control), "a control character in {words:?}");
    words
}

/// An error and its causes, as the program shows them.
pub fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}

/// Each element of a payload is among the items or among what was rejected, in its place and with its own bytes.
pub fn is_accounted_for<T>(payload: &[u8], decoded: &Decoded<T>) {
    let n_elements = decoded.items.len() + decoded.rejected.len();
    let mut rest = payload;
    let mut next_index = 0;
    for rejected in &decoded.rejected {
        assert!(rejected.index >= next_index && rejected.index < n_elements, "index {}", rejected.index);
        next_index = rejected.index + 1;
        rest = after(rest, &rejected.bytes).expect("rejected bytes are a part of the payload, in its order");
        is_explained(&rejected.bytes, &rejected.error);
    }
    if wire::element(payload, 0).is_none() && n_elements > 0 {
        assert!(
            decoded.items.is_empty() && decoded.rejected[0].bytes == payload,
            "no elements, and not rejected whole"
        );
        return;
    }
    assert_eq!(wire::element(payload, n_elements), None, "an element that is neither read nor rejected");
    for rejected in &decoded.rejected {
        assert_eq!(wire::element(payload, rejected.index).map(str::as_bytes), Some(&rejected.bytes[..]));
    }
}

/// What is refused as the wrong shape is JSON, and the reason is one for people.
fn is_explained(bytes: &[u8], error: &WireError) {
    is_one_line(error);
    if error.reason().as_str() == "bad_shape" {
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
        assert!(json.is_ok(), "'{error}' of what is no JSON: {:?}", String::from_utf8_lossy(bytes));
    }
}

/// What follows the first `part` in `whole`.
fn after<'a>(whole: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    if part.is_empty() {
        return Some(whole);
    }
    let first = part[0];
    let mut from = 0;
    loop {
        from += whole[from..].iter().position(|byte| *byte == first)?;
        if whole[from..].starts_with(part) {
            return Some(&whole[from + part.len()..]);
        }
        from += 1;
    }
}
