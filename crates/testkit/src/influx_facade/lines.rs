//! Line protocol as versions 2 and 3 parse it, and openGemini like version 2. A line ends at a line feed, also inside quotes: our client never sends
//! one there.

use super::Generation;

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tag,
    Float,
    Integer,
    Unsigned,
    Text,
    Boolean,
}

impl Kind {
    /// Name in version 3.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Tag => "iox::column_type::tag",
            Kind::Float => "iox::column_type::field::float",
            Kind::Integer => "iox::column_type::field::integer",
            Kind::Unsigned => "iox::column_type::field::uinteger",
            Kind::Text => "iox::column_type::field::string",
            Kind::Boolean => "iox::column_type::field::boolean",
        }
    }
}

/// Parsed line.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) table: String,
    pub(super) columns: Vec<(String, Kind)>,
    /// Everything before the timestamp.
    pub(super) content: &'a str,
    pub(super) time: Option<i64>,
}

/// Returns the lines that are neither blank nor comments.
pub(super) fn lines_of(body: &str) -> impl Iterator<Item = &str> {
    body.split('\n').filter(|line| !line.trim_start().is_empty() && !line.trim_start().starts_with('#'))
}

/// Parses a line. The error is the server's own message.
pub(super) fn parse(line: &str, generation: Generation) -> Result<Line<'_>, String> {
    let message = |v2: &str, v3: &str| match generation {
        Generation::V2 | Generation::OpenGemini => v2.to_owned(),
        Generation::V3 => v3.to_owned(),
    };
    let (series, rest) = split(line, ' ').ok_or_else(|| message("missing fields", "No fields were provided"))?;
    let rest = rest.trim_start_matches(' ');
    let (fields, time) = split(rest, ' ').unwrap_or((rest, ""));
    let mut parts = split_all(series, ',').into_iter();
    let table = parts.next().unwrap_or_default().to_owned();
    if table.is_empty() {
        return Err(message("missing measurement", "Invalid measurement was provided"));
    }
    let mut columns: Vec<(String, Kind)> = Vec::new();
    for tag in parts {
        let (key, value) = split(tag, '=').unwrap_or((tag, ""));
        if key.is_empty() || value.is_empty() {
            return Err(message("missing tag value", "Expected tag value, found none"));
        }
        if columns.iter().any(|(known, _)| known == key) {
            return Err(message("duplicate tags", "multiple instances of a tag"));
        }
        if key == "time" || (generation == Generation::V2 && matches!(key, "_field" | "_measurement")) {
            let message_v2 = format!("input tag \"{key}\" is invalid");
            return Err(message(&message_v2, "'time' is a reserved column"));
        }
        columns.push((key.to_owned(), Kind::Tag));
    }
    for field in split_all(fields, ',') {
        let (key, value) =
            split(field, '=').ok_or_else(|| message("invalid field format", "No fields were provided"))?;
        let kind = kind_of(value, generation).ok_or_else(|| message("invalid number", "No fields were provided"))?;
        if generation == Generation::V3 {
            match columns.iter().find(|(known, _)| known == key) {
                Some((_, Kind::Tag)) => return Err(clash(key, Kind::Tag, kind)),
                Some(_) => return Err(format!("multiple instances of '{key}' field found")),
                None if key == "time" => return Err("'time' is a reserved column".to_owned()),
                None => {}
            }
        }
        columns.push((key.to_owned(), kind));
    }
    let content = line[..line.len() - time.len()].trim_end_matches(' ');
    let time = match time.trim_start_matches(' ') {
        "" => None,
        text => Some(text.parse().map_err(|_| message("bad timestamp", "Could not parse entire line"))?),
    };
    Ok(Line { table, columns, content, time })
}

/// Returns version 3's message for a type that differs from the stored one.
pub(super) fn clash(column: &str, stored: Kind, came: Kind) -> String {
    format!("invalid column type for column '{column}', expected {}, got {}", stored.name(), came.name())
}

fn kind_of(value: &str, generation: Generation) -> Option<Kind> {
    if value.len() > 1 && value.starts_with('"') && value.ends_with('"') {
        return Some(Kind::Text);
    }
    if matches!(value, "t" | "T" | "true" | "True" | "TRUE" | "f" | "F" | "false" | "False" | "FALSE") {
        return Some(Kind::Boolean);
    }
    if let Some(digits) = value.strip_suffix('i') {
        return digits.parse::<i64>().ok().map(|_| Kind::Integer);
    }
    if let Some(digits) = value.strip_suffix('u') {
        return digits.parse::<u64>().ok().map(|_| Kind::Unsigned);
    }
    let mantissa = value.strip_prefix('-').unwrap_or(value).split(['e', 'E']).next().unwrap_or_default();
    let is_strict = !mantissa.starts_with('.') && !mantissa.ends_with('.');
    let is_number = mantissa.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let is_finite = value.parse::<f64>().is_ok_and(f64::is_finite);
    (is_number && is_finite && (is_strict || generation != Generation::V3)).then_some(Kind::Float)
}

/// Splits at the first `at` that is neither escaped nor quoted (quotes count only after an `=`).
pub(super) fn split(text: &str, at: char) -> Option<(&str, &str)> {
    let (mut is_escaped, mut is_quoted, mut previous) = (false, false, ' ');
    for (index, ch) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if ch == '\\' {
            is_escaped = true;
        } else if ch == '"' && (is_quoted || previous == '=') {
            is_quoted = !is_quoted;
        } else if ch == at && !is_quoted {
            return Some((&text[..index], &text[index + at.len_utf8()..]));
        }
        previous = ch;
    }
    None
}

/// Splits at each such `at`.
pub(super) fn split_all(mut text: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    while let Some((part, rest)) = split(text, at) {
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_each_version_reads_them() {
        let line = parse(r#"m\ x,a=b\,c f=1.5,g=2i,h="x, y=\" z" 12"#, Generation::V3).unwrap();
        let columns: Vec<_> = line.columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        assert_eq!(columns, [("a", Kind::Tag), ("f", Kind::Float), ("g", Kind::Integer), ("h", Kind::Text)]);
        assert_eq!((line.table.as_str(), line.time), (r"m\ x", Some(12)));
        assert_eq!(line.content, r#"m\ x,a=b\,c f=1.5,g=2i,h="x, y=\" z""#);
        for (text, in_v2, in_v3) in [
            ("m f=1", true, true),
            ("m f=1e300 5", true, true),
            ("m f=1.", true, false),
            ("m f=.5", true, false),
            ("m f=1,f=2", true, false),
            ("m,f=x f=1", true, false),
            ("m", false, false),
            ("m,a= f=1", false, false),
            ("m,a=1,a=2 f=1", false, false),
            ("m,time=1 f=1", false, false),
            ("m,_field=1 f=1", false, true),
            ("m f=NaN", false, false),
            ("m f=inf", false, false),
            ("m f=+1", false, false),
            ("m f=1e999", false, false),
            ("m f=\"x", false, false),
            ("m f=1 then", false, false),
            ("m f=1 2 3", false, false),
        ] {
            assert_eq!(parse(text, Generation::V2).is_ok(), in_v2, "2: {text}");
            assert_eq!(parse(text, Generation::V3).is_ok(), in_v3, "3: {text}");
        }
    }
}
