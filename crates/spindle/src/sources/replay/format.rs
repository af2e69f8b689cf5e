//! The two formats of a recording: told apart by content, and read line by line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use anyhow::{Context, bail};
use serde::de::IgnoredAny;
use spindle_core::backblaze::{BackblazeError, Columns};
use spindle_core::wire::{self, MAX_PAYLOAD_BYTES, Rejected};

use super::Item;
use super::lines::{Line, Lines};

const EXPECTED: &str = "expected NDJSON of Spindle's wire format (one metric, event or array of them per line) or Backblaze Drive Stats CSV (with its header)";

/// What a recording is written in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    /// Each line a metric, an event, or an array of either, as on the wire.
    Ndjson,
    /// Backblaze Drive Stats, with the columns that its header names.
    Backblaze(Columns),
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ndjson => "NDJSON of Spindle's wire format",
            Self::Backblaze(_) => "Backblaze Drive Stats CSV",
        })
    }
}

/// Most bytes of a bad record that are kept to show it.
const MAX_SHOWN_BYTES: usize = 1_024;

/// A piece of a line that is no record.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) bytes: Vec<u8>,
}

impl Refused {
    pub(super) fn too_long(n_bytes: u64, head: &[u8]) -> Self {
        let reason = format!("line of {n_bytes} bytes is longer than {MAX_PAYLOAD_BYTES}: split it");
        Self::new("too_large", reason, head)
    }

    pub(super) fn unreadable(error: &io::Error) -> Self {
        Self::new("unreadable", format!("cannot read on, the replay ends here: {error}"), &[])
    }

    fn new(kind: &'static str, reason: impl ToString, bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(MAX_SHOWN_BYTES)];
        Self { kind, reason: reason.to_string(), bytes: shown.to_vec() }
    }
}

/// Finds out what the lines hold, from the first that is not blank. A CSV header is taken off; a line of
/// NDJSON is given out again.
pub(super) fn detect<R: BufRead>(lines: &mut Lines<R>) -> anyhow::Result<Format> {
    let Some((number, line)) = lines.next_line().context("cannot read its first line")? else {
        bail!("the file is empty: {EXPECTED}");
    };
    let first = match line {
        Line::Whole(bytes) => bytes,
        Line::TooLong { n_bytes, .. } => {
            bail!("its first line is {n_bytes} bytes long, more than {MAX_PAYLOAD_BYTES}: {EXPECTED}")
        }
    };
    let format = recognise(first).with_context(|| format!("line {number}"))?;
    if format == Format::Ndjson {
        lines.hold();
    }
    Ok(format)
}

fn recognise(first: &[u8]) -> anyhow::Result<Format> {
    match first.trim_ascii() {
        b"{" | b"[" => bail!(
            "looks like JSON over several lines: {EXPECTED}; `jq -c '.[]? // .'` puts each record on a line of its own"
        ),
        [b'{' | b'[', ..] => return Ok(Format::Ndjson),
        [0x1f, 0x8b, ..] => bail!("looks gzip-compressed: unpack it first (gunzip)"),
        [b'P', b'K', 3, 4, ..] => {
            bail!("looks like a ZIP archive, as Backblaze publishes them: unpack it first (unzip)")
        }
        _ => {}
    }
    let Some(header) = std::str::from_utf8(first).ok().and_then(split) else {
        bail!("of unknown format: {EXPECTED}");
    };
    match Columns::from_header(&header.iter().collect::<Vec<_>>()) {
        Ok(columns) => Ok(Format::Backblaze(columns)),
        Err(error) if looks_like_backblaze(&header) => {
            Err(anyhow::Error::new(error).context("looks like the header of Backblaze Drive Stats, but is not whole"))
        }
        Err(_) => bail!("of unknown format: {EXPECTED}"),
    }
}

/// Whether a header was meant as Backblaze's, so that the answer names what it lacks.
fn looks_like_backblaze(header: &csv::StringRecord) -> bool {
    header.iter().any(|name| name.starts_with("smart_") || matches!(name.trim(), "serial_number" | "capacity_bytes"))
}

/// Splits one line of CSV into its fields. A field with a line break inside is not supported: Drive Stats
/// has none, and an unclosed quote would swallow the rest of the file.
fn split(line: &str) -> Option<csv::StringRecord> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).buffer_capacity(line.len().max(1)).from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).is_ok_and(|found| found).then_some(record)
}

impl Format {
    /// Reads one line, and hands each record in it, good or bad, to `take`, in order.
    pub(super) fn read(&self, line: &[u8], take: &mut dyn FnMut(Result<Item, Refused>)) {
        match self {
            Self::Ndjson => read_json(line, take),
            Self::Backblaze(columns) => read_row(columns, line, take),
        }
    }
}

fn read_row(columns: &Columns, line: &[u8], take: &mut dyn FnMut(Result<Item, Refused>)) {
    let record = match std::str::from_utf8(line) {
        Ok(text) => split(text),
        Err(error) => return take(Err(Refused::new("bad_row", format!("no valid UTF-8: {error}"), line))),
    };
    let Some(record) = record else {
        return take(Err(Refused::new("bad_row", "no CSV", line)));
    };
    let mut refused = Vec::new();
    let batch = match columns.read(&record.iter().collect::<Vec<_>>(), &mut refused) {
        Ok(batch) => batch,
        Err(error) => return take(Err(Refused::new(kind(&error), error, line))),
    };
    batch.metrics.into_iter().for_each(|metric| take(Ok(Item::Metric(metric))));
    batch.events.into_iter().for_each(|event| take(Ok(Item::Event(event))));
    refused.into_iter().for_each(|error| take(Err(Refused::new(kind(&error), &error, line))));
}

fn kind(error: &BackblazeError) -> &'static str {
    match error {
        BackblazeError::MissingColumn(_) | BackblazeError::DuplicateColumn(_) | BackblazeError::Width { .. } => {
            "bad_row"
        }
        BackblazeError::Field { .. } => "bad_field",
    }
}

/// Most lines hold metrics only, so all is read as metrics first, and what is refused is looked at again.
fn read_json(line: &[u8], take: &mut dyn FnMut(Result<Item, Refused>)) {
    let decoded = wire::decode_metrics(line);
    let mut rejected = decoded.rejected.into_iter().peekable();
    let mut metrics = decoded.items.into_iter();
    for index in 0.. {
        match rejected.next_if(|rejected| rejected.index == index) {
            Some(rejected) => take(second_look(rejected)),
            None => match metrics.next() {
                Some(metric) => take(Ok(Item::Metric(metric))),
                None => break,
            },
        }
    }
}

/// The fields of an element; what they hold does not matter here. A map, since a derived reader would take
/// an array for an object, and would refuse a key that is there twice, which the wire does not.
type Outline<'a> = BTreeMap<Cow<'a, str>, IgnoredAny>;

fn second_look(rejected: Rejected) -> Result<Item, Refused> {
    let Rejected { bytes, error, .. } = rejected;
    let error = match serde_json::from_slice::<Outline<'_>>(&bytes) {
        Ok(fields) if fields.contains_key("metricType") => error,
        Ok(fields) if fields.contains_key("eventType") => {
            let mut decoded = wire::decode_events(&bytes);
            match decoded.items.pop() {
                Some(event) => return Ok(Item::Event(event)),
                None => decoded.rejected.pop().map_or(error, |rejected| rejected.error),
            }
        }
        Ok(_) => {
            let reason = "has neither 'metricType' nor 'eventType', so is no metric and no event";
            return Err(Refused::new("missing_field", reason, &bytes));
        }
        Err(_) => error,
    };
    Err(Refused::new(error.reason(), &error, &bytes))
}
