//! The fleet as the view knows it: the columns of the last answer, with what sentence and lists ask of them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use spindle_core::Timestamp;

use super::words;

/// State of a device: its health, with silence and sleep told apart. Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Critical,
    Warning,
    Silent,
    Unknown,
    Asleep,
    Ok,
}

/// All states, worst first.
pub(super) const STATES: [State; 6] =
    [State::Critical, State::Warning, State::Silent, State::Unknown, State::Asleep, State::Ok];

/// Nouns of the classes that have one.
const NOUNS: [(&str, &str); 11] = [
    ("DiskUnit", "drive"),
    ("StorageArray", "array"),
    ("CloudStorage", "gateway"),
    ("BlockDevice", "drive"),
    ("FileSystem", "file system"),
    ("disk", "drive"),
    ("hdd", "drive"),
    ("ssd", "drive"),
    ("nvme", "drive"),
    ("drive", "drive"),
    ("array", "array"),
];

/// Columns of the answer to `fleet`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Columns {
    pub(super) device: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) state: Vec<usize>,
    pub(super) heard_seconds: Vec<Option<u64>>,
    pub(super) labels: BTreeMap<String, Texts>,
    pub(super) not_ok: NotOk,
}

/// Texts that repeat; an index of -1 is none.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Texts {
    pub(super) names: Vec<String>,
    pub(super) index: Vec<i32>,
}

/// Devices that are not ok, by columns.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NotOk {
    pub(super) index: Vec<usize>,
    pub(super) score: Vec<Option<u8>>,
    pub(super) since: Vec<Option<Timestamp>>,
    pub(super) reason: Vec<String>,
    pub(super) advice: Vec<Option<String>>,
    pub(super) acknowledged: Vec<bool>,
}

/// Finding about a device that is not ok.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    score: Option<u8>,
    pub(super) since: Option<Timestamp>,
    pub(super) reason: String,
    pub(super) advice: Option<String>,
    pub(super) acknowledged: bool,
}

#[derive(Debug)]
pub(super) struct Fleet {
    columns: Columns,
    states: Vec<State>,
    troubles: BTreeMap<usize, Trouble>,
    by_name: HashMap<String, usize>,
    /// Time as of which the answer holds.
    pub(super) until: Timestamp,
}

impl Fleet {
    /// Takes in the columns. Columns that are too short read as unknown.
    pub(super) fn new(columns: Columns, until: Timestamp) -> Self {
        let state = |index: usize| columns.state.get(index).and_then(|at| columns.states.get(*at));
        let states = (0..columns.device.len()).map(|index| state(index).map_or(State::Unknown, |name| named(name)));
        let not_ok = &columns.not_ok;
        let trouble = |(row, index): (usize, &usize)| {
            let trouble = Trouble {
                score: not_ok.score.get(row).copied().flatten(),
                since: not_ok.since.get(row).copied().flatten(),
                reason: not_ok.reason.get(row).cloned().unwrap_or_default(),
                advice: not_ok.advice.get(row).cloned().flatten(),
                acknowledged: not_ok.acknowledged.get(row).copied().unwrap_or(false),
            };
            (*index, trouble)
        };
        let is_known = |(_, index): &(usize, &usize)| **index < columns.device.len();
        let troubles = not_ok.index.iter().enumerate().filter(is_known).map(trouble).collect();
        let by_name = columns.device.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        Self { states: states.collect(), troubles, by_name, until, columns }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.device.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn device(&self, index: usize) -> &str {
        self.columns.device.get(index).map_or("", String::as_str)
    }

    pub(super) fn state(&self, index: usize) -> State {
        self.states.get(index).copied().unwrap_or(State::Unknown)
    }

    pub(super) fn trouble(&self, index: usize) -> Option<&Trouble> {
        self.troubles.get(&index)
    }

    /// Returns the seconds since the newest values of a device arrived.
    pub(super) fn heard_seconds(&self, index: usize) -> Option<u64> {
        self.columns.heard_seconds.get(index).copied().flatten()
    }

    /// Returns a label that is not empty.
    pub(super) fn label(&self, index: usize, key: &str) -> Option<&str> {
        let column = self.columns.labels.get(key)?;
        let at = usize::try_from(*column.index.get(index)?).ok()?;
        column.names.get(at).map(String::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn place(&self, index: usize) -> String {
        let label = |key: &str| Some((key.to_owned(), self.label(index, key)?.to_owned()));
        words::place(&["enclosure", "bay", "host"].into_iter().filter_map(label).collect())
    }

    /// Returns the noun of a sentence about the device.
    pub(super) fn noun(&self, index: usize) -> &'static str {
        let class = self.label(index, "class").unwrap_or("");
        NOUNS.iter().find(|(name, _)| *name == class).map_or("device", |(_, noun)| noun)
    }

    /// Returns the noun that some devices share, else "device".
    pub(super) fn common_noun(&self, mut indices: impl Iterator<Item = usize>) -> &'static str {
        let first = indices.next().map_or("device", |index| self.noun(index));
        if indices.all(|index| self.noun(index) == first) { first } else { "device" }
    }

    pub(super) fn count(&self, state: State) -> usize {
        self.states.iter().filter(|each| **each == state).count()
    }

    /// Returns the devices that are neither well nor asleep, worst first.
    pub(super) fn needy(&self) -> Vec<usize> {
        let is_needy = |index: &usize| !matches!(self.state(*index), State::Ok | State::Asleep);
        let mut needy: Vec<usize> = self.troubles.keys().copied().filter(is_needy).collect();
        needy.sort_by(|one, other| self.compare(*one, *other));
        needy
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        // Without a score a device comes after those with one.
        let score = |index: usize| self.trouble(index).and_then(|trouble| trouble.score).unwrap_or(101);
        let by_state = self.state(one).cmp(&self.state(other)).then(score(one).cmp(&score(other)));
        by_state.then_with(|| natural(self.device(one)).cmp(&natural(self.device(other))))
    }
}

fn named(state: &str) -> State {
    match state {
        "critical" => State::Critical,
        "warning" => State::Warning,
        "silent" => State::Silent,
        "asleep" => State::Asleep,
        "ok" => State::Ok,
        _ => State::Unknown,
    }
}

/// Part of a name: numbers in it compare as numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    Number(u64),
    Text(&'a str),
}

fn natural(name: &str) -> Vec<Piece<'_>> {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let pieces = name.as_bytes().chunk_by(|one, other| is_digit(*one) == is_digit(*other));
    let mut at = 0;
    pieces
        .map(|piece| {
            let text = &name[at..at + piece.len()];
            at += piece.len();
            // Too many digits for a number are text.
            text.parse().map_or(Piece::Text(text), Piece::Number)
        })
        .collect()
}
