//! Loads of the roles that answer and ask: reader, web, client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use spindle_bus::{Endpoint, Reply, ServiceLimits, serve};
use spindle_core::{Batch, Timestamp};
use spindle_store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Stage, until};

/// Queries that the hanging store never answers, so that every turn is taken.
const STUCK_QUERIES: usize = 200;
/// Pause of a slow reader between two pieces of an answer.
const READ_PAUSE: Duration = Duration::from_millis(20);
/// End of the values in a large answer.
const UNTIL: Timestamp = Timestamp::from_seconds(1_790_000_000);
/// Alerts in one answer of the reader.
const PAGE: usize = 2_000;

/// Sends queries of some size at once to a reader whose store hangs.
pub(super) async fn queries(stage: &Stage<'_>, n_queries: usize, n_bytes: usize) -> Result<u64> {
    let mut reader = stage.start_hanging()?;
    let bus = stage.bus("bench").await?;
    let mut asked = JoinSet::new();
    let mut large = br#"{"query_type":"devices"}"#.to_vec();
    large.resize(n_bytes, b' ');
    let large = Bytes::from(large);
    let small = Bytes::from_static(br#"{"query_type":"devices"}"#);
    // The process is there before it is subscribed. The answer to this one needs no store.
    let ping = || bus.request("reader.query", Bytes::from_static(b"{}"), Duration::from_secs(1));
    while ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for payload in std::iter::repeat_n(small, STUCK_QUERIES).chain(std::iter::repeat_n(large, n_queries)) {
        let bus = bus.clone();
        asked.spawn(async move { bus.request("reader.query", payload, Duration::from_secs(12)).await.is_ok() });
    }
    let mut n_answered = 0;
    while let Some(answered) = asked.join_next().await {
        n_answered += usize::from(answered?);
    }
    ensure!(n_answered > 0, "the reader answered none of {n_queries} queries");
    reader.peak_bytes()
}

/// Answers a client with pages of alerts, as a reader does after a long absence.
pub(super) async fn alerts(stage: &Stage<'_>, n_alerts: usize) -> Result<u64> {
    let bus = stage.bus("bench-reader").await?;
    let endpoint =
        Endpoint { name: "query".to_owned(), subject: "reader.query".to_owned(), description: String::new() };
    let limits = ServiceLimits { max_request_bytes: 64 << 10, deadline: Duration::from_secs(60), refuse: |_| None };
    let pages = move |_: usize, query: Bytes| {
        let offset = serde_json::from_slice::<serde_json::Value>(&query)
            .ok()
            .and_then(|query| query["params"]["offset"].as_u64())
            .unwrap_or(0) as usize;
        let end = (offset + PAGE).min(n_alerts);
        let rows = (offset..end).map(|n| {
            serde_json::json!({
                "time": "2026-01-01T00:00:00Z", "event_id": format!("00000000-0000-4000-8000-{n:012}"),
                "source_device": format!("disk-{}", n % 1_000), "event_type": "DriveFailure", "criticality": 9,
                "event_message": "the drive does not answer any more, and this text is as long as such texts are",
            })
        });
        let next = (end < n_alerts).then(|| serde_json::json!({ "offset": end }));
        let answer = serde_json::json!({ "status": "success", "data": rows.collect::<Vec<_>>(), "next": next });
        std::future::ready(Reply { body: answer.to_string().into(), error: None })
    };
    let service = tokio::spawn(async move {
        serve(&bus, ("bench-reader", "1.0.0"), &[endpoint], limits, pages, std::future::pending()).await
    });
    let mut client = stage.start(&[("SPINDLE_CLIENT_INTERVAL", "1s")])?;
    let log = stage.folder.path().join("data/logs");
    let last = format!("{:012}", n_alerts - 1);
    let is_logged = || {
        let files = std::fs::read_dir(&log).into_iter().flatten().flatten();
        let texts = files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
        texts.into_iter().any(|text| text.contains(&last))
    };
    until("the client has logged them", is_logged).await?;
    sleep(Duration::from_secs(5)).await;
    service.abort();
    client.peak_bytes()
}

/// Answers of which each client reads one.
pub(super) async fn large_answers(stage: &Stage<'_>, n_clients: usize) -> Result<u64> {
    fill(stage).await?;
    let mut web = stage.start(&[])?;
    read_slowly(web.address(), n_clients).await?;
    web.peak_bytes()
}

/// Stores the values that [`read_slowly`] asks for in the embedded store of the stage.
pub(super) async fn fill(stage: &Stage<'_>) -> Result<()> {
    const N_VALUES: usize = 200_000;
    let data = stage.folder.path().join("data");
    std::fs::create_dir_all(&data)?;
    let store = Store::open_embedded(&data.join("spindle.db")).await?;
    let metrics = crate::metrics("disk", N_VALUES, UNTIL)?;
    for values in metrics.chunks(10_000) {
        store.write(Arc::new(Batch { metrics: values.to_vec(), events: Vec::new() }), UNTIL).await?;
    }
    Ok(store.close().await?)
}

/// Connects many clients that ask for large answers and read them slowly.
pub(super) async fn read_slowly(address: &str, n_clients: usize) -> Result<()> {
    let query = format!(
        "/api/v1/query?query_type=series&source_device=disk&metric_type=DiskTemp&bucket_seconds=0.03&since_minutes=4&until={UNTIL}"
    );
    let n_read = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..n_clients {
        let (address, query, n_read) = (address.to_owned(), query.clone(), n_read.clone());
        readers.spawn(async move {
            let mut stream = TcpStream::connect(&address).await?;
            let head = format!("GET {query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut piece = vec![0; 64 << 10];
            while stream.read(&mut piece).await? > 0 {
                n_read.fetch_add(1, Ordering::Relaxed);
                sleep(READ_PAUSE).await;
            }
            std::io::Result::Ok(())
        });
    }
    // A client that is refused or cut off is part of the load.
    while readers.join_next().await.is_some() {}
    ensure!(n_read.load(Ordering::Relaxed) > n_clients, "the web answered almost nothing");
    Ok(())
}
