//! The settings: types, environment variables, flags, defaults and help. The structs, the example file, the table in
//! docs/configuration.md and `spindle config` come from here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use spindle_core::Criticality;
use spindle_store::InfluxVersion;

use super::pace::Pace;
use super::secret::Secret;
use super::value::{self, SmartDevices, SourceSpec, StoreKind};

settings! {
/// The whole configuration.
Config "" {
    /// Directory for persistent data
    data_dir: PathBuf = "spindle-data" ["SPINDLE_DATA_DIR"] flag "data-dir";
    /// Longest time that an orderly shutdown may take
    shutdown_timeout: Duration as "value::duration" = "10s" ["SPINDLE_SHUTDOWN_TIMEOUT"];
} + {
    nats: NatsConfig,
    store: StoreConfig,
    daemon: DaemonConfig,
    writer: WriterConfig,
    reader: ReaderConfig,
    client: ClientConfig,
    detector: DetectorConfig,
    http: HttpConfig,
    health: HealthConfig,
    /// Effective values, for `spindle config`.
    #[serde(skip)]
    values: toml::Table
}

/// Connection to NATS, or the nats-server to start.
NatsConfig "nats." {
    /// Address of a NATS server; without one, `spindle up` starts its own and the other commands find it
    url: Option<String> ["NATS_URL"] flag "nats" shown Address;
    /// User name
    user: Option<String> ["NATS_USER"];
    /// Password
    password: Option<String> ["NATS_PASSWORD"] shown Secret;
    /// Credentials file
    creds: Option<PathBuf> ["NATS_CREDS"];
    /// File with an nkey seed
    nkey: Option<PathBuf> ["NATS_NKEY"];
    /// File with the certificate authorities to trust
    ca: Option<PathBuf> ["NATS_CA"];
    /// Client certificate
    cert: Option<PathBuf> ["NATS_CERT"];
    /// Key of the client certificate
    key: Option<PathBuf> ["NATS_KEY"];
    /// Longest wait for NATS at startup
    connect_timeout: Duration as "value::duration" = "30s" ["SPINDLE_NATS_CONNECT_TIMEOUT"];
    /// nats-server program that `spindle up` starts
    server: PathBuf = "nats-server" ["SPINDLE_NATS_SERVER"];
    /// Port of the started nats-server; if it is taken, a free one is used; 0 takes any
    port: u16 as "value::integer::<0, 65_535, _, _>" = 4222 ["SPINDLE_NATS_PORT"];
    /// Let everybody on this machine connect to the started nats-server without a password; otherwise clients need the
    /// address in run.json, which contains user and password
    allow_anonymous: bool = false ["SPINDLE_NATS_ALLOW_ANONYMOUS"];
    /// Maximum size of the stream METRICS
    metrics_bytes: u64 as "value::size" = "4GiB" ["SPINDLE_METRICS_BYTES"];
    /// Maximum size of the stream EVENTS
    events_bytes: u64 as "value::size" = "1GiB" ["SPINDLE_EVENTS_BYTES"];
    /// Maximum size of the stream DEADLETTER
    deadletter_bytes: u64 as "value::size" = "1GiB" ["SPINDLE_DEADLETTER_BYTES"];
}

/// Store backend; empty texts are unset.
StoreConfig "store." {
    /// Store backend: embedded or influxdb; without it, influxdb if INFLUXDB_HOST is set, else embedded
    kind: Option<StoreKind> ["SPINDLE_STORE"] flag "store";
    /// Address of an InfluxDB 1, 2 or 3 or of an openGemini, such as http://localhost:8086; several of one store are
    /// separated by commas, any of them serves
    influxdb_host: String = "" ["INFLUXDB_HOST"] shown Address;
    /// Bucket (2) or database (1, 3, openGemini); created if missing
    influxdb_bucket: String = "spindle" ["INFLUXDB_BUCKET"];
    /// Organization (2)
    influxdb_org: String = "" ["INFLUXDB_ORG"];
    /// Token (2, 3)
    influxdb_token: String = "" ["INFLUXDB_TOKEN"] shown Secret;
    /// User name (1, openGemini)
    influxdb_username: String = "" ["INFLUXDB_USERNAME"];
    /// Password of that user (1)
    influxdb_password: String = "" ["INFLUXDB_PASSWORD"] shown Secret;
    /// Version of InfluxDB: 1, 2 or 3, or opengemini; auto asks the server
    influxdb_version: Option<InfluxVersion> as "value::influx_version" = "auto" ["INFLUXDB_VERSION"];
    /// Number of copies of a new database (openGemini); default: the server's, one
    influxdb_replication: Option<u32> as "value::copies" = "" ["INFLUXDB_REPLICATION"];
    /// Age at which data is deleted, counted from its own time (when it was measured, not when it arrived); what is
    /// older on arrival becomes a dead letter; off keeps everything
    retention: Option<Duration> as "value::retention" = "off" ["SPINDLE_RETENTION"];
}

/// Sources and publishing.
#[derive(Debug)]
DaemonConfig "daemon." {
    /// Sources to collect from: simulate, host, smart, replay:FILE
    sources: Vec<SourceSpec> as "value::sources" = ["simulate", "host"] ["SPINDLE_SOURCES"] flag "source";
    /// Time between two collections
    interval: Duration as "value::interval" = "2s" ["GENERATION_INTERVAL_SECONDS", "SPINDLE_INTERVAL"] flag "interval";
    /// Maximum number of metrics in a message; 1 for consumers that accept only single objects
    metrics_per_message: usize as "value::integer::<1, 5_000, _, _>" = 500 ["SPINDLE_METRICS_PER_MESSAGE"] flag "metrics-per-message";
    /// Memory of the buffer for NATS outages; when it is full, the oldest metrics are dropped and counted
    buffer_bytes: usize as "value::size" = "64MiB" ["SPINDLE_BUFFER_BYTES"];
    /// Number of simulated devices
    devices: usize as "value::integer::<0, 100_000, _, _>" = 10 ["SPINDLE_DEVICES"] flag "devices";
    /// Seed of the simulated fleet: the same seed gives the same fleet
    seed: u64 as "value::integer::<0, { i64::MAX as u64 }, _, _>" = 1 ["SPINDLE_SEED"] flag "seed";
    /// Length of the past that the simulated fleet gives at once when it starts for the first time and nothing was ever
    /// published, up to 24h; shorter from 105 devices on, none beyond 2,500; 0 for none
    past: Option<Duration> as "value::past" = "24h" ["SPINDLE_SIMULATED_PAST"] flag "past";
    /// Speed of a replay: 1x as recorded, 60x sixty times faster, max without waiting
    replay_speed: Pace as "value::pace" = "max" ["SPINDLE_REPLAY_SPEED"] flag "replay-speed";
    /// Shift the timestamps of a recording so that it begins now
    replay_shift_to_now: bool = false ["SPINDLE_REPLAY_SHIFT_TO_NOW"] flag "replay-shift-to-now";
    /// smartctl program of the source smart
    smart_program: PathBuf = "smartctl" ["SPINDLE_SMARTCTL"];
    /// Drives that the source smart reads: scan finds them; others as PATH, or PATH=TYPE with a type of `smartctl -d`,
    /// such as /dev/bus/0=megaraid,3
    smart_devices: SmartDevices as "value::smart_devices" = ["scan"] ["SPINDLE_SMART_DEVICES"];
    /// Time between two readings of SMART data
    smart_interval: Duration as "value::interval" = "5m" ["SPINDLE_SMART_INTERVAL"];
    /// Longest time that one drive may take to answer; one that takes longer is left alone for some readings
    smart_timeout: Duration as "value::interval" = "30s" ["SPINDLE_SMART_TIMEOUT"];
}

/// Batches on their way from the streams to the store.
#[derive(Debug)]
WriterConfig "writer." {
    /// Maximum number of messages in a batch
    batch_messages: usize as "value::integer::<1, 10_000, _, _>" = 2000 ["SPINDLE_BATCH_MESSAGES"];
    /// Maximum size of a batch
    batch_bytes: usize as "value::bytes::<{ 1 << 20 }, { 256 << 20 }, _, _>" = "8MiB" ["SPINDLE_BATCH_BYTES"];
    /// Longest time that metrics wait for a batch to fill; events never wait
    batch_age: Duration as "value::duration" = "100ms" ["SPINDLE_BATCH_AGE"];
    /// Maximum number of batches in flight to the store for each stream; the embedded store takes at most 2
    batches_in_flight: usize as "value::integer::<1, 16, _, _>" = 4 ["SPINDLE_BATCHES_IN_FLIGHT"];
    /// How far back acknowledged messages are kept in the streams and written again after the store came back with less
    replay_tail: Duration as "value::duration" = "1h" ["SPINDLE_REPLAY_TAIL"];
}

/// Queries over NATS.
ReaderConfig "reader." {
    /// Subject on which the reader answers queries
    subject: String as "value::subject" = "reader.query" ["NATS_SUBJECT_REQUEST", "SPINDLE_READER_SUBJECT"];
}

/// Logging of critical events.
#[derive(Debug)]
ClientConfig "client." {
    /// Log file of critical events; default: logs/critical-events.ndjson in the data directory
    log: Option<PathBuf> ["SPINDLE_CLIENT_LOG"] flag "log";
    /// Time between two queries
    interval: Duration as "value::interval" = "10s" ["SPINDLE_CLIENT_INTERVAL"] flag "interval";
    /// Lowest criticality to log, 1 to 10
    min_criticality: Criticality as "value::criticality" = 8 ["CLIENT_MIN_CRITICALITY"] flag "min-criticality";
    /// Size at which the log file is rotated
    log_max_bytes: u64 as "value::bytes::<4096, { u64::MAX }, _, _>" = "16MiB" ["SPINDLE_CLIENT_LOG_MAX_BYTES"];
    /// Number of rotated log files to keep
    log_max_files: usize as "value::integer::<1, 1_000, _, _>" = 5 ["SPINDLE_CLIENT_LOG_MAX_FILES"];
}

/// Judgement of the streams while they flow.
#[derive(Debug)]
DetectorConfig "detector." {
    /// Run the detector in `spindle up`; off if it runs as a process of its own, or nobody wants its events
    enabled: bool = true ["SPINDLE_DETECTOR_ENABLED"] flag "no-detector";
    /// Time between two saves of its state; after a kill, what came since the last one is judged again
    save_interval: Duration as "value::interval" = "5m" ["SPINDLE_DETECTOR_SAVE_INTERVAL"];
}

/// The HTTP server.
HttpConfig "http." {
    /// Address of the HTTP server; beyond the loopback address a token is required; port 0 takes any free one
    listen: SocketAddr as "value::listen" = "127.0.0.1:8080" ["SPINDLE_HTTP"] flag "http";
    /// Token that HTTP requires, at least 16 characters: `Authorization: Bearer TOKEN`, or in a browser the password,
    /// with any user name
    token: Option<Secret> ["SPINDLE_HTTP_TOKEN"] shown Secret;
    /// File with that token, instead of the token itself
    token_file: Option<PathBuf> ["SPINDLE_HTTP_TOKEN_FILE"];
    /// Address of a Grafana with Spindle's dashboards as a browser reaches it, such as http://localhost:3000; the page of
    /// a device then links to its dashboard
    grafana_url: Option<String> as "value::page_address" = "" ["SPINDLE_GRAFANA_URL"] shown Address;
}

/// Health probes of a standalone role.
HealthConfig "health." {
    /// Address of the health probes and Prometheus metrics of a standalone role, such as 127.0.0.1:8081; it serves no
    /// data, so it needs no token on any address; `up` and `web` serve them with their HTTP, `web` here too
    listen: Option<SocketAddr> as "value::optional_listen" = "" ["SPINDLE_HEALTH"];
}
}
