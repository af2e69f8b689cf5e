//! Properties that the fuzz targets share: of any payload, and of any message for people.
//!
//! All of them are stated in terms of the public interface: nothing here may depend on the implementation under test.

pub mod made;

use std::error::Error;
use std::fmt::Display;

use spindle_core::wire::{self, Decoded, WireError};

/// Longest message: fits into a log line and a table row.
const MAX_MESSAGE_BYTES: usize = 1_000;

/// Checks a message for people, which ends up in logs, headers and terminals: one line, no control characters, short.
pub fn is_one_line(message: impl Display) -> String {
    let message = message.to_string();
    assert!(!message.is_empty() && message.len() <= MAX_MESSAGE_BYTES, "{} bytes: {message:?}", message.len());
    assert!(!message.chars().any(char::is_control), "a control character in {message:?}");
    message
}

/// Formats an error and its causes, as the program prints them.
pub fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    message
}

/// Checks that each element of a payload is among the items or the rejects, in its place and with its own bytes.
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
            "no elements, yet not rejected as a whole"
        );
        return;
    }
    assert_eq!(wire::element(payload, n_elements), None, "an element neither decoded nor rejected");
    for rejected in &decoded.rejected {
        assert_eq!(wire::element(payload, rejected.index).map(str::as_bytes), Some(&rejected.bytes[..]));
    }
}

/// Checks that a reject has a message for people, and is JSON if its reason is the wrong shape.
fn is_explained(bytes: &[u8], error: &WireError) {
    is_one_line(error);
    if error.reason().as_str() == "bad_shape" {
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
        assert!(json.is_ok(), "'{error}' of invalid JSON: {:?}", String::from_utf8_lossy(bytes));
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
