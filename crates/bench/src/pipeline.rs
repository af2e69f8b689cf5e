//! Pipeline benchmark: from a publisher's ack to the reader's response, through a running system.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use spindle_bus::{BufferLimits, Bus, Credentials, METRICS_SUBJECT, NatsSettings, Outgoing, Publisher};
use spindle_core::{Timestamp, wire};

use crate::{metrics, print, rate};

const TIMEOUT: Duration = Duration::from_secs(300);

pub(crate) async fn run(nats: &str, n_values: usize, per_message: usize) -> Result<()> {
    let settings = NatsSettings {
        url: nats.to_owned(),
        credentials: Credentials::default(),
        connect_timeout: Duration::from_secs(5),
    };
    let bus = Bus::connect(&settings, "spindle-bench").await?;
    // One device per run, so that the response counts only its values.
    let device = format!("bench-{}", std::process::id());
    let until = Timestamp::from_seconds(1_700_000_000);
    let payloads: Vec<_> = metrics(&device, n_values, until)?
        .chunks(per_message.max(1))
        .map(|chunk| (chunk.len(), wire::encode_metrics(chunk)))
        .collect();
    let (publisher, sending) = Publisher::new(
        // A connection for publishing alone, as in the daemon.
        bus.another_for_publishing("spindle-bench").await?,
        BufferLimits { max_bytes: 16 << 20, ..BufferLimits::default() },
    );
    tokio::spawn(sending);
    let started = Instant::now();
    for (index, (n_items, payload)) in payloads.into_iter().enumerate() {
        let message_id = format!("{device}-{index}");
        publisher
            .enqueue_when_room(Outgoing {
                subject: METRICS_SUBJECT,
                message_id,
                payload: payload.into(),
                n_items: n_items as u64,
                urgent: false,
                as_of: None,
            })
            .await;
    }
    publisher.drained().await;
    let published = started.elapsed();
    ensure!(
        publisher.stats().n_acked == n_values as u64,
        "only {} of {n_values} values were acknowledged",
        publisher.stats().n_acked
    );
    wait_until_queryable(&bus, &device, n_values, until).await?;
    let queryable = started.elapsed();
    print(&format!("acknowledged by JetStream  {}", rate(n_values, published)));
    print(&format!(
        "stored and queryable       {}  {:.2} of the rate of acks",
        rate(n_values, queryable),
        published.as_secs_f64() / queryable.as_secs_f64()
    ));
    Ok(())
}

async fn wait_until_queryable(bus: &Bus, device: &str, n_values: usize, until: Timestamp) -> Result<()> {
    let minutes = 1 + n_values / 60_000;
    let query = serde_json::json!({ "query_type": "series", "params": {
        "source_device": device, "metric_type": "DiskTemp", "until": until.to_string(), "since_minutes": minutes, "bucket_seconds": 86_400,
    }});
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let reply = bus.request("reader.query", query.to_string().into(), Duration::from_secs(10)).await?;
        let response: serde_json::Value = serde_json::from_slice(&reply)?;
        let n_stored =
            response["basis"]["n_points"].as_u64().with_context(|| format!("unexpected response {response}"))?;
        if n_stored == n_values as u64 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "only {n_stored} of {n_values} values were stored within {} s",
            TIMEOUT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
