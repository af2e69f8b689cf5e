//! `spindle dlq`: selection of dead letters, and the action on them.

use std::time::Duration;

use clap::{Args, Subcommand};
use spindle_core::Timestamp;

use super::{Early, OutputFormat};

#[derive(Debug, Subcommand)]
pub(super) enum DlqCommand {
    /// List dead letters, newest first; totals by reason go to stderr
    Ls(LsArgs),
    /// Show dead letters in full
    Show(ShowArgs),
    /// Publish the original bytes to their original subject again; the writer checks them as usual
    ///
    /// A dead letter is removed after JetStream has acknowledged its replay, not before. A message that is still bad
    /// becomes a dead letter again and counts its replays.
    Replay(ActArgs),
    /// Remove dead letters permanently
    Drop(ActArgs),
}

#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Only dead letters with this reason, such as bad_json, store_refused or beyond_retention
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only dead letters whose original was published to this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only dead letters kept at this time or later: 2025-06-06T12:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only dead letters kept before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
}

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    #[command(flatten)]
    filters: Filters,
    /// Maximum number of dead letters to list
    #[arg(long, short_alias = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=MAX_LIMIT))]
    limit: u64,
    /// List the oldest first
    #[arg(long)]
    oldest: bool,
    #[command(flatten)]
    format: OutputFormat,
}

/// More rows than anybody reads; they take some 50 MB of memory.
const MAX_LIMIT: u64 = 100_000;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Sequence numbers, as `spindle dlq ls` lists them
    #[arg(value_name = "SEQ", required = true, value_parser = sequence)]
    sequences: Vec<u64>,
    /// Write only the original bytes of one dead letter to stdout
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
pub(super) struct ActArgs {
    /// Sequence numbers, as `spindle dlq ls` lists them
    #[arg(value_name = "SEQ", value_parser = sequence)]
    sequences: Vec<u64>,
    /// Select all dead letters
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Skip the confirmation
    #[arg(long, short, visible_alias = "force", short_alias = 'f')]
    yes: bool,
}

/// A time, or an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

/// Task for `spindle dlq`.
#[derive(Debug)]
pub(crate) enum DlqTask {
    List { filter: Wanted, limit: usize, oldest_first: bool, as_json: bool },
    Show { sequences: Vec<u64>, raw: bool },
    Act { action: Action, which: Which, dry_run: bool, yes: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Replay,
    Drop,
}

/// Selection of dead letters for an action.
#[derive(Debug)]
pub(crate) enum Which {
    Sequences(Vec<u64>),
    Filter(Wanted),
}

/// Properties of the selected dead letters; without any, all are selected.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) reason: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) since: Option<Moment>,
    pub(crate) until: Option<Moment>,
}

pub(super) fn task(command: DlqCommand) -> Result<DlqTask, Early> {
    Ok(match command {
        DlqCommand::Ls(LsArgs { filters, limit, oldest, format }) => DlqTask::List {
            filter: filters.wanted()?,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            oldest_first: oldest,
            as_json: format.is_json(),
        },
        DlqCommand::Show(ShowArgs { sequences, raw }) => {
            if raw && sequences.len() > 1 {
                return Err(Early::Mistake(
                    "--raw writes the bytes of one dead letter and nothing else; specify one SEQ".to_owned(),
                ));
            }
            DlqTask::Show { sequences, raw }
        }
        DlqCommand::Replay(act) => act.task(Action::Replay)?,
        DlqCommand::Drop(act) => act.task(Action::Drop)?,
    })
}

impl ActArgs {
    /// Accepts exactly one way to select, so that a typing error cannot touch more than intended.
    fn task(self, action: Action) -> Result<DlqTask, Early> {
        let Self { sequences, all, filters, dry_run, yes } = self;
        let n_ways = [!sequences.is_empty(), all, filters.is_any()].into_iter().filter(|is_given| *is_given).count();
        if n_ways != 1 {
            return Err(Early::Mistake(format!(
                "dlq {}: specify exactly one of SEQ…, a filter (--reason, --subject, --since, --until), or --all; `spindle dlq ls` lists dead letters",
                action.word()
            )));
        }
        let which = if sequences.is_empty() { Which::Filter(filters.wanted()?) } else { Which::Sequences(sequences) };
        Ok(DlqTask::Act { action, which, dry_run, yes })
    }
}

impl Action {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Drop => "drop",
        }
    }
}

impl Filters {
    fn is_any(&self) -> bool {
        self.reason.is_some() || self.subject.is_some() || self.since.is_some() || self.until.is_some()
    }

    /// Refuses a time range that ends before it begins: it is a typing error, not an empty list.
    fn wanted(self) -> Result<Wanted, Early> {
        let Self { reason, subject, since, until } = self;
        let is_backwards = match (since, until) {
            (Some(Moment::At(since)), Some(Moment::At(until))) => since > until,
            (Some(Moment::Ago(since)), Some(Moment::Ago(until))) => since < until,
            // An age and an instant are compared when the time is known.
            (Some(Moment::At(_)), Some(Moment::Ago(_))) | (Some(Moment::Ago(_)), Some(Moment::At(_))) => false,
            (None, _) | (_, None) => false,
        };
        if is_backwards {
            return Err(Early::Mistake(BACKWARDS.to_owned()));
        }
        Ok(Wanted { reason, subject, since, until })
    }
}

/// Error for a time range that ends before it begins.
pub(crate) const BACKWARDS: &str = "--since is later than --until, so no dead letter can match; swap or correct them";

fn sequence(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        "expected the sequence number of a dead letter, 1 or more, as `spindle dlq ls` lists it".to_owned()
    })
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(Moment::Ago(ago));
    }
    Timestamp::parse(text)
        .map(Moment::At)
        .map_err(|_| "expected a time such as 2025-06-06T12:08:40Z, or an age such as 90s, 2h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Early, parse};
    use super::*;

    fn parsed(words: &str) -> Result<DlqTask, String> {
        match parse(["spindle", "dlq"].into_iter().chain(words.split_whitespace()).map(Into::into)) {
            Ok((Command::Dlq(task), _)) => Ok(task),
            Ok(_) => panic!("'{words}' is another command"),
            Err(Early::Mistake(line)) => Err(line),
            Err(Early::Print(text)) => panic!("'{words}' prints {text}"),
        }
    }

    #[test]
    fn a_slip_touches_nothing() {
        for words in [
            "replay",
            "drop",
            "drop --yes",
            "replay --dry-run",
            "drop 1 --all",
            "drop 1 --reason bad_json",
            "drop --all --reason bad_json",
            "replay 1 2 --since 1h",
        ] {
            let line = parsed(words).unwrap_err();
            assert!(line.contains("exactly one of SEQ") && line.contains("--all"), "{words}: {line}");
        }
        for words in ["ls --since 1h --until 2h", "drop --since 2025-06-07T00:00:00Z --until 2025-06-06T00:00:00Z"] {
            assert!(parsed(words).unwrap_err().contains("--since is later than --until"), "{words}");
        }
        let zero = parsed("show 0").unwrap_err();
        assert!(zero.contains("'0'") && zero.contains("the sequence number of a dead letter, 1 or more"), "{zero}");
        for words in ["show", "drop x", "drop -1", "show 1 2 --raw", "ls --limit 0", "ls --since soon", "ls --until"] {
            assert!(parsed(words).is_err(), "{words}");
        }
    }

    #[test]
    fn times_are_instants_or_ages() {
        let DlqTask::List { filter, limit: 50, oldest_first: false, as_json: false } =
            parsed("ls --since 2h --until 2025-06-06T12:00:00Z").unwrap()
        else {
            panic!("not a list")
        };
        assert_eq!(filter.since, Some(Moment::Ago(Duration::from_secs(7200))));
        assert_eq!(filter.until, Some(Moment::At(Timestamp::parse("2025-06-06T12:00:00Z").unwrap())));
    }
}
