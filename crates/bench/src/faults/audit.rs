//! The system's own audit: `audit_gaps` of every device, through its reader.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use spindle_core::Timestamp;

use super::messages::{DEVICE_PREFIX, Shape};
use crate::harness::nats::{Address, Connection};

const TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPTS: usize = 5;
const PAGE: u64 = 50;
/// More than the largest clock offset.
const MARGIN: Duration = Duration::from_secs(4 * 86_400);

/// Result of the audit.
#[derive(Clone, Debug, Default)]
pub(super) struct Audit {
    /// Sequence numbers present, of the harness's devices.
    pub(super) n_numbers: u64,
    pub(super) n_complete: u64,
    /// Incomplete devices of the harness, with the reason.
    pub(super) not_complete: Vec<String>,
    /// The same for the daemon's devices. The daemon is killed too, and its messages in flight were not acknowledged.
    pub(super) n_complete_of_daemon: u64,
    pub(super) not_complete_of_daemon: Vec<String>,
}

/// Returns `None` if the program does not support the query.
pub(super) async fn ask(nats: &Address, shape: Shape) -> Result<Option<Audit>> {
    let begin = Timestamp::from_ns(shape.begin_ns);
    let mut params = json!({
        "from": begin.minus(MARGIN).to_string(), "until": begin.plus(MARGIN).to_string(), "limit": PAGE,
    });
    let mut audit = Audit::default();
    loop {
        let answer = page(nats, &params).await?;
        if let Some(message) = answer["message"].as_str().filter(|_| answer["status"] == "error") {
            if message.contains("unknown query_type") {
                return Ok(None);
            }
            bail!("audit_gaps: {message}");
        }
        for row in answer["summary"].as_array().context("audit_gaps has no summary")? {
            audit.add(row);
        }
        // The parameters of the next page.
        let Some(next) = answer["next"].as_object() else { return Ok(Some(audit)) };
        for (name, value) in next {
            params[name] = value.clone();
        }
    }
}

/// Retries, since the reader may just have restarted.
async fn page(nats: &Address, params: &Value) -> Result<Value> {
    let query = json!({ "query_type": "audit_gaps", "params": params }).to_string();
    let mut last = Ok(Value::Null);
    for _ in 0..ATTEMPTS {
        let mut connection = Connection::open(nats).await?;
        let answer = connection.ask("reader.query", query.as_bytes(), TIMEOUT).await;
        last = match answer {
            Ok(received) if !received.has_no_responders() => return Ok(serde_json::from_slice(&received.payload)?),
            Ok(_) => Err(anyhow::anyhow!("no responders on reader.query")),
            Err(error) => Err(error),
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    last
}

impl Audit {
    fn add(&mut self, row: &Value) {
        let (device, state) =
            (row["source_device"].as_str().unwrap_or_default(), row["state"].as_str().unwrap_or_default());
        let describe = || format!("{device}: {state}, {} missing, {} doubled", row["n_missing"], row["n_doubled"]);
        match (device.starts_with(DEVICE_PREFIX), state == "complete") {
            (true, true) => self.n_complete += 1,
            (true, false) => self.not_complete.push(describe()),
            (false, true) => self.n_complete_of_daemon += 1,
            (false, false) => self.not_complete_of_daemon.push(describe()),
        }
        if device.starts_with(DEVICE_PREFIX) {
            self.n_numbers += row["n_numbers"].as_u64().unwrap_or_default();
        }
    }
}
