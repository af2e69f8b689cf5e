//! Fields of the JSON document, read with tolerance for their type.

use serde_json::Value;

/// Longest text that is kept, in bytes: that of a label.
const MAX_TEXT_BYTES: usize = crate::wire::MAX_LABEL_BYTES;
/// Longest name of a field that becomes part of a metric type.
const MAX_NAME_BYTES: usize = 100;

/// Reads a number, a numeric text or a truth value.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// Reads a text without control characters and surrounding blanks; `None` if nothing is left.
pub(super) fn text(value: &Value) -> Option<String> {
    let mut kept = String::new();
    for ch in value.as_str()?.trim().chars().filter(|ch| !ch.is_control()) {
        if kept.len() + ch.len_utf8() > MAX_TEXT_BYTES {
            break;
        }
        kept.push(ch);
    }
    (!kept.is_empty()).then_some(kept)
}

/// Reads a text at a pointer.
pub(super) fn text_at(document: &Value, pointer: &str) -> Option<String> {
    document.pointer(pointer).and_then(text)
}

/// Iterates over the numeric fields of an object whose names can be part of a metric type. Skips the second forms
/// (`…_s`, `…_le`) in which smartctl repeats numbers that exceed the precision of JSON.
pub(super) fn numbers(object: &Value) -> impl Iterator<Item = (&str, f64)> {
    let fields = object.as_object();
    let is_repeated = move |name: &str| {
        let base = name.strip_suffix("_s").or_else(|| name.strip_suffix("_le"));
        base.is_some_and(|base| fields.is_some_and(|fields| fields.contains_key(base)))
    };
    let named = fields.into_iter().flatten().filter(move |(name, _)| is_name(name) && !is_repeated(name));
    named.filter_map(|(name, value)| Some((name.as_str(), number(value)?)))
}

/// Returns the elements of an array at a pointer; none if there is no array.
pub(super) fn rows<'a>(document: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    document.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_word)
}
