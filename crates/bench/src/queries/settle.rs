//! Settled state of an InfluxDB 1: its cache is empty, and each shard is one file.
//!
//! Until then, each query goes through all that the cache holds of its series, and through each file that overlaps its
//! window, whatever the window.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::sleep;

use crate::harness::http;
use crate::print;

/// A server writes its cache to a file after 10 minutes without writes, unless configured otherwise.
const PATIENCE: Duration = Duration::from_secs(900);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a server holds of the databases of this run.
#[derive(Debug, Default, PartialEq)]
struct Held {
    /// Shards, each reported by its cache and by its files.
    n_shards: u64,
    cached_bytes: u64,
    /// Files of the shard that has the most.
    n_files: u64,
}

impl Held {
    fn is_settled(&self) -> bool {
        self.n_shards > 0 && self.cached_bytes == 0 && self.n_files <= 1
    }
}

/// Waits until a server is settled. If that takes too long, says so and returns.
pub(super) async fn wait(host: &str, database_prefix: &str) -> Result<()> {
    print("waiting until all is in files: INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION=30s shortens it");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = ask(host, database_prefix).await?;
        if held.is_settled() {
            return Ok(());
        }
        if Instant::now() > deadline {
            print(&format!("not settled after {PATIENCE:?}: {held:?}"));
            return Ok(());
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn ask(host: &str, database_prefix: &str) -> Result<Held> {
    let address = host.trim_start_matches("http://").trim_end_matches('/');
    let mut held = Held::default();
    for module in ["tsm1_cache", "tsm1_filestore"] {
        let path = format!("/query?q=SHOW%20STATS%20FOR%20'{module}'");
        let (status, body) = http::get(address, &path, RESPONSE_TIMEOUT).await?;
        ensure!(status == 200, "{status} {body}");
        add(&mut held, &serde_json::from_str(&body)?, database_prefix)?;
    }
    Ok(held)
}

/// Adds the response to one `SHOW STATS`.
fn add(held: &mut Held, response: &Value, database_prefix: &str) -> Result<()> {
    let series = response["results"][0]["series"].as_array().context("no statistics of shards")?;
    let is_ours = |series: &&Value| {
        series["tags"]["database"].as_str().is_some_and(|database| database.starts_with(database_prefix))
    };
    for shard in series.iter().filter(is_ours) {
        let columns = shard["columns"].as_array().context("columns")?;
        let figure = |name: &str| {
            let column = columns.iter().position(|column| column == name)?;
            shard["values"][0][column].as_u64()
        };
        held.n_shards += 1;
        held.cached_bytes += figure("memBytes").unwrap_or(0);
        held.n_files = held.n_files.max(figure("numFiles").unwrap_or(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_settled_once_its_cache_is_empty_and_each_shard_is_one_file() {
        let shard = |database: &str, column: &str, figure: u64| json!({"tags": {"database": database}, "columns": ["diskBytes", column], "values": [[7, figure]]});
        let held = |cached: u64, n_files: u64| {
            let mut held = Held::default();
            for (column, figure) in [("memBytes", cached), ("numFiles", n_files)] {
                let series = [shard("ours_1", column, 0), shard("ours_10", column, figure), shard("other", column, 99)];
                add(&mut held, &json!({"results": [{"series": series}]}), "ours_").unwrap();
            }
            held
        };
        assert_eq!(held(5, 3), Held { n_shards: 4, cached_bytes: 5, n_files: 3 });
        assert!(held(0, 1).is_settled());
        assert!(!held(1, 1).is_settled() && !held(0, 2).is_settled() && !Held::default().is_settled());
    }
}
