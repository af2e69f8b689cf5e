//! Types of values that serde does not read in the form users write them. The message of each error is what was
//! expected; the key, the value and its origin are added where the configuration is loaded.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use spindle_core::Criticality;
use spindle_core::smart::SmartTarget;
use spindle_store::InfluxVersion;
use url::Url;

use super::pace::Pace;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Embedded,
    Influxdb,
}

/// One source of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceSpec {
    Simulate,
    Host,
    Smart,
    Replay(PathBuf),
}

pub(crate) const DURATION: &str = "a duration such as 2s, 500ms, 30d, or a number of seconds";
const PAGE_ADDRESS: &str =
    "an http or https address without user, query and fragment, such as http://localhost:3000 or https://host/grafana";
const SIZE: &str = "a size such as 64MiB, or a number of bytes";

pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    text.parse()
        .map_or_else(|_| humantime::parse_duration(text).ok(), |seconds: f64| Duration::try_from_secs_f64(seconds).ok())
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|ch: char| ch.is_ascii_alphabetic()).trim_end();
    let factor: u64 = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads a text.
fn text<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    String::deserialize(from).ok().and_then(|text| parse(&text)).ok_or_else(|| D::Error::custom(expected))
}

/// Reads a text, or a number in its place: quotes round `2` are easily forgotten.
fn text_or_number<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = match toml::Value::deserialize(from) {
        Ok(toml::Value::String(text)) => Some(text),
        Ok(toml::Value::Integer(number)) => Some(number.to_string()),
        Ok(toml::Value::Float(number)) => Some(number.to_string()),
        Ok(_) | Err(_) => None,
    };
    text.and_then(|text| parse(&text)).ok_or_else(|| D::Error::custom(expected))
}

/// Reads a number from `MIN` to `MAX`, both included.
pub(super) fn integer<'de, const MIN: u64, const MAX: u64, T: TryFrom<u64>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let number = u64::deserialize(from).ok().filter(|number| (MIN..=MAX).contains(number));
    let expected = || D::Error::custom(format_args!("a whole number from {MIN} to {MAX}"));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(expected)
}

/// Reads a size from `MIN` to `MAX` bytes, both included.
pub(super) fn bytes<'de, const MIN: u64, const MAX: u64, T: TryFrom<u64>, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let range = match (MIN, MAX) {
        (0, u64::MAX) => SIZE.to_owned(),
        (_, u64::MAX) => format!("{SIZE}, at least {MIN}"),
        _ => format!("{SIZE}, from {} MiB to {} MiB", MIN >> 20, MAX >> 20),
    };
    let within = |text: &str| parse_bytes(text).filter(|size| (MIN..=MAX).contains(size));
    text_or_number(from, &range, |text| within(text).and_then(|size| T::try_from(size).ok()))
}

/// Readers with a name to be used as `deserialize_with`.
macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident -> $type:ty = $read:ident($expected:expr, $parse:expr);)+) => {$(
        $(#[$doc])*
        pub(super) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
            $read(from, $expected, $parse)
        }
    )+};
}

readers! {
    duration -> Duration = text_or_number(DURATION, parse_duration);
    /// Reads the period of a ticker, which must not be zero.
    interval -> Duration = text_or_number("a duration such as 2s or 500ms, from 10ms to 24h", |text| {
        let sane = Duration::from_millis(10)..=Duration::from_secs(86_400);
        parse_duration(text).filter(|interval| sane.contains(interval))
    });
    retention -> Option<Duration> = text_or_number("off, or a duration such as 30d, at least 60s", |text| match text {
        "off" => Some(None),
        _ => parse_duration(text).filter(|age| age.as_secs() >= 60).map(Some),
    });
    past -> Option<Duration> = text_or_number("0, or a duration such as 12h, at most 24h", |text| {
        let past = parse_duration(text).filter(|past| *past <= Duration::from_secs(86_400))?;
        Some(Some(past).filter(|past| !past.is_zero()))
    });
    influx_version -> Option<InfluxVersion> = text_or_number("auto, 1, 2, 3 or opengemini", |text| match text {
        "auto" => Some(None),
        "1" => Some(Some(InfluxVersion::V1)),
        "2" => Some(Some(InfluxVersion::V2)),
        "3" => Some(Some(InfluxVersion::V3)),
        _ if text.eq_ignore_ascii_case("opengemini") => Some(Some(InfluxVersion::OpenGemini)),
        _ => None,
    });
    /// Reads a number of copies; an empty text leaves it to the server.
    copies -> Option<u32> = text_or_number("a whole number of copies from 1 to 9", |text| match text {
        "" => Some(None),
        _ => text.parse().ok().filter(|copies| (1..=9).contains(copies)).map(Some),
    });
    pace -> Pace = text("1x, 60x, 0.5x or max", Pace::parse);
    subject -> String = text("a NATS subject without wildcards, such as reader.query", |text| {
        let is_good = |token: &str| !token.is_empty() && !token.contains(|ch: char| ch.is_whitespace() || "*>".contains(ch));
        text.split('.').all(is_good).then(|| text.to_owned())
    });
    /// Reads an address to listen on. Whether it needs a token is decided when a role listens.
    listen -> SocketAddr = text("an address such as 127.0.0.1:8080", parse_listen);
    /// Reads an address that a page links to. Everybody who sees the page can read it, so it must hold no password.
    page_address -> Option<String> = text(PAGE_ADDRESS, |text| match text {
        "" => Some(None),
        _ => Url::parse(text).ok().filter(is_page).map(|url| Some(url.as_str().trim_end_matches('/').to_owned())),
    });
    optional_listen -> Option<SocketAddr> = text("an address such as 127.0.0.1:8081", |text| match text {
        "" => Some(None),
        _ => parse_listen(text).map(Some),
    });
}

pub(super) fn size<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    bytes::<0, { u64::MAX }, T, D>(from)
}

pub(super) fn criticality<'de, D: Deserializer<'de>>(from: D) -> Result<Criticality, D::Error> {
    let level = u64::deserialize(from).ok().and_then(Criticality::new);
    level.ok_or_else(|| D::Error::custom("a whole number from 1 to 10"))
}

/// A page of the web: no script or file, and nothing that is confidential.
fn is_page(url: &Url) -> bool {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_anonymous = url.username().is_empty() && url.password().is_none();
    is_web && is_anonymous && url.query().is_none() && url.fragment().is_none()
}

fn parse_listen(text: &str) -> Option<SocketAddr> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().ok()
}

pub(super) fn sources<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SourceSpec>, D::Error> {
    let listed = Vec::<String>::deserialize(from)
        .map_err(|_| D::Error::custom("a list of texts such as [\"simulate\", \"host\"]"))?;
    let mut parts: Vec<String> = Vec::new();
    for part in listed.join(",").split(',') {
        // A file name may contain commas: a part that is not a source belongs to the replay before it.
        match parts.last_mut() {
            Some(before) if before.starts_with("replay:") && source(part.trim()).is_none() => {
                *before += &format!(",{part}");
            }
            _ => parts.push(part.trim().to_owned()),
        }
    }
    let sources = parts.iter().filter(|part| !part.is_empty()).map(|part| source(part)).collect::<Option<_>>();
    sources.ok_or_else(|| D::Error::custom("simulate, host, smart or replay:FILE"))
}

fn source(text: &str) -> Option<SourceSpec> {
    match (text, text.strip_prefix("replay:")) {
        ("simulate", _) => Some(SourceSpec::Simulate),
        ("host", _) => Some(SourceSpec::Host),
        ("smart", _) => Some(SourceSpec::Smart),
        (_, Some(file)) if !file.is_empty() => Some(SourceSpec::Replay(PathBuf::from(file))),
        _ => None,
    }
}

/// Drives that the `smart` source reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SmartDevices {
    /// Those that `smartctl --scan-open` finds.
    pub(crate) is_scanning: bool,
    pub(crate) listed: Vec<SmartTarget>,
}

pub(super) fn smart_devices<'de, D: Deserializer<'de>>(from: D) -> Result<SmartDevices, D::Error> {
    let expected = || D::Error::custom("a list such as [\"scan\", \"/dev/sda\", \"/dev/bus/0=megaraid,3\"]");
    let listed = Vec::<String>::deserialize(from).map_err(|_| expected())?;
    let mut parts: Vec<String> = Vec::new();
    for part in listed.join(",").split(',').map(str::trim).filter(|part| !part.is_empty()) {
        // A type may contain commas: a part that is not a device belongs to the type before it.
        match parts.last_mut() {
            Some(before) if before.contains('=') && !part.starts_with('/') && part != "scan" => {
                *before += &format!(",{part}");
            }
            _ => parts.push(part.to_owned()),
        }
    }
    let mut devices = SmartDevices::default();
    for part in &parts {
        let (path, device_type) = match part.split_once('=') {
            Some((path, device_type)) => (path.trim(), Some(device_type.trim().to_owned())),
            None => (part.as_str(), None),
        };
        match path {
            "scan" if device_type.is_none() => devices.is_scanning = true,
            _ if path.starts_with('/') && device_type.as_deref() != Some("") => {
                devices.listed.push(SmartTarget { path: path.to_owned(), device_type });
            }
            _ => return Err(expected()),
        }
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(parse_duration("5"), Some(Duration::from_secs(5)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!((parse_duration("-1"), parse_duration("")), (None, None));
        assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
        for wrong in ["64 parsecs", "99999999TiB", "é", ""] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }
}
