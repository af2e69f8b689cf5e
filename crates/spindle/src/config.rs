//! The configuration: flag over environment over file over default, every value checked, every error
//! naming the key, the value and where it came from. The only place that reads the environment.

mod secret;
mod setting;
mod settings;
mod texts;
mod value;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use spindle_bus::{Credentials, NatsSettings, StreamLimits};
use spindle_core::Criticality;

use crate::sources::replay::Pace;
pub(crate) use secret::Secret;
pub(crate) use setting::Setting;
pub(crate) use settings::{DEFAULT_HTTP, SETTINGS};
pub(crate) use value::duration;

/// Everything that can be set.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) grace: Duration,
    pub(crate) nats: Nats,
    pub(crate) store: StoreChoice,
    pub(crate) daemon: Daemon,
    pub(crate) writer: Writer,
    pub(crate) reader_subject: String,
    pub(crate) client: Client,
    pub(crate) http_listen: SocketAddr,
    http_token: Option<Secret>,
    http_token_file: Option<PathBuf>,
    /// Where a role that runs alone tells its health.
    pub(crate) health_listen: Option<SocketAddr>,
}

/// Where NATS is, or how to start it.
#[derive(Clone)]
pub(crate) struct Nats {
    pub(crate) url: Option<String>,
    pub(crate) credentials: Credentials,
    pub(crate) patience: Duration,
    pub(crate) server: PathBuf,
    pub(crate) port: u16,
    /// The started nats-server asks for no password.
    pub(crate) open: bool,
    pub(crate) limits: StreamLimits,
}

#[derive(Clone)]
pub(crate) struct StoreChoice {
    pub(crate) kind: Option<StoreKind>,
    pub(crate) influxdb: Influxdb,
    pub(crate) retention: Option<Duration>,
}

/// As the user set it; empty texts are unset.
#[derive(Clone, Default)]
pub(crate) struct Influxdb {
    pub(crate) host: String,
    pub(crate) bucket: String,
    pub(crate) token: String,
    pub(crate) org: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Embedded,
    Influxdb,
}

#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) sources: Vec<SourceSpec>,
    pub(crate) interval: Duration,
    pub(crate) metrics_per_message: usize,
    pub(crate) hold_bytes: usize,
    pub(crate) n_devices: usize,
    pub(crate) seed: u64,
    pub(crate) replay_speed: Pace,
    pub(crate) replay_shift_to_now: bool,
}

/// One thing the daemon collects from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SourceSpec {
    Simulate,
    Host,
    Replay(PathBuf),
}

#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) batch_messages: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) batch_age: Duration,
    pub(crate) batches_in_flight: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) log: Option<PathBuf>,
    pub(crate) interval: Duration,
    pub(crate) min_criticality: Criticality,
    pub(crate) log_max_bytes: u64,
    pub(crate) log_keep: usize,
}

/// What was given on the command line: settings by key, and the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) file: Option<PathBuf>,
    /// Pairs of a setting's key and the flag's text.
    pub(crate) flags: Vec<(&'static str, String)>,
}

/// Read when it is there and no other file is named.
const DEFAULT_FILE: &str = "spindle.toml";

impl Config {
    /// Puts the configuration together.
    pub(crate) fn load(overrides: &Overrides) -> Result<Self> {
        let mut config = Self::defaults()?;
        config.read_file(overrides.file.as_deref())?;
        config.read_environment()?;
        for (key, text) in &overrides.flags {
            let setting = setting::find(key).with_context(|| format!("no setting '{key}'"))?;
            let flag = setting.flag.map_or_else(|| (*key).to_owned(), |flag| format!("--{flag}"));
            config.set(setting, text, &format!("flag {flag}"))?;
        }
        Ok(config)
    }

    fn defaults() -> Result<Self> {
        let mut config = Self {
            data_dir: PathBuf::new(),
            grace: Duration::ZERO,
            nats: Nats {
                url: None,
                credentials: Credentials::default(),
                patience: Duration::ZERO,
                server: PathBuf::new(),
                port: 0,
                open: false,
                limits: StreamLimits::default(),
            },
            store: StoreChoice { kind: None, influxdb: Influxdb::default(), retention: None },
            daemon: Daemon {
                sources: Vec::new(),
                interval: Duration::ZERO,
                metrics_per_message: 0,
                hold_bytes: 0,
                n_devices: 0,
                seed: 0,
                replay_speed: Pace::AsFast,
                replay_shift_to_now: false,
            },
            writer: Writer { batch_messages: 0, batch_bytes: 0, batch_age: Duration::ZERO, batches_in_flight: 0 },
            reader_subject: String::new(),
            client: Client {
                log: None,
                interval: Duration::ZERO,
                min_criticality: Criticality::MAX,
                log_max_bytes: 0,
                log_keep: 0,
            },
            http_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            http_token: None,
            http_token_file: None,
            health_listen: None,
        };
        for setting in SETTINGS {
            if !setting.default.is_empty() {
                config.set(setting, setting.default, "default")?;
            }
        }
        Ok(config)
    }

    fn set(&mut self, setting: &Setting, text: &str, origin: &str) -> Result<()> {
        (setting.apply)(self, text).map_err(|expected| {
            let shown = if setting.secret { "***" } else { text };
            anyhow::anyhow!("{} = '{shown}' ({origin}): expected {expected}", setting.key)
        })
    }

    fn read_file(&mut self, named: Option<&Path>) -> Result<()> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(()),
            Err(error) => bail!("cannot read the configuration file {}: {error}", path.display()),
        };
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            anyhow::anyhow!("{} line {line}: {}", path.display(), error.message().replace('\n', " "))
        })?;
        let origin = path.display().to_string();
        for (key, value) in value::flatten(&table) {
            let Some(setting) = setting::find(&key) else {
                bail!("unknown key '{key}' in {origin}: {}", setting::suggestion(&key));
            };
            let text = setting.kind.text_of(value).map_err(|expected| {
                anyhow::anyhow!("{key} = {} ({origin}): expected {expected}", value::shown(value, setting.secret))
            })?;
            self.set(setting, &text, &origin)?;
        }
        Ok(())
    }

    fn read_environment(&mut self) -> Result<()> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| name.starts_with("SPINDLE_")) {
            if let Some(meant) = setting::meant(&name) {
                bail!("environment variable {name} means nothing: did you mean {meant}?");
            }
        }
        for setting in SETTINGS {
            for name in setting.env {
                match std::env::var(name) {
                    Ok(text) if !text.is_empty() => {
                        self.set(setting, &text, &format!("environment variable {name}"))?
                    }
                    Ok(_) | Err(std::env::VarError::NotPresent) => {}
                    Err(std::env::VarError::NotUnicode(_)) => bail!("environment variable {name} is no valid UTF-8"),
                }
            }
        }
        Ok(())
    }

    /// Which store holds the data: as told, else InfluxDB when its host is set, else the embedded one.
    pub(crate) fn store_kind(&self) -> StoreKind {
        match (self.store.kind, self.store.influxdb.host.is_empty()) {
            (Some(kind), _) => kind,
            (None, false) => StoreKind::Influxdb,
            (None, true) => StoreKind::Embedded,
        }
    }

    /// The embedded store's file.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.data_dir.join("spindle.db")
    }

    /// Where this machine's role tells its health, if that was set: what has no address of its own for it tells it
    /// with its HTTP.
    pub(crate) fn named_health_address(&self) -> Option<SocketAddr> {
        let http = Some(self.http_listen).filter(|address| address.to_string() != DEFAULT_HTTP && address.port() != 0);
        self.health_listen.or(http)
    }

    /// The token that HTTP asks for, if there is one: itself, or what its file holds.
    pub(crate) fn http_token(&self) -> Result<Option<Secret>> {
        match (&self.http_token, &self.http_token_file) {
            (Some(_), Some(_)) => bail!(
                "http.token and http.token_file are both set (SPINDLE_HTTP_TOKEN, SPINDLE_HTTP_TOKEN_FILE): remove one"
            ),
            (Some(token), None) => Ok(Some(token.clone())),
            (None, Some(path)) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path).with_context(|| {
                    format!("cannot read the file of the HTTP token {shown} (http.token_file, SPINDLE_HTTP_TOKEN_FILE)")
                })?;
                let token = Secret::token(text.trim_end())
                    .map_err(|expected| anyhow::anyhow!("the HTTP token in {shown}: expected {expected}"))?;
                Ok(Some(token))
            }
            (None, None) => Ok(None),
        }
    }

    /// The token of a door through which data are seen: beyond the loopback address it must have one.
    pub(crate) fn http_token_of_data(&self) -> Result<Option<Secret>> {
        let token = self.http_token()?;
        if token.is_none() && !self.http_listen.ip().is_loopback() {
            bail!(
                "http.listen = {} is open to other machines, and no token is set: set SPINDLE_HTTP_TOKEN (or SPINDLE_HTTP_TOKEN_FILE) to {}, or listen on a loopback address such as 127.0.0.1:8080",
                self.http_listen,
                secret::GOOD_TOKEN
            );
        }
        Ok(token)
    }

    /// The client's log file.
    pub(crate) fn client_log(&self) -> PathBuf {
        self.client.log.clone().unwrap_or_else(|| self.data_dir.join("logs").join("critical-events.ndjson"))
    }

    /// How to reach NATS at an address.
    pub(crate) fn nats_settings(&self, url: &str) -> NatsSettings {
        NatsSettings {
            url: url.to_owned(),
            credentials: self.nats.credentials.clone(),
            connect_timeout: self.nats.patience,
        }
    }

    /// The effective value of every setting, secrets masked, as a configuration file.
    pub(crate) fn to_toml(&self) -> String {
        setting::document(|setting| (setting.show)(self), true)
    }
}

/// As `spindle config` shows it, so that no secret gets into a log or a panic by this way.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_toml())
    }
}

/// Where to ask a role that listens on all addresses: on the loopback.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// NATS addresses as they may be shown: user and password in them are secrets.
pub(crate) fn without_userinfo(urls: &str) -> String {
    let shown = |url: &str| match (url.find("://").map(|at| at + 3), url.rfind('@')) {
        (scheme, Some(at)) => format!("{}{}", &url[..scheme.filter(|end| *end <= at).unwrap_or(0)], &url[at + 1..]),
        (_, None) => url.to_owned(),
    };
    urls.split(',').map(|url| shown(url.trim())).collect::<Vec<_>>().join(",")
}

/// A fault that a test plants; there is nothing of it in a release build.
#[cfg(debug_assertions)]
pub(crate) fn planted(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The log filter, from `SPINDLE_LOG`.
pub(crate) fn log_filter() -> String {
    std::env::var("SPINDLE_LOG").unwrap_or_else(|_| "info,async_nats=warn".to_owned())
}

/// The width of the terminal, from `COLUMNS`, where it is set.
pub(crate) fn columns() -> Option<u16> {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, flags: &[(&'static str, &str)]) -> Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spindle.toml");
        std::fs::write(&path, file).unwrap();
        let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Config::load(&Overrides { file: Some(path), flags })
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let config =
            load("data_dir = \"x\"\n[daemon]\ninterval = \"7s\"\ndevices = 5", &[("daemon.devices", "9")]).unwrap();
        assert_eq!(config.daemon.interval, Duration::from_secs(7));
        assert_eq!((config.daemon.n_devices, config.daemon.seed), (9, 1));
        assert_eq!(config.data_dir, Path::new("x"));
    }

    #[test]
    fn a_version_needs_no_quotes() {
        for file in ["[store]\ninfluxdb_version = 2", "[store]\ninfluxdb_version = \"2\""] {
            assert_eq!(load(file, &[]).unwrap().store.influxdb.version, "2", "{file}");
        }
        let wrong = load("[store]\ninfluxdb_version = 4", &[]).unwrap_err().to_string();
        assert!(wrong.contains("auto, 1, 2 or 3"), "{wrong}");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(without_userinfo("nats://a:b@h:1, c:d@h:2,nats://h:3"), "nats://h:1,h:2,nats://h:3");
    }

    #[test]
    fn the_token_comes_from_a_setting_or_a_file_and_is_needed_beyond_the_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let (path, good) = (path.to_str().unwrap(), "0123456789abcdef");
        std::fs::write(path, format!("{good}\n")).unwrap();
        let with = |flags: &[(&'static str, &str)]| load("", flags).unwrap();
        let token = |config: &Config| config.http_token_of_data().map(|token| token.map(|it| it.expose().to_owned()));
        assert_eq!(token(&with(&[])).unwrap(), None);
        assert_eq!(token(&with(&[("http.token", good)])).unwrap().as_deref(), Some(good));
        assert_eq!(token(&with(&[("http.token_file", path)])).unwrap().as_deref(), Some(good));
        let refused = |flags: &[(&'static str, &str)], word: &str| {
            let error = format!("{:#}", token(&with(flags)).unwrap_err());
            assert!(error.contains(word) && !error.contains('\n') && !error.contains(good), "{error}");
        };
        refused(&[("http.token", good), ("http.token_file", path)], "both set");
        refused(&[("http.token_file", "no/such/file")], "no/such/file");
        for open in ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:8080", "[::ffff:127.0.0.1]:80"] {
            refused(&[("http.listen", open)], "SPINDLE_HTTP_TOKEN");
            assert!(token(&with(&[("http.listen", open), ("http.token", good)])).is_ok());
        }
        for closed in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8080", "localhost:8080"] {
            assert_eq!(token(&with(&[("http.listen", closed)])).unwrap(), None);
        }
        for (wrong, word) in
            [("short\n", "16 characters"), ("", "16 characters"), ("sixteen, but with blanks", "blank")]
        {
            std::fs::write(path, wrong).unwrap();
            refused(&[("http.token_file", path)], word);
        }
    }

    #[test]
    fn nothing_that_is_secret_is_shown() {
        let secrets = [
            ("nats.url", "nats://me:sesame-1@h:4222"),
            ("nats.password", "sesame-2"),
            ("store.influxdb_host", "http://me:sesame-3@h:8086"),
            ("store.influxdb_token", "sesame-4"),
            ("store.influxdb_password", "sesame-5"),
            ("http.token", "sesame-6-and-more"),
        ];
        let config = load("", &secrets).unwrap();
        let shown = format!("{config:?} {} {:?}", config.to_toml(), config.nats_settings("nats://me:sesame-1@h:4222"));
        assert!(shown.contains("http://h:8086") && shown.contains("***") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn every_mistake_names_key_value_and_origin() {
        let check = |file: &str, parts: &[&str]| {
            let error = load(file, &[]).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)) && !error.contains('\n'), "{file}: {error}");
        };
        check("nonsense = 1", &["unknown key 'nonsense'", "spindle.toml"]);
        check("[daemon]\nintervall = \"1s\"", &["unknown key 'daemon.intervall'", "did you mean 'daemon.interval'"]);
        check("[daemon]\ninterval = true", &["daemon.interval = true", "expected a duration"]);
        check("[daemon]\ninterval = \"soon\"", &["daemon.interval = 'soon'", "spindle.toml", "expected a duration"]);
        check("[daemon]\ndevices = \"many\"", &["daemon.devices = \"many\"", "expected a whole number"]);
        check("[http]\nlisten = \"nowhere\"", &["http.listen", "expected an address"]);
        check("a = = 1", &["line 1"]);
        check("\n[nats]\nport = 1\nport = 2", &["line 4", "duplicate"]);
        check("[nats]\npassword = 7", &["nats.password = ***"]);
        check("[http]\ntoken = \"short\"", &["http.token = '***'", "16 characters"]);
    }

    #[test]
    fn the_example_file_is_what_the_settings_say_and_loads() {
        let example = setting::document(|setting| setting.default.to_owned(), false);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spindle.example.toml");
        if std::env::var_os("SPINDLE_UPDATE_EXAMPLE").is_some() {
            std::fs::write(&path, &example).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == example, "spindle.example.toml is stale: run the tests with SPINDLE_UPDATE_EXAMPLE=1");
        load(&kept, &[]).unwrap();
    }

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_name() {
        assert_eq!(setting::meant("SPINDLE_STROE"), Some("SPINDLE_STORE"));
        assert_eq!(setting::meant("SPINDLE_DEVICE"), Some("SPINDLE_DEVICES"));
        assert_eq!(setting::meant("SPINDLE_HTTP_TOKEN_FIEL"), Some("SPINDLE_HTTP_TOKEN_FILE"));
        let others = ["SPINDLE_LOG", "SPINDLE_MODE", "SPINDLE_SERVICE_HOST", "SPINDLE_PORT", "SPINDLE_PORT_8080_TCP"];
        for name in others.into_iter().chain(SETTINGS.iter().flat_map(|setting| setting.env).copied()) {
            assert_eq!(setting::meant(name), None, "{name}");
        }
    }
}
