//! From texts and TOML values to the types of settings. Each reader says what it expected.

use std::time::Duration;

/// What a setting takes in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// A text that may look like a number, so that its quotes are easily left out.
    Word,
    Integer,
    Boolean,
    /// A text such as `2s`, or a number of seconds.
    Duration,
    /// A text such as `64MiB`, or a number of bytes.
    Bytes,
    /// An array of texts.
    List,
}

impl Kind {
    /// The text of a TOML value, as a flag would say it; what was expected, if it has the wrong type.
    pub(super) fn text_of(self, value: &toml::Value) -> Result<String, &'static str> {
        match (self, value) {
            (Self::Text | Self::Word | Self::Duration | Self::Bytes, toml::Value::String(text)) => Ok(text.clone()),
            (Self::Word | Self::Integer | Self::Duration | Self::Bytes, toml::Value::Integer(number)) => {
                Ok(number.to_string())
            }
            (Self::Duration, toml::Value::Float(number)) => Ok(number.to_string()),
            (Self::Boolean, toml::Value::Boolean(yes)) => Ok(yes.to_string()),
            (Self::List, toml::Value::Array(items)) => {
                let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
                texts.map(|texts| texts.join(",")).ok_or(self.expected())
            }
            _ => Err(self.expected()),
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Word => "a text in quotes",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Duration => DURATION,
            Self::Bytes => BYTES,
            Self::List => "a list of texts such as [\"simulate\", \"host\"]",
        }
    }

    /// A text as TOML source of this kind.
    pub(super) fn toml(self, text: &str) -> String {
        match self {
            Self::Integer | Self::Boolean => text.to_owned(),
            Self::List => {
                let items: Vec<_> = text.split(',').filter(|item| !item.is_empty()).map(quoted).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Text | Self::Word | Self::Duration | Self::Bytes => quoted(text),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const DURATION: &str = "a duration such as 2s, 500ms, 30d, or a number of seconds";
const BYTES: &str = "a size such as 64MiB, or a number of bytes";

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| DURATION.to_owned());
    }
    humantime::parse_duration(text).map_err(|_| DURATION.to_owned())
}

/// A duration that something is done at: never zero.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let sane = Duration::from_millis(10)..=Duration::from_secs(86_400);
    if sane.contains(&interval) { Ok(interval) } else { Err(format!("{DURATION}, from 10ms to 24h")) }
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).trim_end();
    let factor = match &text[digits.len()..].trim() {
        &"" | &"B" => 1,
        &"KiB" | &"K" => 1 << 10,
        &"MiB" | &"M" => 1 << 20,
        &"GiB" | &"G" => 1 << 30,
        &"TiB" | &"T" => 1_u64 << 40,
        _ => return Err(BYTES.to_owned()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(|| BYTES.to_owned())
}

pub(super) fn show_bytes(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    units
        .iter()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
        .map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

pub(super) fn integer<T>(text: &str, range: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse::<T>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

/// Every leaf of a table with its dotted key.
pub(super) fn flatten(table: &toml::Table) -> Vec<(String, &toml::Value)> {
    let mut leaves = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if !inner.is_empty() => {
                leaves.extend(flatten(inner).into_iter().map(|(rest, leaf)| (format!("{key}.{rest}"), leaf)));
            }
            toml::Value::Table(_) => {}
            leaf => leaves.push((key.clone(), leaf)),
        }
    }
    leaves
}

/// A TOML value in an error.
pub(super) fn shown(value: &toml::Value, secret: bool) -> String {
    if secret { "***".to_owned() } else { value.to_string().replace('\n', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("-1").is_err() && duration("").is_err() && interval("0").is_err());
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(show_bytes(64 << 20), "64MiB");
        assert!(bytes("64 parsecs").is_err() && bytes("99999999TiB").is_err() && bytes("é").is_err());
    }
}
