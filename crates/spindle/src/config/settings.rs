//! The table of settings: key, flag, environment variables, default, and how each is read and shown.
//! The example file, `spindle config` and every error message come from here.

use std::path::PathBuf;

use super::setting::{Setting, setting};
use super::texts::{
    criticality, health_listen, listen, put, retention, show_duration, show_pace, show_source, sources, store_kind,
    subject,
};
use super::value::{Kind, bytes, duration, integer, interval, show_bytes};
use super::{Secret, StoreKind, without_userinfo};

macro_rules! path_setting {
    ($key:literal, $env:literal, $help:literal, $field:ident) => {
        setting(
            $key,
            &[$env],
            "",
            Kind::Text,
            $help,
            |config, text| {
                config.nats.credentials.$field = Some(PathBuf::from(text));
                Ok(())
            },
            |config| {
                config.nats.credentials.$field.as_ref().map_or_else(String::new, |path| path.display().to_string())
            },
        )
    };
}

/// A text about the InfluxDB.
macro_rules! influxdb {
    ($key:literal, $env:literal, $default:literal, $help:literal, $field:ident) => {
        setting(
            $key,
            &[$env],
            $default,
            Kind::Text,
            $help,
            |config, text| {
                config.store.influxdb.$field = text.to_owned();
                Ok(())
            },
            |config| config.store.influxdb.$field.clone(),
        )
    };
}

/// Where HTTP answers unless it is told otherwise.
pub(crate) const DEFAULT_HTTP: &str = "127.0.0.1:8080";

/// Every setting, section by section.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "data_dir",
        &["SPINDLE_DATA_DIR"],
        "spindle-data",
        Kind::Text,
        "where everything is kept that outlives the program",
        |config, text| {
            config.data_dir = PathBuf::from(text);
            Ok(())
        },
        |config| config.data_dir.display().to_string(),
    )
    .flag("data-dir"),
    setting(
        "shutdown_timeout",
        &["SPINDLE_SHUTDOWN_TIMEOUT"],
        "10s",
        Kind::Duration,
        "how long an orderly stop may take",
        |config, text| put(&mut config.shutdown_timeout, duration(text)),
        |config| show_duration(config.shutdown_timeout),
    ),
    setting(
        "nats.url",
        &["NATS_URL"],
        "",
        Kind::Text,
        "address of a NATS server; without one, `spindle up` starts its own and the other commands find it",
        |config, text| {
            config.nats.url = Some(text.to_owned());
            Ok(())
        },
        |config| config.nats.url.as_deref().map_or_else(String::new, without_userinfo),
    )
    .flag("nats"),
    setting(
        "nats.user",
        &["NATS_USER"],
        "",
        Kind::Text,
        "user name",
        |config, text| {
            config.nats.credentials.user = Some(text.to_owned());
            Ok(())
        },
        |config| config.nats.credentials.user.clone().unwrap_or_default(),
    ),
    setting(
        "nats.password",
        &["NATS_PASSWORD"],
        "",
        Kind::Text,
        "password",
        |config, text| {
            config.nats.credentials.password = Some(text.to_owned());
            Ok(())
        },
        |config| config.nats.credentials.password.clone().unwrap_or_default(),
    )
    .secret(),
    path_setting!("nats.creds", "NATS_CREDS", "credentials file", creds),
    path_setting!("nats.nkey", "NATS_NKEY", "file with an nkey seed", nkey),
    path_setting!("nats.ca", "NATS_CA", "file with the certificate authorities to trust", ca),
    path_setting!("nats.cert", "NATS_CERT", "client certificate", cert),
    path_setting!("nats.key", "NATS_KEY", "key of the client certificate", key),
    setting(
        "nats.connect_timeout",
        &["SPINDLE_NATS_CONNECT_TIMEOUT"],
        "30s",
        Kind::Duration,
        "how long to wait for NATS at the start",
        |config, text| put(&mut config.nats.connect_timeout, duration(text)),
        |config| show_duration(config.nats.connect_timeout),
    ),
    setting(
        "nats.server",
        &["SPINDLE_NATS_SERVER"],
        "nats-server",
        Kind::Text,
        "the nats-server program that `spindle up` starts",
        |config, text| {
            config.nats.server = PathBuf::from(text);
            Ok(())
        },
        |config| config.nats.server.display().to_string(),
    ),
    setting(
        "nats.port",
        &["SPINDLE_NATS_PORT"],
        "4222",
        Kind::Integer,
        "port of the started nats-server; another free one is used if it is taken, 0 takes any",
        |config, text| put(&mut config.nats.port, integer(text, 0..=u16::MAX)),
        |config| config.nats.port.to_string(),
    ),
    setting(
        "nats.allow_anonymous",
        &["SPINDLE_NATS_ALLOW_ANONYMOUS"],
        "false",
        Kind::Boolean,
        "whether the started nats-server lets in everybody on this machine; otherwise they need the address in run.json, which has user and password in it",
        |config, text| put(&mut config.nats.allow_anonymous, text.parse().map_err(|_| "true or false".to_owned())),
        |config| config.nats.allow_anonymous.to_string(),
    ),
    setting(
        "nats.metrics_bytes",
        &["SPINDLE_METRICS_BYTES"],
        "4GiB",
        Kind::Bytes,
        "largest size of the stream METRICS",
        |config, text| put(&mut config.nats.limits.metrics_bytes, bytes(text)),
        |config| show_bytes(config.nats.limits.metrics_bytes),
    ),
    setting(
        "nats.events_bytes",
        &["SPINDLE_EVENTS_BYTES"],
        "1GiB",
        Kind::Bytes,
        "largest size of the stream EVENTS",
        |config, text| put(&mut config.nats.limits.events_bytes, bytes(text)),
        |config| show_bytes(config.nats.limits.events_bytes),
    ),
    setting(
        "nats.deadletter_bytes",
        &["SPINDLE_DEADLETTER_BYTES"],
        "1GiB",
        Kind::Bytes,
        "largest size of the stream DEADLETTER",
        |config, text| put(&mut config.nats.limits.dead_letter_bytes, bytes(text)),
        |config| show_bytes(config.nats.limits.dead_letter_bytes),
    ),
    setting(
        "store.kind",
        &["SPINDLE_STORE"],
        "",
        Kind::Text,
        "embedded or influxdb; without it influxdb when INFLUXDB_HOST is set, else embedded",
        |config, text| put(&mut config.store.kind, store_kind(text).map(Some)),
        |config| {
            match config.store_kind() {
                StoreKind::Embedded => "embedded",
                StoreKind::Influxdb => "influxdb",
            }
            .to_owned()
        },
    )
    .flag("store"),
    setting(
        "store.influxdb_host",
        &["INFLUXDB_HOST"],
        "",
        Kind::Text,
        "address of an InfluxDB 1, 2 or 3, such as http://localhost:8086",
        |config, text| {
            config.store.influxdb.host = text.to_owned();
            Ok(())
        },
        |config| without_userinfo(&config.store.influxdb.host),
    ),
    influxdb!(
        "store.influxdb_bucket",
        "INFLUXDB_BUCKET",
        "spindle",
        "its bucket (2) or database (1, 3), made if absent",
        bucket
    ),
    influxdb!("store.influxdb_org", "INFLUXDB_ORG", "", "its organization (2)", org),
    influxdb!("store.influxdb_token", "INFLUXDB_TOKEN", "", "token for it (2, 3)", token).secret(),
    influxdb!("store.influxdb_username", "INFLUXDB_USERNAME", "", "user of it (1)", username),
    influxdb!("store.influxdb_password", "INFLUXDB_PASSWORD", "", "password of that user (1)", password).secret(),
    setting(
        "store.influxdb_version",
        &["INFLUXDB_VERSION"],
        "auto",
        Kind::Word,
        "1, 2 or 3 if it cannot be found by asking the server",
        |config, text| match text {
            "auto" | "1" | "2" | "3" => {
                config.store.influxdb.version = text.to_owned();
                Ok(())
            }
            _ => Err("auto, 1, 2 or 3".to_owned()),
        },
        |config| config.store.influxdb.version.clone(),
    ),
    setting(
        "store.retention",
        &["SPINDLE_RETENTION"],
        "off",
        Kind::Duration,
        "how long what was stored is kept, counted from when it was stored (InfluxDB: from when it was measured); off keeps everything",
        |config, text| put(&mut config.store.retention, retention(text)),
        |config| config.store.retention.map_or_else(|| "off".to_owned(), show_duration),
    ),
    setting(
        "daemon.sources",
        &["SPINDLE_SOURCES"],
        "simulate,host",
        Kind::List,
        "what is collected from: simulate, host, replay:FILE",
        |config, text| put(&mut config.daemon.sources, sources(text)),
        |config| config.daemon.sources.iter().map(show_source).collect::<Vec<_>>().join(","),
    )
    .flag("source"),
    setting(
        "daemon.interval",
        &["GENERATION_INTERVAL_SECONDS", "SPINDLE_INTERVAL"],
        "2s",
        Kind::Duration,
        "time between two collections",
        |config, text| put(&mut config.daemon.interval, interval(text)),
        |config| show_duration(config.daemon.interval),
    )
    .flag("interval"),
    setting(
        "daemon.metrics_per_message",
        &["SPINDLE_METRICS_PER_MESSAGE"],
        "500",
        Kind::Integer,
        "metrics in one message at most; 1 for consumers that know only single objects",
        |config, text| put(&mut config.daemon.metrics_per_message, integer(text, 1..=5_000)),
        |config| config.daemon.metrics_per_message.to_string(),
    )
    .flag("metrics-per-message"),
    setting(
        "daemon.buffer_bytes",
        &["SPINDLE_BUFFER_BYTES"],
        "64MiB",
        Kind::Bytes,
        "how much is held while NATS is away; beyond it the oldest metrics are given up, and counted",
        |config, text| {
            put(&mut config.daemon.buffer_bytes, bytes(text).map(|size| usize::try_from(size).unwrap_or(usize::MAX)))
        },
        |config| show_bytes(config.daemon.buffer_bytes as u64),
    ),
    setting(
        "daemon.devices",
        &["SPINDLE_DEVICES"],
        "10",
        Kind::Integer,
        "simulated devices",
        |config, text| put(&mut config.daemon.n_devices, integer(text, 0..=100_000)),
        |config| config.daemon.n_devices.to_string(),
    )
    .flag("devices"),
    setting(
        "daemon.seed",
        &["SPINDLE_SEED"],
        "1",
        Kind::Integer,
        "seed of the simulated fleet: the same seed, the same fleet",
        |config, text| put(&mut config.daemon.seed, integer(text, 0..=u64::MAX >> 1)),
        |config| config.daemon.seed.to_string(),
    )
    .flag("seed"),
    setting(
        "daemon.replay_speed",
        &["SPINDLE_REPLAY_SPEED"],
        "max",
        Kind::Text,
        "speed of a replay: 1x as recorded, 60x sixty times faster, max as fast as it goes",
        |config, text| {
            put(&mut config.daemon.replay_speed, text.parse().map_err(|_| "1x, 60x, 0.5x or max".to_owned()))
        },
        |config| show_pace(config.daemon.replay_speed),
    )
    .flag("replay-speed"),
    setting(
        "daemon.replay_shift_to_now",
        &["SPINDLE_REPLAY_SHIFT_TO_NOW"],
        "false",
        Kind::Boolean,
        "shift a recording's times so that it begins now",
        |config, text| {
            put(&mut config.daemon.replay_shift_to_now, text.parse().map_err(|_| "true or false".to_owned()))
        },
        |config| config.daemon.replay_shift_to_now.to_string(),
    )
    .flag("replay-shift-to-now"),
    setting(
        "writer.batch_messages",
        &["SPINDLE_BATCH_MESSAGES"],
        "2000",
        Kind::Integer,
        "messages stored at once at most",
        |config, text| put(&mut config.writer.batch_messages, integer(text, 1..=10_000)),
        |config| config.writer.batch_messages.to_string(),
    ),
    setting(
        "writer.batch_bytes",
        &["SPINDLE_BATCH_BYTES"],
        "8MiB",
        Kind::Bytes,
        "bytes of messages stored at once at most",
        |config, text| {
            put(&mut config.writer.batch_bytes, bytes(text).map(|size| (size as usize).clamp(1 << 20, 256 << 20)))
        },
        |config| show_bytes(config.writer.batch_bytes as u64),
    ),
    setting(
        "writer.batch_age",
        &["SPINDLE_BATCH_AGE"],
        "100ms",
        Kind::Duration,
        "how long metrics wait for others before they are stored; events never wait",
        |config, text| put(&mut config.writer.batch_age, duration(text)),
        |config| show_duration(config.writer.batch_age),
    ),
    setting(
        "writer.batches_in_flight",
        &["SPINDLE_BATCHES_IN_FLIGHT"],
        "4",
        Kind::Integer,
        "batches of each stream on their way to the store at once; the embedded store takes 2 at most",
        |config, text| put(&mut config.writer.batches_in_flight, integer(text, 1..=16)),
        |config| config.writer.batches_in_flight.to_string(),
    ),
    setting(
        "writer.replay_tail",
        &["SPINDLE_REPLAY_TAIL"],
        "1h",
        Kind::Duration,
        "how far back acknowledged messages are kept in the streams and written again after the store came back with less",
        |config, text| put(&mut config.writer.replay_tail, duration(text)),
        |config| show_duration(config.writer.replay_tail),
    ),
    setting(
        "reader.subject",
        &["NATS_SUBJECT_REQUEST", "SPINDLE_READER_SUBJECT"],
        "reader.query",
        Kind::Text,
        "subject on which questions are answered",
        |config, text| put(&mut config.reader_subject, subject(text)),
        |config| config.reader_subject.clone(),
    ),
    setting(
        "client.log",
        &["SPINDLE_CLIENT_LOG"],
        "",
        Kind::Text,
        "log file of critical events; without it logs/critical-events.ndjson in the data directory",
        |config, text| {
            config.client.log = Some(PathBuf::from(text));
            Ok(())
        },
        |config| config.client_log().display().to_string(),
    )
    .flag("log"),
    setting(
        "client.interval",
        &["SPINDLE_CLIENT_INTERVAL"],
        "10s",
        Kind::Duration,
        "time between two questions",
        |config, text| put(&mut config.client.interval, interval(text)),
        |config| show_duration(config.client.interval),
    )
    .flag("interval"),
    setting(
        "client.min_criticality",
        &["CLIENT_MIN_CRITICALITY"],
        "8",
        Kind::Integer,
        "criticality from which on events are logged, 1 to 10",
        |config, text| put(&mut config.client.min_criticality, criticality(text)),
        |config| config.client.min_criticality.to_string(),
    )
    .flag("min-criticality"),
    setting(
        "client.log_max_bytes",
        &["SPINDLE_CLIENT_LOG_MAX_BYTES"],
        "16MiB",
        Kind::Bytes,
        "size at which the log file is rotated",
        |config, text| put(&mut config.client.log_max_bytes, bytes(text).map(|size| size.max(4096))),
        |config| show_bytes(config.client.log_max_bytes),
    ),
    setting(
        "client.log_max_files",
        &["SPINDLE_CLIENT_LOG_MAX_FILES"],
        "5",
        Kind::Integer,
        "rotated log files that are kept",
        |config, text| put(&mut config.client.log_max_files, integer(text, 1..=1000)),
        |config| config.client.log_max_files.to_string(),
    ),
    setting(
        "http.listen",
        &["SPINDLE_HTTP"],
        DEFAULT_HTTP,
        Kind::Text,
        "address of the HTTP server; beyond the loopback address a token is needed; port 0 takes any free one",
        |config, text| put(&mut config.http_listen, listen(text)),
        |config| config.http_listen.to_string(),
    )
    .flag("http"),
    setting(
        "http.token",
        &["SPINDLE_HTTP_TOKEN"],
        "",
        Kind::Text,
        "token that HTTP asks for, at least 16 characters: `Authorization: Bearer TOKEN`, or in a browser the password, with any user name",
        |config, text| put(&mut config.http_token, Secret::token(text).map(Some)),
        |config| config.http_token.as_ref().map_or_else(String::new, |token| token.expose().to_owned()),
    )
    .secret(),
    setting(
        "http.token_file",
        &["SPINDLE_HTTP_TOKEN_FILE"],
        "",
        Kind::Text,
        "file with that token, instead of the token itself",
        |config, text| {
            config.http_token_file = Some(PathBuf::from(text));
            Ok(())
        },
        |config| config.http_token_file.as_ref().map_or_else(String::new, |path| path.display().to_string()),
    ),
    setting(
        "health.listen",
        &["SPINDLE_HEALTH"],
        "",
        Kind::Text,
        "address on which a role that runs alone tells supervisors and Prometheus how it is, such as 127.0.0.1:8081; it shows no data, so other machines may ask without a token; `up` and `web` tell it with their HTTP",
        |config, text| put(&mut config.health_listen, health_listen(text)),
        |config| config.health_listen.map_or_else(String::new, |address| address.to_string()),
    ),
];
