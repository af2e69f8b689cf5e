//! `spindle accept` and `spindle acknowledge`: publish an operator's decision as an event.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use spindle_bus::{Bus, EVENTS_SUBJECT};
use spindle_core::decision::{AcceptedFinding, Decision, MAX_DECISION};
use spindle_core::wire::{self, MAX_LABEL_BYTES, MAX_MESSAGE_BYTES};
use spindle_core::{DeviceName, EventId, MetricType, Timestamp};
use uuid::Uuid;

use crate::cli::DecisionTask;
use crate::clock;
use crate::config::{self, Config};
use crate::data_dir::run_file;
use crate::outcome::Outcome;
use crate::output;

const TIMEOUT: Duration = Duration::from_secs(10);
/// A finding that does not get worse may stay accepted for long; nobody works on a device for months.
const ACCEPTED_FOR: Duration = Duration::from_secs(365 * 86_400);
const ACKNOWLEDGED_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Publishes the decision; returns once JetStream has it.
pub(crate) async fn run(config: &Config, task: DecisionTask) -> Result<Outcome> {
    let DecisionTask { device, metric, reason, until } = task;
    let now = clock::now();
    let usual = if metric.is_some() { ACCEPTED_FOR } else { ACKNOWLEDGED_FOR };
    let until = until.map_or_else(|| Ok(whole_second(now.plus(usual))), |text| end(&text, now))?;
    if reason.trim().is_empty() || reason.len() > MAX_MESSAGE_BYTES {
        bail!("--reason is empty or longer than {MAX_MESSAGE_BYTES} bytes: say in a sentence why");
    }
    let mut settings = run_file::nats_settings(config)?;
    settings.connect_timeout = TIMEOUT;
    let bus = Bus::connect_with_notice(&settings, "spindle-decide", output::message)
        .await
        .context("is the system running?")?;
    let health = health(&bus, config, &device).await?;
    let device = DeviceName::new(health["device"].as_str().unwrap_or(&device))?;
    if health["last_seen"].is_null() {
        bail!("no device '{}': `spindle query devices` lists them", output::safe(&device));
    }
    let accepts = metric.map(|metric| finding(&health, &metric)).transpose()?;
    let said = said(&device, accepts.as_ref(), until, now);
    let event = Decision { device, accepts, reason, until }.into_event(EventId::from(Uuid::new_v4()), now);
    let id = event.identity().message_id();
    bus.publish_acknowledged(EVENTS_SUBJECT, &id, wire::encode_event(&event).into()).await?;
    output::data(format!("{}\n", output::safe(&said)).as_bytes())?;
    Ok(Outcome::Good)
}

/// Asks the reader for the verdict, which also resolves an alias.
async fn health(bus: &Bus, config: &Config, device: &str) -> Result<Value> {
    let query = json!({ "query_type": "device_health", "params": { "source_device": device } });
    let reply = bus.request(&config.reader.subject, query.to_string().into(), TIMEOUT).await?;
    let mut response: Value = serde_json::from_slice(&reply).context("the reader's response is not JSON")?;
    if response["status"] == "error" {
        bail!("{}", response["message"].as_str().unwrap_or("the reader gave no reason"));
    }
    Ok(response["data"].take())
}

/// Returns the finding of the verdict that is to be accepted, with its value; a fault's value is no measure.
fn finding(health: &Value, metric: &str) -> Result<AcceptedFinding> {
    let reasons = health["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = reasons.iter().find(|reason| reason["metric"] == metric) else {
        let names: Vec<&str> = reasons.iter().filter_map(|reason| reason["metric"].as_str()).collect();
        let names = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        bail!("no finding '{}' in the verdict on this device: {}", output::safe(metric), output::safe(&names));
    };
    if metric.len() > MAX_LABEL_BYTES {
        bail!("the name of the finding is longer than {MAX_LABEL_BYTES} bytes");
    }
    let is_measured = !found["limit"].is_null() || !found["raw"].is_null();
    let value = found["value"].as_f64().or(found["raw"].as_f64()).filter(|_| is_measured);
    Ok(AcceptedFinding { metric: MetricType::new(metric)?, value })
}

/// Parses the end of a decision: a time, or a duration from now.
fn end(text: &str, now: Timestamp) -> Result<Timestamp> {
    let until = match (config::parse_duration(text), Timestamp::parse(text)) {
        (Some(duration), _) => whole_second(now.plus(duration)),
        (None, Ok(time)) => time,
        (None, Err(_)) => {
            bail!("--until '{text}' is neither a time such as 2027-01-31T00:00:00Z nor a duration such as 30d")
        }
    };
    if until > now.plus(MAX_DECISION) {
        bail!("--until is more than {} days away: decide again then", MAX_DECISION.as_secs() / 86_400);
    }
    Ok(until)
}

/// Rounds down: nobody means nanoseconds, and a duration of zero must be over.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_seconds(time.as_ns().div_euclid(1_000_000_000))
}

fn said(device: &DeviceName, accepts: Option<&AcceptedFinding>, until: Timestamp, now: Timestamp) -> String {
    let ended = until <= now;
    match accepts {
        Some(AcceptedFinding { metric, .. }) if ended => format!("{metric} of {device} counts again"),
        Some(AcceptedFinding { metric, value: Some(value) }) => {
            format!("accepted: {metric} of {device} up to {value}, until {until}")
        }
        Some(AcceptedFinding { metric, value: None }) => {
            format!("accepted: {metric} of {device}, until {until} or until it happens again")
        }
        None if ended => format!("{device} is no longer acknowledged"),
        None => format!("acknowledged: {device}, until {until}"),
    }
}
