//! `spindle accept` and `spindle acknowledge`: publish an operator's decision as an event.

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use serde_json::Value;
use spindle_bus::Bus;

use crate::clock;
use crate::config::{self, Config};
use crate::data_dir::run_file;
use crate::decision_service::{self, DecisionError, DecisionRequest, PublishedDecision};
use crate::outcome::Outcome;
use crate::output;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes the decision; returns once JetStream has it.
pub(crate) async fn run(config: &Config, mut request: DecisionRequest) -> Result<Outcome> {
    request.by = request.by.or_else(config::login_name);
    let checked = request.check(clock::now()).map_err(in_words)?;
    let mut settings = run_file::nats_settings(config)?;
    settings.connect_timeout = TIMEOUT;
    let bus = Bus::connect_with_notice(&settings, "spindle-decide", output::message)
        .await
        .context("is the system running?")?;
    let reply = bus.request(&config.reader.subject, checked.query().into(), TIMEOUT).await?;
    let answer: Value = serde_json::from_slice(&reply).context("the reader's response is not JSON")?;
    let decision = checked.against(&answer).map_err(in_words)?;
    let published = decision_service::publish(&bus, decision).await.map_err(in_words)?;
    output::data(format!("{}\n", output::safe(&said(&published))).as_bytes())?;
    Ok(Outcome::Good)
}

/// Names the argument in place of the field.
fn in_words(error: DecisionError) -> Error {
    anyhow!(error.message(|field| match field {
        "source_device" => "DEVICE".to_owned(),
        "metric" => "METRIC".to_owned(),
        option => format!("--{option}"),
    }))
}

fn said(published: &PublishedDecision) -> String {
    let PublishedDecision { device, metric, value, since, until, .. } = published;
    let ended = until <= since;
    match (metric, value) {
        (Some(metric), _) if ended => format!("{metric} of {device} counts again"),
        (Some(metric), Some(value)) => format!("accepted: {metric} of {device} up to {value}, until {until}"),
        (Some(metric), None) => format!("accepted: {metric} of {device}, until {until} or until it happens again"),
        (None, _) if ended => format!("{device} is no longer acknowledged"),
        (None, _) => format!("acknowledged: {device}, until {until}"),
    }
}
