//! The judgement: every message is made once more and looked up. What was acknowledged must be stored once
//! or be a dead letter byte for byte; what was not may be either, once; nothing else may be there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use spindle_core::records::{EventFilter, EventRecord, Sample, TimeBasis, Window};
use spindle_core::{Criticality, DeviceName, MetricType, Timestamp};
use spindle_store::Store;
use tokio::time::timeout;

use super::audit::Audit;
use super::conditions::Conditions;
use super::messages::{Item, METRICS, Message, Messages, PANIC_REASON, Shape, device_name, event_type};
use super::nats::{Address, Connection, Received};
use super::publish::{Ledger, number_of};

/// Findings that are named; the others are only counted.
const NAMED: usize = 20;
const SILENCE: Duration = Duration::from_secs(10);
/// A hundred years on either side of any clock.
const EVERYTHING: Window = Window { from: Timestamp::from_ns(0), until: Timestamp::from_ns(i64::MAX - 1) };

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) n_values: u64,
    pub(super) n_events: u64,
    pub(super) n_critical_events: u64,
    pub(super) n_dead_letters: u64,
    /// Dead letters of messages on which the writer panicked.
    pub(super) n_panics: u64,
    pub(super) n_not_acked: u64,
    pub(super) n_lost: u64,
    pub(super) n_doubled: u64,
    /// Stored, but not as it was sent.
    pub(super) n_changed: u64,
    /// Stored, but never sent.
    pub(super) n_never_sent: u64,
    /// Points that were found, as `spindle-store` gives them.
    pub(super) n_found: u64,
    pub(super) findings: Vec<String>,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.n_lost + self.n_doubled + self.n_changed + self.n_never_sent == 0
    }

    /// What the database itself counts must be what was read from it: reading may hide what is there twice.
    pub(super) fn compare_count(&mut self, n_points: u64) {
        if n_points != self.n_found {
            let n_found = self.n_found;
            self.find(doubled, || format!("the database counts {n_points} points, {n_found} were read"));
        }
    }

    /// What the system says of itself must be what was found.
    pub(super) fn compare_audit(&mut self, audit: &Audit) {
        for words in &audit.not_complete {
            self.find(lost, || format!("audit_gaps: {words}"));
        }
        let n_expected = self.n_values + self.n_events;
        if self.n_not_acked == 0 && audit.n_numbers != n_expected {
            self.find(lost, || format!("audit_gaps counts {} numbers of {n_expected}", audit.n_numbers));
        }
    }

    fn find(&mut self, count: fn(&mut Self) -> &mut u64, words: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.findings.len() < NAMED {
            self.findings.push(words());
        }
    }
}

fn lost(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.n_lost
}

fn doubled(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.n_doubled
}

fn changed(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.n_changed
}

fn never_sent(verdict: &mut Verdict) -> &mut u64 {
    &mut verdict.n_never_sent
}

/// One message's part of what is expected.
#[derive(Clone, Copy, Debug)]
struct Origin {
    number: u64,
    is_acked: bool,
}

struct ExpectedValue {
    time_ns: i64,
    value: f64,
    origin: Origin,
}

struct ExpectedEvent {
    device: u64,
    time_ns: i64,
    event_type: usize,
    criticality: u64,
    seq: u64,
    origin: Origin,
    n_found: u64,
}

struct ExpectedLetter {
    bytes: Vec<u8>,
    reason: &'static str,
    origin: Origin,
    n_found: u64,
}

#[derive(Default)]
struct Expected {
    /// By device and number of the metric.
    values: BTreeMap<(u64, usize), Vec<ExpectedValue>>,
    events: HashMap<u128, ExpectedEvent>,
    /// By message and place in it.
    letters: HashMap<(u64, usize), ExpectedLetter>,
}

/// Counts the values and events that must be stored.
pub(super) fn n_expected(shape: Shape, conditions: Arc<Conditions>, ledger: &Ledger) -> u64 {
    let acked = Messages::new(shape, conditions).filter(|message| ledger.is_acked(message.number));
    let n_stored = |message: Message| message.items.iter().filter(|item| !matches!(item, Item::Poison { .. })).count();
    acked.map(|message| n_stored(message) as u64).sum()
}

/// Where to look.
pub(super) struct Places<'a> {
    pub(super) store: &'a Store,
    pub(super) nats: &'a Address,
    pub(super) prefix: &'a str,
}

/// Judges. Errors are only about looking; what is wrong with what was found is in the verdict.
pub(super) async fn judge(
    shape: Shape,
    conditions: Arc<Conditions>,
    ledger: &Ledger,
    places: Places<'_>,
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut expected = expect(shape, conditions, ledger, &mut verdict);
    for ((device, metric), values) in &mut expected.values {
        values.sort_by_key(|value| value.time_ns);
        let (name, metric_type) = (DeviceName::new(&device_name(*device))?, MetricType::new(METRICS[*metric])?);
        let found = places.store.range(&name, &metric_type, EVERYTHING, usize::MAX >> 1).await?;
        verdict.n_found += found.len() as u64;
        judge_values(values, &found, &format!("{name} {metric_type}"), &mut verdict);
    }
    for device in 0..shape.n_devices {
        let filter = EventFilter {
            window: EVERYTHING,
            basis: TimeBasis::Happened,
            source_device: Some(DeviceName::new(&device_name(device))?),
            event_type: None,
            min_criticality: Criticality::new(1).context("1 is a criticality")?,
            limit: usize::MAX >> 1,
            offset: 0,
        };
        for record in places.store.events(filter).await? {
            verdict.n_found += 1;
            judge_event(&record, &mut expected, &mut verdict);
        }
    }
    for event in expected.events.values() {
        let what = || format!("event {} of {}, message {}", event.seq, device_name(event.device), event.origin.number);
        match event.n_found {
            0 if event.origin.is_acked => verdict.find(lost, || format!("lost: {}", what())),
            0 | 1 => {}
            n_found => verdict.find(doubled, || format!("{n_found} times: {}", what())),
        }
    }
    judge_letters(&mut expected, &places, &mut verdict).await?;
    Ok(verdict)
}

fn expect(shape: Shape, conditions: Arc<Conditions>, ledger: &Ledger, verdict: &mut Verdict) -> Expected {
    let mut expected = Expected::default();
    for message in Messages::new(shape, conditions) {
        let origin = Origin { number: message.number, is_acked: ledger.is_acked(message.number) };
        verdict.n_not_acked += u64::from(!origin.is_acked);
        for item in message.items {
            match item {
                Item::Value { device, metric, time_ns, value, .. } => {
                    verdict.n_values += u64::from(origin.is_acked);
                    expected.values.entry((device, metric)).or_default().push(ExpectedValue { time_ns, value, origin });
                }
                Item::Event { device, id, time_ns, event_type, criticality, seq } => {
                    verdict.n_events += u64::from(origin.is_acked);
                    verdict.n_critical_events += u64::from(origin.is_acked && criticality >= 8);
                    let event = ExpectedEvent { device, time_ns, event_type, criticality, seq, origin, n_found: 0 };
                    expected.events.insert(id, event);
                }
                Item::Poison { index, bytes, reason } => {
                    verdict.n_dead_letters += u64::from(origin.is_acked);
                    verdict.n_panics += u64::from(origin.is_acked && reason == PANIC_REASON);
                    let letter = ExpectedLetter { bytes, reason, origin, n_found: 0 };
                    expected.letters.insert((origin.number, index), letter);
                }
            }
        }
    }
    expected
}

/// Both in order of time.
fn judge_values(expected: &[ExpectedValue], found: &[Sample], what: &str, verdict: &mut Verdict) {
    let mut found = found.iter().peekable();
    for ExpectedValue { time_ns, value, origin } in expected {
        while let Some(stranger) = found.next_if(|sample| sample.time.as_ns() < *time_ns) {
            verdict.find(never_sent, || format!("never sent: {what} at {}", stranger.time));
        }
        let at = || format!("{what} at {}, message {}", Timestamp::from_ns(*time_ns), origin.number);
        match found.next_if(|sample| sample.time.as_ns() == *time_ns) {
            Some(sample) if sample.value.to_bits() != value.to_bits() => {
                verdict.find(changed, || format!("{} instead of {value}: {}", sample.value, at()));
            }
            Some(_) => {}
            None if origin.is_acked => verdict.find(lost, || format!("lost: {}", at())),
            None => {}
        }
        while found.next_if(|sample| sample.time.as_ns() == *time_ns).is_some() {
            verdict.find(doubled, || format!("twice: {}", at()));
        }
    }
    for stranger in found {
        verdict.find(never_sent, || format!("never sent: {what} at {}", stranger.time));
    }
}

fn judge_event(record: &EventRecord, expected: &mut Expected, verdict: &mut Verdict) {
    let event = &record.event;
    let Some(wanted) = expected.events.get_mut(&event.id.as_u128()) else {
        return verdict.find(never_sent, || format!("never sent: event {} of {}", event.id, event.source_device));
    };
    wanted.n_found += 1;
    let is_same = event.source_device.as_str() == device_name(wanted.device)
        && event.timestamp.as_ns() == wanted.time_ns
        && event.event_type.as_str() == event_type(wanted.event_type)
        && u64::from(event.criticality.level()) == wanted.criticality
        && event.event_message.as_ref().is_some_and(|words| words.contains(&format!("number {},", wanted.seq)));
    if !is_same {
        verdict.find(changed, || format!("not as sent: event {} of {}", event.id, event.source_device));
    }
}

async fn judge_letters(expected: &mut Expected, places: &Places<'_>, verdict: &mut Verdict) -> Result<()> {
    for letter in read_stream(places.nats, "DEADLETTER").await? {
        let header = |name: &str| letter.header(name).unwrap_or_default().to_owned();
        let number = number_of(places.prefix, &header("Spindle-Message-Id"));
        let place = number.zip(header("Spindle-Index").parse().ok());
        let Some(wanted) = place.and_then(|place| expected.letters.get_mut(&place)) else {
            verdict.find(never_sent, || {
                format!("no poison, yet a dead letter: {} {}", letter.subject, header("Spindle-Detail"))
            });
            continue;
        };
        wanted.n_found += 1;
        if wanted.bytes != letter.payload || wanted.reason != header("Spindle-Reason") {
            verdict.find(changed, || {
                format!("a dead letter with other bytes or reason: message {}", wanted.origin.number)
            });
        }
    }
    for ((number, index), letter) in &expected.letters {
        match letter.n_found {
            0 if letter.origin.is_acked => {
                verdict.find(lost, || format!("no dead letter of element {index} of message {number}"));
            }
            0 | 1 => {}
            n_found => {
                verdict.find(doubled, || format!("{n_found} dead letters of element {index} of message {number}"));
            }
        }
    }
    Ok(())
}

/// Every message of a stream, over a consumer that goes with its connection.
async fn read_stream(nats: &Address, stream: &str) -> Result<Vec<Received>> {
    let mut connection = Connection::open(nats).await?;
    let info = connection.jetstream(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
    let n_messages = info["state"]["messages"].as_u64().unwrap_or_default();
    let inbox = format!("_FAULTS.read.{}", std::process::id());
    connection.write(format!("SUB {inbox} 9\r\n").as_bytes()).await?;
    let config = json!({ "stream_name": stream, "config": {
        "deliver_subject": inbox, "deliver_policy": "all", "ack_policy": "none", "replay_policy": "instant",
        "mem_storage": true, "num_replicas": 1, "inactive_threshold": 60_000_000_000_u64,
    }});
    connection.jetstream(&format!("CONSUMER.CREATE.{stream}"), &config).await?;
    let mut messages = Vec::new();
    while (messages.len() as u64) < n_messages {
        let message = timeout(SILENCE, connection.next()).await.context("stream is silent")??;
        // The reply subject is that of its ack, the mark of a message of the stream. Its own subject was kept.
        if message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK.")) {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(times: &[i64]) -> Vec<ExpectedValue> {
        let origin = |number: usize| Origin { number: number as u64, is_acked: number != 3 };
        times
            .iter()
            .enumerate()
            .map(|(n, time)| ExpectedValue { time_ns: *time, value: 1.5, origin: origin(n) })
            .collect()
    }

    fn samples(found: &[(i64, f64)]) -> Vec<Sample> {
        found.iter().map(|(time, value)| Sample { time: Timestamp::from_ns(*time), value: *value }).collect()
    }

    #[test]
    fn each_wrong_is_seen() {
        let check = |found: &[(i64, f64)], expect: [u64; 4]| {
            let mut verdict = Verdict::default();
            judge_values(&values(&[10, 20, 30, 40]), &samples(found), "d", &mut verdict);
            let counts = [verdict.n_lost, verdict.n_doubled, verdict.n_changed, verdict.n_never_sent];
            assert_eq!(counts, expect, "{found:?} {:?}", verdict.findings);
            assert_eq!(verdict.is_good(), expect == [0; 4]);
        };
        check(&[(10, 1.5), (20, 1.5), (30, 1.5), (40, 1.5)], [0; 4]);
        check(&[(10, 1.5), (20, 1.5), (30, 1.5)], [0; 4]); // the last was not acknowledged
        check(&[(20, 1.5), (30, 1.5)], [1, 0, 0, 0]);
        check(&[], [3, 0, 0, 0]);
        check(&[(10, 1.5), (10, 1.5), (20, 1.5), (30, 1.5)], [0, 1, 0, 0]);
        check(&[(10, 1.5), (20, 1.6), (30, 1.5)], [0, 0, 1, 0]);
        check(&[(5, 1.5), (10, 1.5), (20, 1.5), (30, 1.5), (50, 1.5)], [0, 0, 0, 2]);
    }
}
