//! What a setting is, and what is done with all of them: found, guessed and written down.

use super::Config;
use super::settings::SETTINGS;
use super::value::Kind;

/// One setting.
pub(crate) struct Setting {
    /// `section.name` in the file.
    pub(crate) key: &'static str,
    /// The flag's name, where it has one.
    pub(crate) flag: Option<&'static str>,
    /// Environment variables; a later one beats an earlier one.
    pub(crate) env: &'static [&'static str],
    /// The default as text; empty for none.
    pub(crate) default: &'static str,
    /// What it takes in a file.
    pub(crate) kind: Kind,
    /// Never shown.
    pub(crate) secret: bool,
    /// One line for people.
    pub(crate) help: &'static str,
    /// Reads a text into the configuration; says what it expected, if that fails.
    pub(super) apply: fn(&mut Config, &str) -> Result<(), String>,
    /// The effective value as text; empty for none.
    pub(super) show: fn(&Config) -> String,
}

type Apply = fn(&mut Config, &str) -> Result<(), String>;
type Show = fn(&Config) -> String;

pub(super) const fn setting(
    key: &'static str,
    env: &'static [&'static str],
    default: &'static str,
    kind: Kind,
    help: &'static str,
    apply: Apply,
    show: Show,
) -> Setting {
    Setting { key, flag: None, env, default, kind, secret: false, help, apply, show }
}

impl Setting {
    pub(super) const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Former names of settings and variables.
const RENAMED: &[(&str, &str)] = &[
    ("grace", "shutdown_timeout"),
    ("nats.patience", "nats.connect_timeout"),
    ("nats.open", "nats.allow_anonymous"),
    ("daemon.hold_bytes", "daemon.buffer_bytes"),
    ("client.log_keep", "client.log_max_files"),
    ("SPINDLE_GRACE", "SPINDLE_SHUTDOWN_TIMEOUT"),
    ("SPINDLE_NATS_PATIENCE", "SPINDLE_NATS_CONNECT_TIMEOUT"),
    ("SPINDLE_NATS_OPEN", "SPINDLE_NATS_ALLOW_ANONYMOUS"),
    ("SPINDLE_HOLD_BYTES", "SPINDLE_BUFFER_BYTES"),
    ("SPINDLE_CLIENT_LOG_KEEP", "SPINDLE_CLIENT_LOG_MAX_FILES"),
];

/// The present name of a former key or variable.
pub(super) fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

/// What an unknown key was probably meant to be.
pub(super) fn suggestion(key: &str) -> String {
    let shared = |candidate: &str| candidate.bytes().zip(key.bytes()).take_while(|(left, right)| left == right).count();
    match SETTINGS.iter().max_by_key(|setting| shared(setting.key)) {
        Some(near) if shared(near.key) * 2 >= key.len() => format!("did you mean '{}'?", near.key),
        _ => "`spindle config` lists all keys".to_owned(),
    }
}

/// The variable that a slip of the pen was meant to be. Other names are no mistake: run.sh and Kubernetes have some
/// of their own.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    const SLIP: usize = 2;
    let known = || SETTINGS.iter().flat_map(|setting| setting.env).copied();
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    let near = known().map(|other| (distance(other), other)).min()?;
    (1..=SLIP).contains(&near.0).then_some(near.1)
}

const HEADER: &str = "# Every setting, with its environment variable in brackets. What is logged is set by SPINDLE_LOG alone: warn, debug,\n# off, or by part as in info,async_nats=warn, the default.\n\n";

/// A configuration file with a value for every setting; settings without one are commented out.
pub(super) fn document(value_of: impl Fn(&Setting) -> String, mask: bool) -> String {
    let mut text = HEADER.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let (found, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if found != section {
            section = found;
            text += &format!("\n[{section}]\n");
        }
        let env = setting.env.join(", ");
        text += &format!("# {} ({env})\n", setting.help);
        let value = value_of(setting);
        match value.as_str() {
            "" => text += &format!("# {name} =\n"),
            _ if setting.secret && mask => text += &format!("{name} = \"***\"\n"),
            _ => text += &format!("{name} = {}\n", setting.kind.toml(&value)),
        }
    }
    text
}
