//! Verdict: makes every message again and looks it up. An acknowledged element must be stored once, or be a dead letter
//! byte for byte; one that was not acknowledged may be either, once; nothing else may exist.

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
use super::publish::{Ledger, number_of};
use crate::harness::nats::{Address, Connection, Received};

/// Limit of described findings; the others are only counted.
const MAX_FINDINGS: usize = 20;
const SILENCE: Duration = Duration::from_secs(10);
/// Window that holds every clock.
const EVERYTHING: Window = Window { from: Timestamp::from_ns(0), until: Timestamp::from_ns(i64::MAX - 1) };

/// Counts and findings.
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
    /// Stored, but not as sent.
    pub(super) n_changed: u64,
    /// Stored, but never sent.
    pub(super) n_never_sent: u64,
    /// Points read with `spindle-store`.
    pub(super) n_found: u64,
    pub(super) findings: Vec<String>,
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        self.n_lost + self.n_doubled + self.n_changed + self.n_never_sent == 0
    }

    /// Compares the points that were read with the count of the database itself: reading may hide duplicates.
    pub(super) fn compare_count(&mut self, n_points: u64) {
        if n_points != self.n_found {
            let n_found = self.n_found;
            self.find(doubled, || format!("the database counts {n_points} points, {n_found} were read"));
        }
    }

    /// Compares the system's own audit with the messages.
    pub(super) fn compare_audit(&mut self, audit: &Audit) {
        for message in &audit.not_complete {
            self.find(lost, || format!("audit_gaps: {message}"));
        }
        let n_expected = self.n_values + self.n_events;
        if self.n_not_acked == 0 && audit.n_numbers != n_expected {
            self.find(lost, || format!("audit_gaps counts {} numbers of {n_expected}", audit.n_numbers));
        }
    }

    fn find(&mut self, count: fn(&mut Self) -> &mut u64, describe: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(describe());
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

/// Message that an expected element belongs to.
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

struct ExpectedDeadLetter {
    bytes: Vec<u8>,
    reason: &'static str,
    origin: Origin,
    n_found: u64,
}

#[derive(Default)]
struct Expected {
    /// Values by device and index of the metric.
    values: BTreeMap<(u64, usize), Vec<ExpectedValue>>,
    events: HashMap<u128, ExpectedEvent>,
    /// Dead letters by message and index.
    dead_letters: HashMap<(u64, usize), ExpectedDeadLetter>,
}

/// Counts the values and events that must be stored.
pub(super) fn n_expected(shape: Shape, conditions: Arc<Conditions>, ledger: &Ledger) -> u64 {
    let acked = Messages::new(shape, conditions).filter(|message| ledger.is_acked(message.number));
    let n_stored = |message: Message| message.items.iter().filter(|item| !matches!(item, Item::Poison { .. })).count();
    acked.map(|message| n_stored(message) as u64).sum()
}

/// Everything that the judge reads.
pub(super) struct Sources<'a> {
    pub(super) store: &'a Store,
    pub(super) nats: &'a Address,
    pub(super) prefix: &'a str,
}

/// Compares the store and the dead letters with the messages. Errors are failures to read; every deviation is in the
/// verdict.
pub(super) async fn judge(
    shape: Shape,
    conditions: Arc<Conditions>,
    ledger: &Ledger,
    sources: Sources<'_>,
) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut expected = expect(shape, conditions, ledger, &mut verdict);
    for ((device, metric), values) in &mut expected.values {
        values.sort_by_key(|value| value.time_ns);
        let (name, metric_type) = (DeviceName::new(&device_name(*device))?, MetricType::new(METRICS[*metric])?);
        let found = sources.store.range(&name, &metric_type, EVERYTHING, usize::MAX >> 1).await?;
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
        for record in sources.store.events(filter).await? {
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
    judge_dead_letters(&mut expected, &sources, &mut verdict).await?;
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
                    let dead_letter = ExpectedDeadLetter { bytes, reason, origin, n_found: 0 };
                    expected.dead_letters.insert((origin.number, index), dead_letter);
                }
            }
        }
    }
    expected
}

/// Compares values, both in order of time.
fn judge_values(expected: &[ExpectedValue], found: &[Sample], what: &str, verdict: &mut Verdict) {
    let mut found = found.iter().peekable();
    for ExpectedValue { time_ns, value, origin } in expected {
        while let Some(unknown) = found.next_if(|sample| sample.time.as_ns() < *time_ns) {
            verdict.find(never_sent, || format!("never sent: {what} at {}", unknown.time));
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
    for unknown in found {
        verdict.find(never_sent, || format!("never sent: {what} at {}", unknown.time));
    }
}

fn judge_event(record: &EventRecord, expected: &mut Expected, verdict: &mut Verdict) {
    let event = &record.event;
    let Some(wanted) = event.id.as_uuid().and_then(|id| expected.events.get_mut(&id.as_u128())) else {
        return verdict.find(never_sent, || format!("never sent: event {} of {}", event.id, event.source_device));
    };
    wanted.n_found += 1;
    let is_same = event.source_device.as_str() == device_name(wanted.device)
        && event.timestamp.as_ns() == wanted.time_ns
        && event.event_type.as_str() == event_type(wanted.event_type)
        && u64::from(event.criticality.level()) == wanted.criticality
        && event.event_message.as_ref().is_some_and(|message| message.contains(&format!("number {},", wanted.seq)));
    if !is_same {
        verdict.find(changed, || format!("not as sent: event {} of {}", event.id, event.source_device));
    }
}

async fn judge_dead_letters(expected: &mut Expected, sources: &Sources<'_>, verdict: &mut Verdict) -> Result<()> {
    for dead_letter in read_stream(sources.nats, "DEADLETTER").await? {
        let header = |name: &str| dead_letter.header(name).unwrap_or_default().to_owned();
        let number = number_of(sources.prefix, &header("Spindle-Message-Id"));
        let key = number.zip(header("Spindle-Index").parse().ok());
        let Some(wanted) = key.and_then(|key| expected.dead_letters.get_mut(&key)) else {
            verdict.find(never_sent, || {
                format!("unexpected dead letter: {} {}", dead_letter.subject, header("Spindle-Detail"))
            });
            continue;
        };
        wanted.n_found += 1;
        if wanted.bytes != dead_letter.payload || wanted.reason != header("Spindle-Reason") {
            verdict
                .find(changed, || format!("dead letter with other bytes or reason: message {}", wanted.origin.number));
        }
    }
    for ((number, index), dead_letter) in &expected.dead_letters {
        match dead_letter.n_found {
            0 if dead_letter.origin.is_acked => {
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

/// Reads every message of a stream, over a consumer that ends with its connection.
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
        let message = timeout(SILENCE, connection.next()).await.context("no message from the stream")??;
        // Messages of the stream keep their subjects; the reply subject for the ack identifies them.
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
        check(&[(10, 1.5), (20, 1.5), (30, 1.5)], [0; 4]); // the last one was not acknowledged
        check(&[(20, 1.5), (30, 1.5)], [1, 0, 0, 0]);
        check(&[], [3, 0, 0, 0]);
        check(&[(10, 1.5), (10, 1.5), (20, 1.5), (30, 1.5)], [0, 1, 0, 0]);
        check(&[(10, 1.5), (20, 1.6), (30, 1.5)], [0, 0, 1, 0]);
        check(&[(5, 1.5), (10, 1.5), (20, 1.5), (30, 1.5), (50, 1.5)], [0, 0, 0, 2]);
    }
}
