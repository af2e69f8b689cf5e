//! Parser of line protocol that accepts only the subset common to InfluxDB 1, 2 and 3, and only names in the schema.
//! Anything else panics: an independent check, not a parser for production.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Value, json};
use spindle_core::schema::{self, FieldType, Measurement};

use crate::influx::response::SeriesPart;

/// Maximum number of bytes of a tag and of the key of a series; a text may have 1 MiB.
const MAX_TAG_BYTES: usize = 65_535;
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Line, as the server interprets it.
pub(crate) struct Line {
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) fields: Vec<(String, Value)>,
    pub(crate) time: i64,
}

impl Line {
    /// Parses exactly one line with its line feed.
    pub(crate) fn read(text: &str) -> Self {
        let text = text.strip_suffix('\n').expect("a line feed at the end");
        assert!(!text.contains(|ch: char| ch.is_ascii_control()), "a control character in {text:?}");
        let mut rest = text.chars().peekable();
        let name: String = until(&mut rest, &[',', ' ']);
        let measurement = schema::measurement(&name).unwrap_or_else(|| panic!("measurement {name:?}"));
        let mut tags: Vec<(String, String)> = Vec::new();
        while rest.next_if_eq(&',').is_some() {
            let key = until(&mut rest, &['=']);
            assert!(measurement.tags.contains(&&*key) && tags.iter().all(|(other, _)| *other != key), "tag {key:?}");
            assert_eq!(rest.next(), Some('='));
            tags.push((key, tag_value(&mut rest)));
        }
        let fields = fields(&mut rest, measurement);
        assert_eq!(rest.next(), Some(' '));
        let time = rest.collect::<String>().parse().expect("a time in nanoseconds");
        Self { tags, fields, time }
    }

    /// Returns the result of a query for these fields and tags.
    pub(crate) fn answered(&self, columns: &[&str]) -> SeriesPart {
        let tag = |name: &str| self.tags.iter().find(|(key, _)| key == name).map(|(_, value)| json!(value));
        let field = |name: &str| self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let cells = columns.iter().map(|name| field(name).or_else(|| tag(name)).unwrap_or(Value::Null));
        let row: Vec<Value> = std::iter::once(json!(self.time)).chain(cells).collect();
        let columns: Vec<&str> = std::iter::once("time").chain(columns.iter().copied()).collect();
        serde_json::from_value(json!({ "columns": columns, "values": [row] })).expect("a series")
    }
}

fn until(rest: &mut Peekable<Chars<'_>>, ends: &[char]) -> String {
    std::iter::from_fn(|| rest.next_if(|ch| !ends.contains(ch))).collect()
}

fn tag_value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(ch) = rest.next_if(|ch| !matches!(ch, ',' | ' ')) {
        assert_ne!(ch, '=', "an unescaped equals sign");
        let is_escape = ch == '\\';
        value.push(if is_escape {
            rest.next_if(|next| matches!(next, ',' | ' ' | '=')).expect("an escape")
        } else {
            ch
        });
    }
    assert!(!value.is_empty() && value.len() <= MAX_TAG_BYTES, "a tag of {} bytes", value.len());
    value
}

fn fields(rest: &mut Peekable<Chars<'_>>, measurement: &Measurement) -> Vec<(String, Value)> {
    let mut fields: Vec<(String, Value)> = Vec::new();
    assert_eq!(rest.next(), Some(' '));
    loop {
        let key = until(rest, &['=']);
        assert_eq!(rest.next(), Some('='));
        let known =
            measurement.fields.iter().find(|field| field.name == key).unwrap_or_else(|| panic!("field {key:?}"));
        assert!(fields.iter().all(|(other, _)| *other != key), "field {key} twice");
        let value = match known.field_type {
            FieldType::Text => text_value(rest),
            FieldType::Integer => {
                let token = until(rest, &[',', ' ']);
                json!(token.strip_suffix('i').and_then(|digits| digits.parse::<i64>().ok()).expect("an integer"))
            }
            FieldType::Float => float_value(&until(rest, &[',', ' '])),
        };
        fields.push((key, value));
        if rest.next_if_eq(&',').is_none() {
            return fields;
        }
    }
}

/// Parses a text. Only `\"` is an escape that all three interpret alike.
fn text_value(rest: &mut Peekable<Chars<'_>>) -> Value {
    assert_eq!(rest.next(), Some('"'));
    let mut value = String::new();
    loop {
        match rest.next().expect("a quote at the end") {
            '"' => break,
            '\\' => value.push(rest.next_if_eq(&'"').expect("an escaped quote")),
            ch => value.push(ch),
        }
    }
    assert!(value.len() <= MAX_TEXT_BYTES, "a text of {} bytes", value.len());
    json!(value)
}

/// Parses a float: digits on both sides of a point, no sign but a minus, and finite.
fn float_value(token: &str) -> Value {
    let (digits, exponent) = token.split_once('e').unwrap_or((token, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    for digits in [whole.trim_start_matches('-'), part, exponent.trim_start_matches('-')] {
        assert!(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()), "a float {token:?}");
    }
    let value: f64 = token.parse().expect("a float");
    assert!(value.is_finite());
    json!(value)
}
