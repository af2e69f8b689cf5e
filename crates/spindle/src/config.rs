//! The configuration: flag over environment over file over default. Every error names the key, the value and its
//! origin. The only place that reads the environment.

mod catalog;
mod layers;
mod pace;
mod secret;
#[macro_use]
mod setting;
mod settings;
mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use spindle_bus::{Credentials, NatsSettings, StreamLimits};
use spindle_store::InfluxSettings;

pub(crate) use layers::Overrides;
pub(crate) use pace::Pace;
pub(crate) use secret::Secret;
pub(crate) use settings::{ClientConfig, Config, DaemonConfig, DetectorConfig, NatsConfig, WriterConfig};
pub(crate) use value::{DURATION, SourceSpec, StoreKind, parse_duration};

impl Config {
    /// Merges flags, environment, file and defaults.
    pub(crate) fn load(overrides: &Overrides) -> Result<Self> {
        let mut config = layers::load(overrides)?;
        let kind = match config.store_kind() {
            StoreKind::Embedded => "embedded",
            StoreKind::Influxdb => "influxdb",
        };
        let log = config.client_log().display().to_string();
        layers::insert(&mut config.values, ("store", "kind"), kind.into());
        layers::insert(&mut config.values, ("client", "log"), log.into());
        Ok(config)
    }

    /// Returns the chosen store: the configured one, else InfluxDB if its host is set, else the embedded one.
    pub(crate) fn store_kind(&self) -> StoreKind {
        match (self.store.kind, self.store.influxdb_host.is_empty()) {
            (Some(kind), _) => kind,
            (None, false) => StoreKind::Influxdb,
            (None, true) => StoreKind::Embedded,
        }
    }

    /// Returns the file of the embedded store.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.data_dir.join("spindle.db")
    }

    /// Returns the configured address of this machine's health probes, which is that of HTTP for a role without an
    /// address for probes alone.
    pub(crate) fn named_health_address(&self) -> Option<SocketAddr> {
        let default = catalog::find("http.listen").and_then(setting::Setting::default_value);
        let is_default = default.is_some_and(|default| default.as_str() == Some(&self.http.listen.to_string()));
        let named = Some(self.http.listen).filter(|address| !is_default && address.port() != 0);
        self.health.listen.or(named)
    }

    /// Returns the token that HTTP requires, if any, from the setting or from its file.
    pub(crate) fn http_token(&self) -> Result<Option<Secret>> {
        match (&self.http.token, &self.http.token_file) {
            (Some(_), Some(_)) => bail!(
                "http.token and http.token_file are both set (SPINDLE_HTTP_TOKEN, SPINDLE_HTTP_TOKEN_FILE); remove one"
            ),
            (Some(token), None) => Ok(Some(token.clone())),
            (None, Some(file)) => {
                let path = file.display();
                let text = std::fs::read_to_string(file).with_context(|| {
                    format!("cannot read the file of the HTTP token {path} (http.token_file, SPINDLE_HTTP_TOKEN_FILE)")
                })?;
                let token = Secret::token(text.trim_end())
                    .map_err(|expected| anyhow::anyhow!("HTTP token in {path}: expected {expected}"))?;
                Ok(Some(token))
            }
            (None, None) => Ok(None),
        }
    }

    /// Returns the token of an HTTP server that serves data: beyond the loopback address it must have one.
    pub(crate) fn http_token_of_data(&self) -> Result<Option<Secret>> {
        let token = self.http_token()?;
        ensure!(
            token.is_some() || self.http.listen.ip().is_loopback(),
            "http.listen = {} is open to other machines, and no token is set; set SPINDLE_HTTP_TOKEN (or SPINDLE_HTTP_TOKEN_FILE) to {}, or listen on a loopback address such as 127.0.0.1:8080",
            self.http.listen,
            secret::GOOD_TOKEN
        );
        Ok(token)
    }

    /// Returns the longest past of a simulated fleet: well within the retention, beyond which values are dead letters.
    pub(crate) fn longest_past(&self) -> Option<Duration> {
        let kept = self.store.retention.map_or(Duration::MAX, |retention| retention.mul_f64(0.9));
        self.daemon.past.map(|past| past.min(kept))
    }

    /// Returns the log file of the client.
    pub(crate) fn client_log(&self) -> PathBuf {
        self.client.log.clone().unwrap_or_else(|| self.data_dir.join("logs").join("critical-events.ndjson"))
    }

    /// Returns the settings for a connection to the NATS servers at `url`.
    pub(crate) fn nats_settings(&self, url: &str) -> NatsSettings {
        let NatsConfig { user, password, creds, nkey, ca, cert, key, .. } = self.nats.clone();
        let credentials = Credentials { user, password, creds, nkey, ca, cert, key };
        NatsSettings { url: url.to_owned(), credentials, connect_timeout: self.nats.connect_timeout }
    }

    /// Returns the settings for a connection to InfluxDB.
    pub(crate) fn influx_settings(&self) -> Result<InfluxSettings> {
        let store = &self.store;
        ensure!(!store.influxdb_host.is_empty(), "--store influxdb needs the server's address; set INFLUXDB_HOST");
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Ok(InfluxSettings {
            host: store.influxdb_host.clone(),
            database: store.influxdb_bucket.clone(),
            token: given(&store.influxdb_token),
            org: given(&store.influxdb_org),
            username: given(&store.influxdb_username),
            password: given(&store.influxdb_password),
            version: store.influxdb_version,
            retention: store.retention,
            replication: store.influxdb_replication,
            read_lag: None,
        })
    }

    /// Returns the effective value of every setting as a configuration file, secrets masked.
    pub(crate) fn to_toml(&self) -> String {
        catalog::document(|setting| match layers::value_of(&self.values, setting) {
            Some(value) => setting.redacted(value).to_string(),
            None => String::new(),
        })
    }
}

impl Config {
    /// Returns the limits of the streams.
    pub(crate) fn stream_limits(&self) -> StreamLimits {
        StreamLimits {
            metrics_bytes: self.nats.metrics_bytes,
            events_bytes: self.nats.events_bytes,
            dead_letter_bytes: self.nats.deadletter_bytes,
            retention: self.store.retention,
        }
    }
}

/// Prints what `spindle config` prints, so that secrets cannot reach a log or a panic through `{:?}`.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_toml())
    }
}

/// Returns an address at which a role that listens on all addresses can be reached: the loopback address.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Returns the argument of a failpoint; release builds have no failpoints.
#[cfg(debug_assertions)]
pub(crate) fn planted(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Returns the log filter, from `SPINDLE_LOG`.
pub(crate) fn log_filter() -> String {
    std::env::var("SPINDLE_LOG").unwrap_or_else(|_| "info,async_nats=warn".to_owned())
}

/// Returns the width of the terminal, from `COLUMNS`, where it is set.
pub(crate) fn columns() -> Option<u16> {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok())
}

/// Returns `true` if the locale of the terminal is one of UTF-8, from `LC_ALL`, `LC_CTYPE` and `LANG`.
pub(crate) fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
    let locale = set.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Returns `true` if output shall have no colour, from `NO_COLOR` and `TERM`.
pub(crate) fn is_colour_unwanted() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    is_unwanted || std::env::var("TERM").is_ok_and(|term| term == "dumb")
}

/// Returns the login name of the user, from `USER` or `LOGNAME`.
pub(crate) fn login_name() -> Option<String> {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    named.map(|name| name.trim().to_owned()).find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
