//! Shared by the fuzz targets: properties of all payloads and of all messages for people.
//!
//! In terms of the public interface only: never depends on the implementation under test.

pub mod made;

use std::error::Error;
use std::fmt::Display;

use spindle_core::wire::{self, Decoded, WireError};

/// Longest error text, to fit a log line and a row of a page.
const MAX_MESSAGE_BYTES: usize = 1_000;

/// Checks a message for people, which ends up in logs, headers and terminals: one short line, no control characters.
pub fn is_one_line(message: impl Display) -> String {
    let message = message.to_string();
    assert!(!message.is_empty() && message.len() <= MAX_MESSAGE_BYTES, "{} bytes: {message:?}", message.len());
    assert!(!message.chars().any(char::is_control), "a control character in {message:?}");
    message
}

/// Returns an error with its causes, as the program formats them.
pub fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    message
}

/// Checks that each element of a payload is among the items or the rejected ones, in its place and with its own bytes.
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
    let elements = wire::elements(payload);
    if elements.is_empty() && n_elements > 0 {
        assert!(
            decoded.items.is_empty() && decoded.rejected[0].bytes == payload,
            "no elements, and not rejected whole"
        );
        return;
    }
    assert_eq!(elements.get(n_elements), None, "an element that is neither read nor rejected");
    for rejected in &decoded.rejected {
        assert_eq!(elements.get(rejected.index).map(|text| text.as_bytes()), Some(&rejected.bytes[..]));
    }
}

/// Checks that an element rejected for its shape is JSON, and that the reason is fit for people.
fn is_explained(bytes: &[u8], error: &WireError) {
    is_one_line(error);
    if error.reason().as_str() == "bad_shape" {
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
        assert!(json.is_ok(), "'{error}' for something that is not JSON: {:?}", String::from_utf8_lossy(bytes));
    }
}

/// Returns the rest of `whole` after the first `part`.
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
