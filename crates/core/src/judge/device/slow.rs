//! Devices slower than in their own past ([`own_past`](super::own_past)), as events.

use std::time::Duration;

use super::Device;
use super::evidence::PAGE;
use super::notes::{exact, rounded};
use super::own_past::{Change, OwnPast};
use crate::judge::events::{ANOMALIES_AGREE, ANOMALIES_ENDED, Finding};
use crate::timestamp::Timestamp;
use crate::wire::Event;

const NOTE: u8 = 6;
/// Time after a page about a device in which its slowness calls nobody: a slow drive is slow now and then, for weeks.
const PAGE_AGAIN_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Takes the mean latency of a device in a minute, in ms; `at` is its end.
pub(in crate::judge) fn look(
    device: &mut Device,
    latency_ms: f64,
    at: Timestamp,
    is_quiet: bool,
    made: &mut Vec<Event>,
) {
    let mut values = OwnPast::metrics().map(|metric| newest(device, metric));
    values[0] = Some(latency_ms);
    let Some(change) = device.own_past.push(values) else { return };
    if is_quiet {
        device.own_past.unsay();
        return;
    }
    let has_paged = has_paged(device, at);
    let (event_type, criticality, message) = match change {
        Change::Slow { level, usual } => {
            let (level, usual) = (rounded(level), rounded(usual));
            let message =
                format!("Latency at least {level} ms for ten minutes, usual {usual} ms, with no more load than usual");
            (ANOMALIES_AGREE, if has_paged { NOTE } else { PAGE }, message)
        }
        Change::Usual => (ANOMALIES_ENDED, 3, format!("Latency {} ms: as usual again", rounded(latency_ms))),
    };
    let mut labels = device.labels_of_event();
    labels.insert("metric".to_owned(), "Latency".to_owned());
    labels.insert("value".to_owned(), exact(latency_ms));
    if let Change::Slow { usual, .. } = change {
        labels.insert("expected".to_owned(), exact(usual));
    }
    let finding = Finding { event_type, criticality, device: &device.name, at, subject: "own past", message, labels };
    device.say(finding.into_event(), at, made);
}

fn newest(device: &Device, metric: &str) -> Option<f64> {
    let place = device.series.binary_search_by(|series| (*series.metric_type).cmp(metric)).ok()?;
    device.series[place].newest.as_ref().map(|newest| newest.value)
}

/// Returns `true` if a person was called about the device itself. A page about its place says nothing of its slowness:
/// ten minutes are longer than an outage.
pub(in crate::judge) fn has_paged(device: &Device, at: Timestamp) -> bool {
    let paged = device.kept.paged.max(device.alarms.paged());
    paged.is_some_and(|paged| at < paged.plus(PAGE_AGAIN_AFTER))
}
