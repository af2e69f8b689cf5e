//! The table of settings as a whole: search, advice for unknown names, and the documents generated from it.

use super::setting::Setting;
use super::settings::SETTINGS;

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Former names of settings and variables, with the present ones.
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

fn renamed(name: &str) -> Option<String> {
    RENAMED.iter().find(|(old, _)| *old == name).map(|(_, new)| format!("renamed to {new}"))
}

/// Advice for an unknown key.
pub(super) fn key_advice(key: &str) -> String {
    let shared = |candidate: &str| candidate.bytes().zip(key.bytes()).take_while(|(left, right)| left == right).count();
    let nearest = || SETTINGS.iter().map(|setting| setting.key).max_by_key(|candidate| shared(candidate));
    let near = || nearest().filter(|near| shared(near) * 2 >= key.len()).map(|near| format!("did you mean '{near}'?"));
    renamed(key).or_else(near).unwrap_or_else(|| "`spindle config` lists all keys".to_owned())
}

/// Variable of run.sh that is close to one of ours.
const OF_RUN_SH: &str = "SPINDLE_START_TIMEOUT";

/// Advice for an environment variable that is one or two slips away from ours. Other names pass: run.sh and Kubernetes
/// set SPINDLE_ variables of their own.
pub(super) fn variable_advice(name: &str) -> Option<String> {
    const MAX_SLIPS: usize = 2;
    if name == OF_RUN_SH {
        return None;
    }
    let known = SETTINGS.iter().flat_map(|setting| setting.env);
    let (distance, near) = known.map(|other| (strsim::damerau_levenshtein(name, other), other)).min()?;
    let meant = (1..=MAX_SLIPS).contains(&distance).then(|| format!("did you mean {near}?"));
    renamed(name).or(meant)
}

const HEADER: &str = "# Every setting, with its environment variable in brackets. Logging is set by SPINDLE_LOG alone: warn, debug, off, or\n# by part as in info,async_nats=warn, the default.\n\n";

/// Returns a configuration file with a value (TOML source) for every setting; those that are unset are commented out.
pub(super) fn document(value_of: impl Fn(&Setting) -> String) -> String {
    let (mut text, mut section) = (HEADER.to_owned(), "");
    for setting in SETTINGS {
        let (found, name) = setting.path();
        if found != section {
            section = found;
            text += &format!("\n[{section}]\n");
        }
        text += &format!("# {} ({})\n", setting.help, setting.env.join(", "));
        match value_of(setting).as_str() {
            "" | "\"\"" => text += &format!("# {name} =\n"),
            value => text += &format!("{name} = {value}\n"),
        }
    }
    text
}
