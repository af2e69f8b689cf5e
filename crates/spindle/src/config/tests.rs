//! The configuration as a whole: precedence, messages, secrets, and the documents generated from the settings.

use std::path::Path;
use std::time::Duration;

use spindle_store::InfluxVersion;

use super::settings::SETTINGS;
use super::value::SmartDevices;
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
    assert_eq!((config.daemon.devices, config.daemon.seed), (9, 1));
    assert_eq!(config.data_dir, Path::new("x"));
}

#[test]
fn a_version_needs_no_quotes() {
    for file in ["[store]\ninfluxdb_version = 2", "[store]\ninfluxdb_version = \"2\""] {
        assert_eq!(load(file, &[]).unwrap().store.influxdb_version, Some(InfluxVersion::V2), "{file}");
    }
    let wrong = load("[store]\ninfluxdb_version = 4", &[]).unwrap_err().to_string();
    assert!(wrong.contains("auto, 1, 2, 3 or opengemini"), "{wrong}");
}

#[test]
fn drives_are_listed_with_types_that_contain_commas() {
    let shown = |devices: &SmartDevices| devices.listed.iter().map(ToString::to_string).collect::<Vec<_>>();
    let default = load("", &[]).unwrap().daemon.smart_devices;
    assert_eq!((default.is_scanning, shown(&default).len()), (true, 0));
    let list = "scan, /dev/bus/0=megaraid,3,/dev/sda,/dev/sdb=areca,1/2";
    for config in [
        load("", &[("daemon.smart_devices", list)]).unwrap(),
        load(&format!("[daemon]\nsmart_devices = [\"{list}\"]"), &[]).unwrap(),
    ] {
        let devices = config.daemon.smart_devices;
        assert!(devices.is_scanning);
        assert_eq!(shown(&devices), ["/dev/bus/0 (megaraid,3)", "/dev/sda", "/dev/sdb (areca,1/2)"]);
    }
    for wrong in ["sda", "--all", "/dev/sda=", "scan=sat"] {
        let error = load("", &[("daemon.smart_devices", wrong)]).unwrap_err().to_string();
        assert!(error.contains("/dev/bus/0=megaraid,3"), "{wrong}: {error}");
    }
}

#[test]
fn a_cluster_is_named_with_its_addresses_and_copies() {
    let file =
        "[store]\ninfluxdb_host = \"http://a:8086, http://me:sesame@b:8086\"\ninfluxdb_version = \"openGemini\"\n";
    for copies in ["influxdb_replication = 3", "influxdb_replication = \"3\""] {
        let config = load(&format!("{file}{copies}"), &[]).unwrap();
        let settings = config.influx_settings().unwrap();
        assert_eq!((settings.version, settings.replication), (Some(InfluxVersion::OpenGemini), Some(3)));
        let shown = config.to_toml();
        assert!(shown.contains("http://a:8086,http://b:8086") && !shown.contains("sesame"), "{shown}");
    }
    assert_eq!(load(file, &[]).unwrap().influx_settings().unwrap().replication, None);
    for wrong in ["0", "10", "-1", "\"many\"", "1.5"] {
        let error = load(&format!("[store]\ninfluxdb_replication = {wrong}"), &[]).unwrap_err().to_string();
        assert!(error.contains("a whole number of copies from 1 to 9"), "{error}");
    }
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
    for (wrong, word) in [("short\n", "16 characters"), ("", "16 characters"), ("sixteen, but with blanks", "blank")] {
        std::fs::write(path, wrong).unwrap();
        refused(&[("http.token_file", path)], word);
    }
}

#[test]
fn grafana_is_a_page_of_the_web_without_a_password() {
    let address = |text: &str| load("", &[("http.grafana_url", text)]).map(|config| config.http.grafana_url);
    assert_eq!(address("").unwrap(), None);
    for (given, expected) in [
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://host/grafana/", "https://host/grafana"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://h/<\"&>", "http://h/%3C%22&%3E"),
    ] {
        assert_eq!(address(given).unwrap().as_deref(), Some(expected));
    }
    for wrong in [
        "javascript:alert(1)",
        "file:///etc",
        "localhost:3000",
        "//h",
        "http://",
        "http://h?a=b",
        "http://h#a",
        "ftp://h",
    ] {
        let error = address(wrong).map(drop).unwrap_err().to_string();
        assert!(error.contains("http.grafana_url") && error.contains("expected an http or https address"), "{error}");
    }
    let error = address("http://me:sesame@h:3000").map(drop).unwrap_err().to_string();
    assert!(error.contains("without user") && !error.contains("sesame"), "{error}");
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
    check("[daemon]\ndevices = \"many\"", &["daemon.devices = 'many'", "expected a whole number"]);
    check("[http]\nlisten = \"nowhere\"", &["http.listen", "expected an address"]);
    check("grace = \"1s\"", &["unknown key 'grace'", "renamed to shutdown_timeout"]);
    check("[nats]\npatience = 5", &["unknown key 'nats.patience'", "renamed to nats.connect_timeout"]);
    check("a = = 1", &["line 1"]);
    check("\n[nats]\nport = 1\nport = 2", &["line 4", "duplicate"]);
    check("[nats]\npassword = 7", &["nats.password = '***'"]);
    check("[http]\ntoken = \"short\"", &["http.token = '***'", "16 characters"]);
}

/// Compares a file with what the settings generate; `UPDATE_DOCS=1` writes it instead.
fn held(path: &str, generate: impl FnOnce(&str) -> String) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let generated = generate(&kept);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    } else {
        assert!(kept == generated, "{} is stale: run the tests with UPDATE_DOCS=1", path.display());
    }
    generated
}

#[test]
fn the_example_file_is_what_the_settings_say_and_loads() {
    let example = held("spindle.example.toml", |_| catalog::document(|setting| setting.default.to_owned()));
    load(&example, &[]).unwrap();
}

#[test]
fn the_table_in_the_papers_is_what_the_settings_say() {
    let code = |text: &str| if matches!(text, "" | "\"\"") { String::new() } else { format!("`{text}`") };
    let mut table = "| key | environment variable | flag | default | meaning |\n|---|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let flag = if setting.flag.is_empty() { String::new() } else { format!("--{}", setting.flag) };
        let env: Vec<_> = setting.env.iter().map(|name| code(name)).collect();
        let cells = [code(setting.key), env.join(", "), code(&flag), code(setting.default), setting.help.to_owned()];
        table += &format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |");
    }
    let (start, end) = ("<!-- generated: configuration -->\n", "<!-- end generated -->");
    held("docs/configuration.md", |kept| {
        let (before, rest) = kept.split_once(start).unwrap();
        let (_, after) = rest.split_once(end).unwrap();
        format!("{before}{start}\n{table}\n{end}{after}")
    });
}

#[test]
fn a_slip_of_the_pen_is_told_from_another_name() {
    assert_eq!(catalog::variable_advice("SPINDLE_STROE"), Some("did you mean SPINDLE_STORE?".to_owned()));
    assert_eq!(catalog::variable_advice("SPINDLE_DEVICE"), Some("did you mean SPINDLE_DEVICES?".to_owned()));
    assert_eq!(
        catalog::variable_advice("SPINDLE_HTTP_TOKEN_FIEL"),
        Some("did you mean SPINDLE_HTTP_TOKEN_FILE?".to_owned())
    );
    let others = ["SPINDLE_LOG", "SPINDLE_MODE", "SPINDLE_SERVICE_HOST", "SPINDLE_PORT", "SPINDLE_PORT_8080_TCP"];
    for name in others.into_iter().chain(SETTINGS.iter().flat_map(|setting| setting.env).copied()) {
        assert_eq!(catalog::variable_advice(name), None, "{name}");
    }
}

/// `run.sh` passes its own variables on.
#[test]
fn no_variable_of_the_scripts_is_taken_for_a_slip() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::fs::read_dir(root.join("scripts/lib")).unwrap().map(|entry| entry.unwrap().path());
    let mut n_names = 0;
    for file in folder.chain([root.join("run.sh"), root.join(".env.example"), root.join("docker-compose.yml")]) {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for word in text.split(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_') {
            if word.starts_with("SPINDLE_") {
                assert_eq!(catalog::variable_advice(word), None, "{word} in {}", file.display());
                n_names += 1;
            }
        }
    }
    assert!(n_names > 20, "{n_names}");
}
