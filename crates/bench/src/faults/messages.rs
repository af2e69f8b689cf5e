//! Known messages. The seed and the number determine the contents of a message, so the ledger records only which were
//! acknowledged, and the judge makes all of them again.
//!
//! Written by hand instead of with `core::wire`: the code under test must not judge itself.

use std::sync::Arc;

use spindle_core::Timestamp;

use super::conditions::{Conditions, NS_PER_SECOND};
use crate::harness::random::mix;

/// Metric types of the values, in turn: two from the metric table, one unknown.
pub(super) const METRICS: [&str; 3] = ["DiskTemp", "IOPs", "FaultNumber"];
pub(super) const METRICS_SUBJECT: &str = "events.metrics";
pub(super) const EVENTS_SUBJECT: &str = "events.event";
const EVENT_TYPES: [&str; 3] = ["FaultTest", "DriveFailure", "UnauthorizedAccess"];
/// Interval between two values of a device.
const STEP_NS: i64 = 1_000_000;
/// Share of messages with events, and with a bad element, per thousand.
const EVENTS_PER_THOUSAND: u64 = 60;
const POISON_PER_THOUSAND: u64 = 5;

/// Text on which debug builds of the writer panic, and the reason of the resulting dead letter.
pub(super) const PANIC_TOKEN: &str = "fault-harness-panics-here";
pub(super) const PANIC_REASON: &str = "panic";

/// Number and size of the messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) seed: u64,
    pub(super) n_messages: u64,
    pub(super) n_devices: u64,
    pub(super) values_per_message: u64,
    /// Start of the devices' clocks.
    pub(super) begin_ns: i64,
}

/// Message and its elements.
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) subject: &'static str,
    pub(super) payload: Vec<u8>,
    pub(super) items: Vec<Item>,
}

/// Expected fate of one element of a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// Stored value.
    Value { device: u64, metric: usize, time_ns: i64, value: f64, seq: u64 },
    /// Stored event.
    Event { device: u64, id: u128, time_ns: i64, event_type: usize, criticality: u64, seq: u64 },
    /// Dead letter with these bytes.
    Poison { index: usize, bytes: Vec<u8>, reason: &'static str },
}

/// All messages, in order.
pub(super) struct Messages {
    shape: Shape,
    conditions: Arc<Conditions>,
    number: u64,
    /// Last sequence number of each device.
    seqs: Vec<u64>,
}

impl Messages {
    pub(super) fn new(shape: Shape, conditions: Arc<Conditions>) -> Self {
        Self { shape, conditions, number: 0, seqs: vec![0; shape.n_devices as usize] }
    }

    fn seq(&mut self, device: u64) -> u64 {
        let seq = &mut self.seqs[device as usize];
        *seq += 1;
        *seq
    }

    fn values(&mut self, number: u64, device: u64, offset_ns: i64, n_values: u64) -> Vec<Item> {
        let value = |seq: u64| {
            let (hash, metric) =
                (mix(self.shape.seed ^ 0x76, seq ^ (device << 40)), (seq % METRICS.len() as u64) as usize);
            let value = match metric {
                0 => 20.0 + (hash % 4_000) as f64 / 100.0,
                1 => (hash % 100_000) as f64,
                _ => number as f64 + (hash % 1_000) as f64 / 1_000.0,
            };
            let time_ns = self.shape.begin_ns + seq as i64 * STEP_NS + offset_ns;
            Item::Value { device, metric, time_ns, value, seq }
        };
        let first = self.seqs[device as usize] + 1;
        let values = (first..first + n_values).map(value).collect();
        self.seqs[device as usize] += n_values;
        values
    }

    fn event(&mut self, number: u64, index: u64, device: u64, offset_ns: i64) -> Item {
        let hash = mix(self.shape.seed ^ 0x65, number * 8 + index);
        let seq = self.seq(device);
        // Whole seconds: many events of one device in one second differ by id alone.
        let time_ns =
            (self.shape.begin_ns + seq as i64 * STEP_NS + offset_ns).div_euclid(NS_PER_SECOND) * NS_PER_SECOND;
        Item::Event {
            device,
            id: u128::from(mix(hash, 1)) << 64 | u128::from(mix(hash, 2)),
            time_ns,
            event_type: (hash % EVENT_TYPES.len() as u64) as usize,
            criticality: 1 + (hash >> 8) % 10,
            seq,
        }
    }

    fn make(&mut self, number: u64) -> Message {
        let (hash, device) = (mix(self.shape.seed, number), number % self.shape.n_devices);
        let offset_ns = self.conditions.clock_offset_ns(number);
        if self.conditions.panics_at(number) {
            return panic_message(number, device);
        }
        match hash % 1_000 {
            n if n < POISON_PER_THOUSAND => self.poison(number, device, offset_ns, (hash >> 20) % 5),
            n if n < POISON_PER_THOUSAND + EVENTS_PER_THOUSAND => {
                let n_events = 1 + (hash >> 20) % 3;
                let items = (0..n_events).map(|index| self.event(number, index, device, offset_ns)).collect();
                whole(number, EVENTS_SUBJECT, items)
            }
            n => {
                // Some are bare objects, as in the legacy format.
                let n_values = if n < 100 { 1 } else { self.shape.values_per_message };
                let items = self.values(number, device, offset_ns, n_values);
                whole(number, METRICS_SUBJECT, items)
            }
        }
    }

    /// Makes a message with an element that can never be stored, alone or beside a good one. The bad element has no `seq`,
    /// so it leaves no gap.
    fn poison(&mut self, number: u64, device: u64, offset_ns: i64, kind: u64) -> Message {
        let name = device_name(device);
        let alone = |subject, payload, reason| alone(number, subject, payload, reason);
        match kind {
            0 => alone(METRICS_SUBJECT, format!("{{\"sourceDevice\":\"{name}\",\"value\":{number}").into(), "bad_json"),
            1 => alone(EVENTS_SUBJECT, [&number.to_be_bytes()[..], &[0xff, 0x00, 0x80]].concat(), "bad_json"),
            2 => alone(METRICS_SUBJECT, format!("\"only text, {number}\"").into(), "bad_shape"),
            3 => {
                let good = self.values(number, device, offset_ns, 1);
                let bad = format!(
                    r#"{{"timestamp":"2025-01-01T00:00:00Z", "sourceDevice":"{name}","metricType":"DiskTemp","value":1e9,"number":{number}}}"#
                );
                beside(number, METRICS_SUBJECT, good, bad, "bad_field")
            }
            _ => {
                let good = vec![self.event(number, 0, device, offset_ns)];
                let bad = format!(
                    r#"{{"timestamp":"2025-01-01T00:00:00Z","sourceDevice":"{name}","eventType":"None","number":{number}}}"#
                );
                beside(number, EVENTS_SUBJECT, good, bad, "missing_field")
            }
        }
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        (self.number < self.shape.n_messages).then(|| {
            let message = self.make(self.number);
            self.number += 1;
            message
        })
    }
}

fn whole(number: u64, subject: &'static str, items: Vec<Item>) -> Message {
    let texts: Vec<String> = items.iter().map(text).collect();
    let payload = if let [only] = &texts[..] { only.clone() } else { format!("[{}]", texts.join(",")) };
    Message { number, subject, payload: payload.into(), items }
}

/// Makes a message that is a single element, which can never be stored.
fn alone(number: u64, subject: &'static str, payload: Vec<u8>, reason: &'static str) -> Message {
    Message { number, subject, items: vec![Item::Poison { index: 0, bytes: payload.clone(), reason }], payload }
}

/// Makes a message that would be stored if the writer did not panic on it. It has no `seq`, so it leaves no gap.
fn panic_message(number: u64, device: u64) -> Message {
    let name = device_name(device);
    let (subject, kind) = if number.is_multiple_of(2) {
        (METRICS_SUBJECT, r#""metricType":"DiskTemp","value":30"#)
    } else {
        (EVENTS_SUBJECT, r#""eventType":"FaultTest","criticality":5"#)
    };
    let payload = format!(
        r#"{{"timestamp":"2025-01-01T00:00:00Z","sourceDevice":"{name}",{kind},"note":"{PANIC_TOKEN} {number}"}}"#
    );
    alone(number, subject, payload.into(), PANIC_REASON)
}

fn beside(number: u64, subject: &'static str, mut items: Vec<Item>, bad: String, reason: &'static str) -> Message {
    let payload = format!("[{}, {bad} ]", items.iter().map(text).collect::<Vec<_>>().join(","));
    items.push(Item::Poison { index: items.len(), bytes: bad.into(), reason });
    Message { number, subject, payload: payload.into(), items }
}

fn text(item: &Item) -> String {
    match item {
        Item::Value { device, metric, time_ns, value, seq } => format!(
            r#"{{"timestamp":"{}","sourceDevice":"{}","metricType":"{}","value":{value},"seq":{seq}}}"#,
            Timestamp::from_ns(*time_ns),
            device_name(*device),
            METRICS[*metric]
        ),
        Item::Event { device, id, time_ns, event_type, criticality, seq } => format!(
            r#"{{"id":"{}","criticality":{criticality},"timestamp":"{}","sourceDevice":"{}","eventType":"{}","eventMessage":"number {seq}, \"quoted\", and a comma","seq":{seq}}}"#,
            id_text(*id),
            Timestamp::from_ns(*time_ns),
            device_name(*device),
            EVENT_TYPES[*event_type]
        ),
        Item::Poison { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Prefix of the devices' names.
pub(super) const DEVICE_PREFIX: &str = "fault-";

pub(super) fn device_name(device: u64) -> String {
    format!("{DEVICE_PREFIX}{device:04}")
}

pub(super) fn event_type(index: usize) -> &'static str {
    EVENT_TYPES[index]
}

/// Formats a UUID.
fn id_text(id: u128) -> String {
    let hex = format!("{id:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use spindle_core::wire;

    use super::*;

    fn shape() -> Shape {
        Shape { seed: 7, n_messages: 20_000, n_devices: 50, values_per_message: 5, begin_ns: 1_750_000_000_123_456_789 }
    }

    #[test]
    fn what_the_wire_makes_of_a_message_is_what_is_expected_of_it() {
        for message in Messages::new(shape(), Arc::default()) {
            let expected_bad: Vec<_> = message
                .items
                .iter()
                .filter_map(|item| match item {
                    Item::Poison { index, bytes, reason } => Some((*index, bytes.clone(), *reason)),
                    Item::Value { .. } | Item::Event { .. } => None,
                })
                .collect();
            let n_good = message.items.len() - expected_bad.len();
            let (n_items, rejected) = if message.subject == METRICS_SUBJECT {
                let decoded = wire::decode_metrics(&message.payload);
                (decoded.items.len(), decoded.rejected)
            } else {
                let decoded = wire::decode_events(&message.payload);
                (decoded.items.len(), decoded.rejected)
            };
            let found: Vec<_> =
                rejected.into_iter().map(|bad| (bad.index, bad.bytes.clone(), bad.error.reason().as_str())).collect();
            assert_eq!((n_items, found), (n_good, expected_bad), "{}", String::from_utf8_lossy(&message.payload));
        }
    }

    #[test]
    fn nothing_meets_and_nothing_is_left_out_however_the_clock_is_set() {
        let conditions = Arc::new(Conditions::default());
        let mut messages = Messages::new(shape(), conditions.clone());
        let mut first: Vec<Message> = Vec::new();
        for hours in [-3_i64, 0, 5, -3, -3] {
            first.extend(messages.by_ref().take(3_000));
            conditions.set_clock(hours * 3_600 * NS_PER_SECOND);
            conditions.add_panics(7);
        }
        first.extend(messages);
        conditions.close();
        let mut values = HashSet::new();
        let mut ids = HashSet::new();
        let mut seqs = vec![Vec::new(); 50];
        for item in first.iter().flat_map(|message| &message.items) {
            match item {
                Item::Value { device, metric, time_ns, seq, .. } => {
                    assert!(values.insert((*device, *metric, *time_ns)));
                    seqs[*device as usize].push(*seq);
                }
                Item::Event { device, id, seq, .. } => {
                    assert!(ids.insert(*id));
                    seqs[*device as usize].push(*seq);
                }
                Item::Poison { .. } => {}
            }
        }
        let panics =
            first.iter().filter(|message| matches!(&message.items[..], [Item::Poison { reason: PANIC_REASON, .. }]));
        assert_eq!(panics.count(), 5 * 7);
        for of_device in seqs {
            assert!(of_device.iter().copied().eq(1..=of_device.len() as u64));
        }
        let again: Vec<Message> = Messages::new(shape(), conditions).collect();
        assert!(first.iter().map(|message| &message.payload).eq(again.iter().map(|message| &message.payload)));
    }
}
