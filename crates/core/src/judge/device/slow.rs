//! Devices slower than in their own past ([`own_past`](super::own_past)), as events.

use std::time::Duration;

use super::Device;
use super::notes::{exact, rounded};
use super::own_past::{Change, OwnPast};
use crate::judge::events::{Finding, LATENCY_RAISED, LATENCY_RAISED_ENDED};
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Criticality of a slow device, and of one whose cause has called a person already.
pub(in crate::judge) const PAGE: u8 = 7;
pub(in crate::judge) const NOTE: u8 = 6;
/// Age, by the clock of the sender and beside the newest latency, up to which a value is one of the present load.
const LOAD_CURRENT_FOR: Duration = Duration::from_secs(600);

/// Takes the mean latency of a device in a minute, in ms; `at` is its end.
pub(in crate::judge) fn look(
    device: &mut Device,
    latency_ms: f64,
    at: Timestamp,
    quiet_until: Timestamp,
    made: &mut Vec<Event>,
) {
    let mut values = OwnPast::metrics().map(|metric| newest(device, metric));
    let latency_at = values[0].map_or(at, |(time, _)| time);
    values.iter_mut().for_each(|value| *value = value.filter(|(time, _)| time.plus(LOAD_CURRENT_FOR) >= latency_at));
    let mut values = values.map(|value| value.map(|(_, value)| value));
    values[0] = Some(latency_ms);
    let Some(change) = device.own_past.push(at.minute(), values) else { return };
    if at < quiet_until {
        device.own_past.unsay(change);
        return;
    }
    device.own_past.changed = Some(at);
    let (event_type, criticality, message) = match change {
        Change::Slow { level, usual, minutes } => {
            let (level, usual) = (rounded(level), rounded(usual));
            let message = format!(
                "Latency at least {level} ms for {minutes} minutes, usual {usual} ms, with no more load than usual"
            );
            (LATENCY_RAISED, if device.pages.stands_for_slowness(at) { NOTE } else { PAGE }, message)
        }
        Change::Usual => (LATENCY_RAISED_ENDED, 3, format!("Latency {} ms: as usual again", rounded(latency_ms))),
    };
    let mut labels = device.labels_of_event();
    labels.insert("metric".to_owned(), "Latency".to_owned());
    labels.insert("value".to_owned(), exact(latency_ms));
    if let Change::Slow { usual, .. } = change {
        labels.insert("expected".to_owned(), exact(usual));
    }
    let finding = Finding { event_type, criticality, device: &device.name, at, subject: "", message, labels };
    device.say(finding.into_event(), at, made);
}

fn newest(device: &Device, metric: &str) -> Option<(Timestamp, f64)> {
    let place = device.series.binary_search_by(|series| (*series.metric_type).cmp(metric)).ok()?;
    device.series[place].newest.as_ref().map(|newest| (newest.time, newest.value))
}
