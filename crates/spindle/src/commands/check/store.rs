//! Checks of the store: the file of the embedded one, the server of InfluxDB.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::time::Duration;

use spindle_store::{Store, StoreError};
use tokio::time::timeout;

use super::finding::{Finding, clock_finding};
use crate::config::{Config, StoreKind};
use crate::logging::chain;

/// A server that takes longer is of no use to the writer either.
const TIMEOUT: Duration = Duration::from_secs(10);
const CHECK: &str = "store";
/// First bytes of every SQLite database.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    match config.store_kind() {
        StoreKind::Embedded => vec![embedded(config)],
        StoreKind::Influxdb => influx(config).await,
    }
}

/// Opens the file only: SQLite would create files beside it.
fn embedded(config: &Config) -> Finding {
    let path = config.store_path();
    let name = path.display();
    let mut file = match File::options().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Finding::ok("store", format!("embedded; {name} does not exist yet and will be created"));
        }
        Err(error) => {
            let remedy = "fix its permissions, move it away, or choose another directory with --data-dir";
            return Finding::fail("store", format!("cannot open {name}: {error}"), remedy);
        }
    };
    let mut magic = [0; SQLITE_MAGIC.len()];
    let size_bytes = file.metadata().map_or(0, |metadata| metadata.len());
    match file.read_exact(&mut magic) {
        Ok(()) if &magic == SQLITE_MAGIC => Finding::ok("store", format!("embedded; {name}, {} MiB", size_bytes >> 20)),
        // Created, and not written yet.
        _ if size_bytes == 0 => Finding::ok("store", format!("embedded; {name} is empty")),
        Ok(()) | Err(_) => Finding::fail(
            "store",
            format!("{name} is not a SQLite database"),
            "move it away, or choose another directory with --data-dir",
        ),
    }
}

async fn influx(config: &Config) -> Vec<Finding> {
    let store = match config.influx_settings().and_then(|settings| Ok(Store::open_influx(settings)?)) {
        Ok(store) => store,
        Err(error) => return vec![Finding::fail(CHECK, format!("{error:#}"), "correct the INFLUXDB_ variables")],
    };
    let server = server(config, &store).await;
    let clock = store.server_clock().map(|time| clock_finding("the store", time));
    std::iter::once(server).chain(clock).collect()
}

async fn server(config: &Config, store: &Store) -> Finding {
    let database = &config.store.influxdb_bucket;
    match timeout(TIMEOUT, store.probe()).await {
        Ok(Ok(exists)) => {
            let state =
                if exists { "exists" } else { "does not exist yet, or not for these credentials, and will be created" };
            let detail = format!("InfluxDB; database '{database}' {state}");
            let away = away(store);
            if away.is_empty() {
                return Finding::ok(CHECK, detail);
            }
            let remedy = "start what is away, or remove its address from INFLUXDB_HOST";
            Finding::warn(CHECK, format!("{detail}; passed over: {}", away.join("; ")), remedy)
        }
        Ok(Err(error)) => {
            let remedy = remedy(&error);
            Finding::fail(CHECK, chain(error), remedy)
        }
        Err(_) => {
            let away = away(store);
            let detail = format!("no answer to a query within {} s", TIMEOUT.as_secs());
            let detail = if away.is_empty() { detail } else { format!("{detail}; passed over: {}", away.join("; ")) };
            Finding::fail(CHECK, detail, "start InfluxDB, or correct INFLUXDB_HOST")
        }
    }
}

/// Lists the addresses that requests pass over, each with the reason.
fn away(store: &Store) -> Vec<String> {
    let of = |status: spindle_store::AddressStatus| Some(format!("{} ({})", status.address, status.problem?));
    store.addresses().into_iter().filter_map(of).collect()
}

/// Returns the remedy that fits the error: a server that answered is not to be started.
fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable { responded: false, .. } => "start InfluxDB, or correct INFLUXDB_HOST",
        StoreError::Unavailable { .. } => "wait until the server is ready; its own log says why it is not",
        _ => {
            "correct what the answer names: INFLUXDB_HOST, or the credentials (INFLUXDB_TOKEN, or INFLUXDB_USERNAME and INFLUXDB_PASSWORD)"
        }
    }
}
