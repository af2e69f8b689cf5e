//! Words that other tools (kubectl, nats, influx, docker, systemctl) use for our commands. The same deed gets an alias,
//! another one a tip. All of them are in the tables of this file.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Aliases of a command: the command above it, its name, the aliases that the help shows, the others.
type Aliases = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// Words, and the way to what they mean.
type Tip = (&'static [&'static str], &'static str);

/// Part of the usage of `spindle dlq`, whatever the program's file is called.
const DLQ: &str = " dlq";
/// For the program itself; no suggestion names it.
const INTERNAL: &str = "guard";

const ALIASES: [Aliases; 15] = [
    ("", "up", &["start"], &["run", "serve", "server", "launch"]),
    ("", "daemon", &[], &["agent", "collector", "collect"]),
    ("", "client", &[], &["watch", "follow", "tail"]),
    ("", "query", &["get"], &["ask", "q", "select", "show", "describe"]),
    ("", "top", &[], &["monitor", "htop", "tui"]),
    ("", "accept", &[], &["ignore", "mute", "silence", "snooze", "suppress"]),
    ("", "acknowledge", &["ack"], &["acked", "claim", "assign"]),
    ("", "dlq", &[], &["dead-letters", "dead-letter", "deadletters", "deadletter", "dead_letters", "letters"]),
    ("", "health", &["status"], &["healthz", "healthcheck", "ready", "readyz", "ping"]),
    ("", "check", &["doctor"], &["diagnose", "verify", "validate", "preflight", "test", "lint"]),
    ("", "config", &[], &["configuration", "settings", "cfg", "env"]),
    ("dlq", "ls", &["list"], &["find", "search", "browse", "peek", "status", "report", "stats", "summary", "count"]),
    ("dlq", "show", &["get", "view"], &["describe", "inspect", "info", "print", "cat", "read", "export", "dump"]),
    ("dlq", "replay", &["retry"], &["requeue", "redrive", "resend", "resubmit", "republish", "reprocess", "restore"]),
    ("dlq", "drop", &["rm", "delete"], &["del", "remove", "purge", "discard", "clear", "clean", "empty", "prune"]),
];

/// Names of a query type besides its own; dashes count as underscores.
const QUERY_TYPES: [(&str, &[&str]); 15] = [
    ("alerts_critical", &["alerts", "alert", "critical", "critical_alerts", "critical_events"]),
    ("device_health", &["health", "verdict", "diagnosis"]),
    ("anomaly_temperature", &["anomaly", "temperature_anomaly"]),
    ("devices", &["device", "disks", "drives", "nodes"]),
    ("events", &["event", "ev"]),
    ("series", &["values", "history"]),
    ("audit_gaps", &["audit", "gaps", "missing"]),
    ("fleet_health", &["summary", "overview"]),
    ("fleet", &["columns", "map"]),
    ("fleet_series", &["fleet_curve", "pulse"]),
    ("pipeline", &["throughput", "backlog", "lag", "spindle_pipeline"]),
    ("fleet_history", &["not_ok", "trend"]),
    ("incidents", &["incident", "problems", "issues"]),
    ("health_history", &["verdicts", "ribbon"]),
    ("anomalies", &["notes", "oddities"]),
];

/// Commands that do not exist, and the way to what they mean.
const COMMANDS: &[Tip] = &[
    (
        &["stop", "down", "halt", "shutdown", "kill", "quit", "exit"],
        "Ctrl-C or SIGTERM stops `spindle up` in order; `./run.sh stop` stops what `./run.sh start` has started",
    ),
    (&["restart", "reload"], "stop `spindle up` with Ctrl-C and start it again, or use `./run.sh restart`"),
    (
        &["logs", "log", "journal"],
        "each process logs to its standard error (SPINDLE_LOG sets the level); `./run.sh logs` shows the logs of the platform",
    ),
    (
        &["ps", "list", "ls", "stats", "wait"],
        "`spindle query devices` lists the devices, `spindle dlq ls` the dead letters; `spindle health` shows the state",
    ),
    (
        &["init", "setup", "install", "build", "deploy", "apply", "create"],
        "nothing has to be set up: `spindle up` runs everything; `./run.sh init` writes the .env of the containers",
    ),
    (
        &["replay", "retry", "requeue"],
        "`spindle dlq replay` for dead letters, `spindle up --source replay:FILE` for a recording",
    ),
    (
        &["delete", "rm", "del", "drop", "purge", "remove"],
        "`spindle dlq drop` for dead letters; SPINDLE_RETENTION for stored data",
    ),
    (
        &["pub", "publish", "write", "put", "send", "insert", "import", "load"],
        "publish to NATS, for instance with `nats pub`; `spindle up --source replay:FILE` reads a recording",
    ),
    (
        &["sub", "subscribe", "stream", "streams", "consumer", "consumers", "account", "kv", "object", "rtt", "reply"],
        "the `nats` program shows streams, consumers and messages; `spindle check` checks them",
    ),
    (
        &["metrics", "prometheus"],
        "/metrics of the HTTP server has the metrics of the process; `spindle query series` those of a device",
    ),
    (
        &[
            "inspect",
            "info",
            "search",
            "find",
            "request",
            "req",
            "explain",
            "api-resources",
            "schema",
            "types",
            "sql",
            "flux",
            "shell",
            "cli",
            "repl",
            "exec",
            "scan",
            "count",
            "v1",
        ],
        "`spindle query TYPE` asks the reader; `spindle query --help` lists the types and their parameters",
    ),
    (
        &["revoke", "unaccept", "unack", "unacknowledge", "unmute", "unignore", "reopen"],
        "`spindle accept` and `spindle acknowledge` take `--revoke`",
    ),
    (
        &["backup", "restore", "dump", "export", "snapshot", "cp"],
        "stop `spindle up` and copy its data directory; InfluxDB has a backup of its own; `spindle query series --format json` prints the values of a device",
    ),
    (
        &["login", "logout", "auth", "token", "user", "users", "context", "ctx"],
        "credentials are settings, see `spindle config` and docs/configuration.md",
    ),
    (
        &["set", "unset", "edit", "patch"],
        "settings are environment variables, options or lines of spindle.toml; `spindle config` prints them all",
    ),
    (
        &["scale", "rollout", "autoscale"],
        "each further `spindle writer` or `spindle reader` shares the load: docker compose up -d --scale writer=3",
    ),
    (
        &["compose", "system", "image", "images", "pull", "push", "attach", "container", "volume"],
        "`docker compose` runs docker-compose.yml; `./run.sh` wraps it",
    ),
    (&["upgrade", "update", "self-update"], "replace the program file and start it again, see docs/operations.md"),
    (
        &["completion", "completions", "man", "manual", "docs"],
        "`spindle --help` and `spindle COMMAND --help` show the words; docs/ has the manual",
    ),
    (
        &["ui", "gui", "dashboard", "open", "console", "grafana"],
        "`spindle top` shows the fleet in the terminal, the HTTP server a page at /; grafana/ has dashboards",
    ),
    (
        &["bucket", "buckets", "database", "org", "retention", "df", "du", "usage", "size", "compact"],
        "`spindle check` shows store, streams and disk space; their limits are settings, see docs/configuration.md",
    ),
    (
        &["pause", "unpause", "suspend", "resume"],
        "stop a role to pause it: the streams keep what is published until it runs again",
    ),
    (
        &["simulate", "source", "sources", "host", "record", "smart", "smartctl"],
        "`spindle up --source simulate` (or host, smart, replay:FILE) selects the sources",
    ),
    (&["bench", "benchmark"], "`spindle-bench` of the source tree measures; see docs/performance.md"),
];

/// Commands of `spindle dlq` that do not exist.
const DLQ_COMMANDS: &[Tip] = &[
    (
        &["watch", "tail", "follow", "next", "subscribe"],
        "`spindle dlq ls` lists the newest first; /metrics of the writer counts them (spindle_writer_dead_letters_total)",
    ),
    (
        &["add", "create", "put", "pub", "publish", "send", "import"],
        "the writer alone keeps dead letters: messages that it could not store",
    ),
    (
        &["move", "mv", "ack", "fix", "edit"],
        "`spindle dlq replay` publishes again what can be stored now, and removes it",
    ),
];

/// Options that do not exist, and the way to what they mean.
const OPTIONS: &[Tip] = &[
    (
        &["-d", "--detach", "--background", "--daemonize", "--daemon"],
        "`./run.sh start` runs the platform in the background",
    ),
    (
        &["-v", "-D", "--verbose", "--debug", "--trace", "--log-level", "--loglevel", "-q", "--quiet", "--silent"],
        "SPINDLE_LOG sets the level of the log: warn, info, debug",
    ),
    (
        &["-p", "--port", "--listen", "--bind", "--address", "--addr"],
        "--http ADDRESS sets address and port of the HTTP server",
    ),
    (
        &["--token", "-t", "--user", "-u", "--username", "--password", "--creds", "--org", "--bucket", "--database"],
        "credentials are settings, see `spindle config` and docs/configuration.md: NATS_USER, NATS_CREDS, INFLUXDB_TOKEN and others",
    ),
    (&["-f", "--follow", "-w", "--watch"], "`spindle top` follows the fleet, `spindle client` the critical events"),
];

/// Adds the aliases to the command line.
pub(super) fn with_aliases(command: Command) -> Command {
    ALIASES.iter().fold(command, |command, (above, name, visible, hidden)| {
        let add = |command: Command| command.visible_aliases(*visible).aliases(*hidden);
        match *above {
            "" => command.mut_subcommand(name, add),
            above => command.mut_subcommand(above, |command| command.mut_subcommand(name, add)),
        }
    })
}

/// Returns the query type that a word means; `None` if there is none.
pub(super) fn query_type(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase().replace('-', "_");
    let means = |(name, others): &&(&'static str, &[&str])| *name == word || others.contains(&word.as_str());
    QUERY_TYPES.iter().find(means).map(|(name, _)| *name)
}

/// Returns the word that was taken for a command and is none, if that is the error.
pub(super) fn unknown_command(error: &clap::Error) -> Option<&str> {
    any_unknown_command(error).filter(|_| !is_of_dlq(error))
}

fn any_unknown_command(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    }
}

fn is_of_dlq(error: &clap::Error) -> bool {
    error.get(ContextKind::Usage).is_some_and(|usage| usage.to_string().contains(DLQ))
}

/// Returns the way to what a word means that is neither a command nor an option.
pub(super) fn tip(error: &clap::Error) -> Option<&'static str> {
    let of = |table: &[Tip], word: &str| table.iter().find(|(words, _)| words.contains(&word)).map(|(_, tip)| *tip);
    if let Some(word) = any_unknown_command(error) {
        return of(if is_of_dlq(error) { DLQ_COMMANDS } else { COMMANDS }, &word.to_lowercase());
    }
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => of(OPTIONS, word),
        _ => None,
    }
}

/// Keeps of the suggested commands those of which the word may be a slip: other words that look alike mean something
/// else.
pub(super) fn keep_slips(error: &mut clap::Error) {
    let Some(word) = any_unknown_command(error).map(str::to_lowercase) else { return };
    let Some(ContextValue::Strings(mut names)) = error.remove(ContextKind::SuggestedSubcommand) else { return };
    names.retain(|name| name != INTERNAL && is_slip(&word, name));
    if !names.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
    }
}

/// Returns true if at most one of four letters is wrong, missing, too many or in the wrong place.
fn is_slip(word: &str, name: &str) -> bool {
    let n_letters = word.chars().count().max(name.chars().count());
    4 * strsim::damerau_levenshtein(word, name) <= n_letters
}

#[cfg(test)]
mod tests {
    use super::super::{Command as Ours, DlqTask, Early, parse};
    use super::*;

    fn parsed(words: &str) -> Result<Ours, Early> {
        parse(std::iter::once("spindle").chain(words.split_whitespace()).map(Into::into)).map(|(command, _)| command)
    }

    /// The same words lead to the same command, with all of its arguments.
    fn same(words: &str, ours: &str) {
        let (theirs, ours) = (parsed(words), parsed(ours));
        let ours = ours.unwrap_or_else(|error| panic!("{error:?}"));
        let theirs = theirs.unwrap_or_else(|error| panic!("'{words}': {error:?}"));
        assert_eq!(format!("{theirs:?}"), format!("{ours:?}"), "{words}");
    }

    #[test]
    fn each_alias_does_the_same() {
        let arguments = |above: &str, name: &str| match (above, name) {
            ("", "query") => " devices limit=3",
            ("", "accept") => " disk DiskTemp --reason known",
            ("", "acknowledge") => " disk --reason known",
            ("", "dlq") => " ls",
            ("dlq", "show") => " 7",
            ("dlq", "replay" | "drop") => " 7 --yes",
            _ => "",
        };
        for (above, name, visible, hidden) in &ALIASES {
            let rest = arguments(above, name);
            for alias in visible.iter().chain(*hidden) {
                same(&format!("{above} {alias}{rest}"), &format!("{above} {name}{rest}"));
            }
        }
    }

    #[test]
    fn each_name_of_a_query_type_means_it_with_and_without_the_command() {
        for (name, others) in &QUERY_TYPES {
            assert!(spindle_core::query::QUERY_TYPES.iter().any(|known| known.name == *name), "{name}");
            let dashed = name.replace('_', "-");
            for other in others.iter().chain([&dashed.as_str(), &name.to_uppercase().as_str()]) {
                same(&format!("query {other} limit=3"), &format!("query {name} limit=3"));
            }
            same(&format!("{name} limit=3 --format json"), &format!("query {name} limit=3 --format json"));
            same(&format!("--nats nats://x {dashed}"), &format!("--nats nats://x query {name}"));
        }
        assert_eq!(QUERY_TYPES.len(), spindle_core::query::QUERY_TYPES.len());
        // The reader names the types that it knows.
        let Ok(Ours::Query(question)) = parsed("query nonsense") else { panic!("no query") };
        assert_eq!(question.query_type, "nonsense");
    }

    #[test]
    fn options_of_other_tools_do_the_same() {
        same("query devices -o json", "query devices --format json");
        same("query devices --output=json", "query devices --format json");
        same("query devices --json", "query devices --format json");
        same("query devices -o JSON", "query devices --format json");
        same("query devices -o wide", "query devices");
        same("dlq ls -n 5 -o json", "dlq ls --limit 5 --format json");
        same("dlq drop 7 -f", "dlq drop 7 --yes");
        same("dlq rm 7 --force", "dlq drop 7 -y");
        same("check --json", "check --format json");
        same("config show", "config");
        same("config view", "config");
        same("-c x.toml -s nats://x config", "--config x.toml --nats nats://x config");
        assert!(matches!(parsed("dlq purge"), Err(Early::Mistake(line)) if line.contains("exactly one of SEQ")));
        assert!(matches!(parsed("dlq list"), Ok(Ours::Dlq(DlqTask::List { .. }))));
    }

    #[test]
    fn help_and_version_are_words_too() {
        for words in ["version", "--version", "-V"] {
            let Err(Early::Print(text)) = parsed(words) else { panic!("'{words}' prints nothing") };
            assert!(text.starts_with("spindle ") && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        }
        for words in ["help", "help dlq", "help dlq list", "help get", "dlq help rm", "status --help"] {
            assert!(matches!(parsed(words), Err(Early::Print(_))), "{words}");
        }
    }

    #[test]
    fn what_is_another_deed_gets_a_tip_in_one_line() {
        let check = |words: String, tip: &str| {
            let Err(Early::Mistake(line)) = parsed(&words) else { panic!("'{words}' passed") };
            assert!(line.contains(tip) && !line.contains('\n'), "{words}: {line}");
        };
        for (words, tip) in COMMANDS {
            for word in words.iter().filter(|word| query_type(word).is_none()) {
                check((*word).to_owned(), tip);
            }
        }
        for (words, tip) in OPTIONS {
            for word in *words {
                check(format!("up {word}"), tip);
            }
        }
        for (words, tip) in DLQ_COMMANDS {
            for word in *words {
                check(format!("dlq {word}"), tip);
            }
        }
        check("dlq stop".to_owned(), "see `spindle --help`");
        let renamed = parse(["/opt/spindle-0.2", "dlq", "health"].into_iter().map(Into::into));
        assert!(matches!(renamed, Err(Early::Mistake(line)) if line.contains("unrecognized subcommand 'health'")));
    }

    #[test]
    fn a_slip_gets_the_word_that_was_meant_and_other_words_none() {
        let line = |words: &str| {
            let Err(Early::Mistake(line)) = parsed(words) else { panic!("'{words}' passed") };
            line
        };
        for (slip, meant) in [
            ("qurey", "query"),
            ("wirter", "writer"),
            ("deamon", "daemon"),
            ("helth", "health"),
            ("statu", "status"),
            ("dlq lsit", "list"),
            ("dlq repaly 7", "replay"),
        ] {
            assert!(line(slip).contains(&format!("'{meant}'")), "{slip}: {}", line(slip));
        }
        for word in
            ["gaurd", "guar", "guards", "rename", "diff", "port-forward", "taint", "logan", "dlq stop", "dlq mend"]
        {
            assert!(!line(word).contains("similar"), "{word}: {}", line(word));
        }
    }
}
