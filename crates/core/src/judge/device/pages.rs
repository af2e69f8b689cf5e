//! Pages about one device, all in one log: what has called a person, so that one cause calls once. It holds pages of this
//! run of the detector, of earlier ones, and of others; notes are none.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health;
use crate::judge::events::{ANOMALIES_AGREE, HEALTH_CHANGED};
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Fault of the data on a device, which explains nothing else.
const OF_DATA: &str = "DataCorruption";
/// Time for which a page about a device stands for what follows there.
pub(in crate::judge) const PAGED_FOR: Duration = Duration::from_secs(24 * 3600);
/// The same for a page about its place.
const PLACE_PAGED_FOR: Duration = Duration::from_secs(1800);
/// The same for its slowness: a slow drive is slow now and then, for weeks.
const SLOW_PAGED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Longest time for which anything asks about a page.
const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Most pages kept; of more, the oldest go.
const MAX_PAGES: usize = 16;

/// Pages about one device: the newest of each cause.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::judge) struct PageLog(Vec<LoggedPage>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LoggedPage {
    /// Event type, or metric beyond its limit.
    cause: String,
    kind: PageKind,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum PageKind {
    /// Event about the device.
    Finding,
    /// Value beyond its limit.
    Value,
    /// The same, told with the page about another device: it stands for its own cause alone.
    Beside,
    /// Event about the place of the device.
    Place,
}

/// Returns `true` for a fault of the place where a device is: it concerns the other devices there as well.
pub(in crate::judge) fn is_of_place(event: &Event) -> bool {
    match event.event_type.as_str() {
        "FanFailure" | "ShelfOffline" => true,
        ANOMALIES_AGREE => event.label("n_devices").is_some(),
        _ => false,
    }
}

/// Returns kind and cause of a page; `None` if an event is none.
fn read(event: &Event) -> Option<(PageKind, &str)> {
    let calls = event.criticality.calls();
    let event_type = event.event_type.as_str();
    if event_type == HEALTH_CHANGED {
        let kind = if calls { PageKind::Value } else { PageKind::Beside };
        return event.label("why").filter(|_| calls || event.label("with").is_some()).map(|why| (kind, why));
    }
    let is_page = calls && health::fault_of(event_type).is_some() && event_type != OF_DATA;
    is_page.then(|| (if is_of_place(event) { PageKind::Place } else { PageKind::Finding }, event_type))
}

impl PageLog {
    /// Takes any event about the device; `at` is its time, not later than its arrival.
    pub(in crate::judge) fn take(&mut self, event: &Event, at: Timestamp) {
        let Some((kind, cause)) = read(event) else { return };
        if self.0.iter().any(|page| page.cause == cause && page.at >= at) {
            return;
        }
        self.0.retain(|page| page.cause != cause && at < page.at.plus(KEPT_FOR));
        while self.0.len() >= MAX_PAGES {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, page)| page.at).map(|(place, _)| place);
            self.0.remove(oldest.unwrap_or_default());
        }
        self.0.push(LoggedPage { cause: cause.to_owned(), kind, at });
    }

    /// Returns `true` if a page about the device or its place stands for what follows there.
    pub(in crate::judge) fn stands(&self, now: Timestamp) -> bool {
        self.0.iter().any(|page| match page.kind {
            PageKind::Finding | PageKind::Value => page.is_within(PAGED_FOR, now),
            PageKind::Place => page.is_within(PLACE_PAGED_FOR, now),
            PageKind::Beside => false,
        })
    }

    /// Returns `true` if a page stands for the slowness of the device. One about its place says nothing of that: ten
    /// minutes are longer than an outage.
    pub(in crate::judge) fn stands_for_slowness(&self, now: Timestamp) -> bool {
        self.0.iter().any(|page| match page.kind {
            PageKind::Finding => page.is_within(SLOW_PAGED_FOR, now),
            PageKind::Value => page.is_within(PAGED_FOR, now),
            PageKind::Place | PageKind::Beside => false,
        })
    }

    /// Returns `true` if this cause has called a person within `length`.
    pub(in crate::judge) fn has(&self, cause: &str, length: Duration, now: Timestamp) -> bool {
        self.0.iter().any(|page| page.cause == cause && page.is_within(length, now))
    }

    /// Forgets the page about a finding that an operator has accepted: if it gets worse, it must call again.
    pub(in crate::judge) fn accept(&mut self, finding: &str) {
        self.0.retain(|page| page.cause != finding);
    }

    /// Forgets the pages about a drive that was replaced at this time. Those about its place stand.
    pub(in crate::judge) fn replace(&mut self, at: Timestamp) {
        self.0.retain(|page| page.kind == PageKind::Place || page.at > at);
    }
}

impl LoggedPage {
    fn is_within(&self, length: Duration, now: Timestamp) -> bool {
        now < self.at.plus(length)
    }
}
