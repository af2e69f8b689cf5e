//! How the texts of settings are read and shown, where that is more than a number or a duration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use spindle_core::Criticality;

use super::value::duration;
use super::{SourceSpec, StoreKind};
use crate::sources::replay::Pace;

/// Assigns what a reader gives.
pub(super) fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    value.map(|value| *place = value)
}

pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

pub(super) fn store_kind(text: &str) -> Result<StoreKind, String> {
    match text {
        "embedded" => Ok(StoreKind::Embedded),
        "influxdb" => Ok(StoreKind::Influxdb),
        _ => Err("embedded or influxdb".to_owned()),
    }
}

pub(super) fn retention(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    let kept = duration(text).map_err(|expected| format!("off, or {expected}"))?;
    if kept < Duration::from_secs(60) { Err("off, or at least 60s".to_owned()) } else { Ok(Some(kept)) }
}

pub(super) fn sources(text: &str) -> Result<Vec<SourceSpec>, String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        // A file's name may hold commas: what begins no source of its own belongs to the one before.
        match parts.last_mut() {
            Some(before) if before.starts_with("replay:") && source(part.trim()).is_err() => {
                *before += &format!(",{part}")
            }
            _ => parts.push(part.trim().to_owned()),
        }
    }
    parts.iter().filter(|part| !part.is_empty()).map(|part| source(part)).collect()
}

fn source(text: &str) -> Result<SourceSpec, String> {
    match (text, text.strip_prefix("replay:")) {
        ("simulate", _) => Ok(SourceSpec::Simulate),
        ("host", _) => Ok(SourceSpec::Host),
        (_, Some(file)) if !file.is_empty() => Ok(SourceSpec::Replay(PathBuf::from(file))),
        _ => Err("simulate, host or replay:FILE".to_owned()),
    }
}

pub(super) fn show_source(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Simulate => "simulate".to_owned(),
        SourceSpec::Host => "host".to_owned(),
        SourceSpec::Replay(path) => format!("replay:{}", path.display()),
    }
}

pub(super) fn show_pace(pace: Pace) -> String {
    match pace {
        Pace::Original => "1x".to_owned(),
        Pace::Times(factor) => format!("{factor}x"),
        Pace::AsFast => "max".to_owned(),
    }
}

pub(super) fn subject(text: &str) -> Result<String, String> {
    let good = !text.is_empty()
        && text.split('.').all(|token| {
            !token.is_empty() && !token.contains(|letter: char| letter.is_whitespace() || "*>".contains(letter))
        });
    if good { Ok(text.to_owned()) } else { Err("a NATS subject without wildcards, such as reader.query".to_owned()) }
}

pub(super) fn criticality(text: &str) -> Result<Criticality, String> {
    text.parse().ok().and_then(Criticality::new).ok_or_else(|| "a whole number from 1 to 10".to_owned())
}

/// Whether an address may be listened on without a token is judged when a role listens.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_| "an address such as 127.0.0.1:8080".to_owned())
}

pub(super) fn health_listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() { Ok(None) } else { listen(text).map(Some) }
}
