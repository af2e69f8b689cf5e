//! The reader's answers, as far as the view reads them, and the questions that get them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spindle_bus::Bus;
use spindle_core::Timestamp;
use tokio::time::Instant;

use super::fleet::{Columns, Fleet};

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Most incidents that are asked for; those that are closed come last.
const MAX_INCIDENTS: u32 = 200;
/// Most critical events: more than fit a large terminal.
const MAX_EVENTS: u32 = 100;
/// A day, in minutes.
const EVENT_MINUTES: u32 = 24 * 60;

/// Everything that the reader answered at one time.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) fleet: Fleet,
    /// Worst first, without those that are closed.
    pub(super) incidents: Vec<Incident>,
    /// Critical events of the last 24 hours, newest first.
    pub(super) events: Vec<EventRow>,
    /// Time of the question: nothing that happened later is in the answer.
    pub(super) asked: Instant,
}

/// One cause with the devices that it concerns.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Incident {
    pub(super) state: String,
    pub(super) cause: String,
    pub(super) health: String,
    pub(super) source_device: String,
    pub(super) devices: Vec<String>,
    pub(super) place: BTreeMap<String, String>,
    pub(super) since: Timestamp,
    pub(super) advice: Option<String>,
    pub(super) reasons: Vec<IncidentCause>,
}

/// Fault of an incident.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct IncidentCause {
    pub(super) why: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct EventRow {
    pub(super) time: Timestamp,
    pub(super) source_device: String,
    pub(super) event_type: String,
    pub(super) criticality: u8,
    pub(super) event_message: Option<String>,
}

#[derive(Deserialize)]
struct FleetReply {
    data: Columns,
    basis: AsOf,
}

#[derive(Deserialize)]
struct AsOf {
    until: Timestamp,
}

#[derive(Deserialize)]
struct Listed<T> {
    data: Vec<T>,
}

/// Asks the reader for everything at once.
///
/// # Errors
/// If one of the answers is missing, refused or not understood: half a picture is none.
pub(super) async fn ask(bus: &Bus, subject: &str) -> Result<Picture> {
    let asked = Instant::now();
    ensure!(bus.is_connected(), "the connection to NATS is lost and not back yet");
    let events = json!({ "since_minutes": EVENT_MINUTES, "limit": MAX_EVENTS });
    let (fleet, incidents, events) = tokio::try_join!(
        one::<FleetReply>(bus, subject, "fleet", json!({})),
        one::<Listed<Incident>>(bus, subject, "incidents", json!({ "limit": MAX_INCIDENTS })),
        one::<Listed<EventRow>>(bus, subject, "alerts_critical", events),
    )?;
    let mut incidents = incidents.data;
    incidents.retain(|incident| incident.state != "closed");
    Ok(Picture { fleet: Fleet::new(fleet.data, fleet.basis.until), incidents, events: events.data, asked })
}

async fn one<T: DeserializeOwned>(bus: &Bus, subject: &str, query_type: &str, params: Value) -> Result<T> {
    let question = json!({ "query_type": query_type, "params": params }).to_string();
    let reply = bus.request(subject, question.into(), ANSWER_TIMEOUT).await?;
    read(&reply).with_context(|| format!("the query {query_type} failed"))
}

/// Reads an answer. An error of the reader is an error here.
pub(super) fn read<T: DeserializeOwned>(reply: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Outcome {
        status: String,
        #[serde(default)]
        message: Option<String>,
    }
    let outcome: Outcome = serde_json::from_slice(reply).context("the reader's answer is not understood")?;
    if outcome.status == "error" {
        bail!("{}", outcome.message.unwrap_or_else(|| "the reader gave no reason".to_owned()));
    }
    serde_json::from_slice(reply).context("the reader's answer is not understood; is it of another version?")
}
