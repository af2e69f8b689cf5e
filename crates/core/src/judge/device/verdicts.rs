//! Standing verdict on a device, and the events that make its history.

use std::time::Duration;

use super::Device;
use super::agreement::{Family, Shelves};
use super::pages::{PAGED_FOR, is_of_place};
use super::series::{Grade, Series};
use crate::fleet;
use crate::health::{self, Evidence, Health, HealthReason, Verdict};
use crate::judge::events::{Finding, HEALTH_CHANGED};
use crate::records::Window;
use crate::timestamp::Timestamp;
use crate::wire::Event;

/// Window of a verdict, as that of the query `device_health`.
const WINDOW: Duration = Duration::from_secs(3600);
/// Time for which a verdict must hold to be stated: one that got better, or the first; and one that got worse.
const BETTER_AFTER: Duration = Duration::from_secs(600);
const WORSE_AFTER: Duration = Duration::from_secs(60);
/// Time after which a verdict is stated again.
const STATED_AGAIN_AFTER: Duration = Duration::from_secs(86_400);
/// Time after which a verdict on a value beyond a limit is looked at again: the value may have become too old.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(300);
/// Most changes stated in an hour.
const MAX_CHANGES: usize = 4;
const HOUR: Duration = Duration::from_secs(3600);
/// Most values beyond a limit that are known of a device.
const MAX_CRITICAL: usize = 16;

/// Verdict as stated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::judge) struct Stated {
    pub(in crate::judge) health: Health,
    pub(in crate::judge) since: Timestamp,
    pub(in crate::judge) at: Timestamp,
}

/// Verdict on a device over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::judge) struct Standing {
    /// `true` if evidence has changed.
    pub(in crate::judge) is_dirty: bool,
    /// `true` while nothing current is known: any value may change that.
    pub(in crate::judge) is_unknown: bool,
    pub(in crate::judge) stated: Option<Stated>,
    /// Verdict that differs from the stated one, and since when.
    pub(in crate::judge) pending: Option<(Health, Timestamp)>,
    /// Time of the next verdict if no evidence changes.
    pub(in crate::judge) again_at: Timestamp,
    /// Times of the last changes.
    pub(in crate::judge) changes: Vec<Timestamp>,
    /// Metrics that were critical at the last look: no news.
    pub(in crate::judge) critical: Vec<String>,
}

impl Standing {
    /// Takes a statement of another run of the detector.
    pub(in crate::judge) fn adopt(&mut self, event: &Event, at: Timestamp) {
        let Some(health) = event.label("to").and_then(Health::of_name) else { return };
        if self.stated.is_some_and(|stated| stated.at >= at) {
            return;
        }
        let since = event.label("since").and_then(|text| Timestamp::parse(text).ok()).unwrap_or(at);
        self.stated = Some(Stated { health, since, at });
        if health != Health::Critical {
            self.critical.clear();
        } else if let Some(why) = event.label("why")
            && self.critical.len() < MAX_CRITICAL
            && !self.critical.iter().any(|known| known == why)
        {
            self.critical.push(why.to_owned());
        }
    }

    /// Returns how long a verdict must hold before it is stated.
    fn hold(&self, health: Health) -> Duration {
        match self.stated {
            _ if health == Health::Critical => Duration::ZERO,
            Some(stated) if health < stated.health => BETTER_AFTER,
            Some(_) | None => WORSE_AFTER,
        }
    }

    /// Takes a verdict; returns the time from which on it may be stated, if it is not the stated one.
    fn take(&mut self, health: Health, now: Timestamp) -> Option<Timestamp> {
        if self.stated.is_some_and(|stated| stated.health == health) {
            self.pending = None;
            return None;
        }
        let since = match self.pending {
            Some((pending, since)) if pending == health => since,
            _ => now,
        };
        self.pending = Some((health, since));
        self.changes.retain(|change| now < change.plus(HOUR));
        let held = since.plus(self.hold(health));
        let is_many = self.changes.len() >= MAX_CHANGES && health != Health::Critical;
        let free = self.changes.first().filter(|_| is_many).map(|first| first.plus(HOUR));
        Some(free.map_or(held, |free| held.max(free)))
    }
}

/// Judges a device if it must be. Returns the time at which to look again.
pub(in crate::judge) fn look(
    device: &mut Device,
    shelves: &mut Shelves,
    now: Timestamp,
    quiet_until: Timestamp,
    made: &mut Vec<Event>,
) -> Timestamp {
    let silent_at = silent_at(device);
    let falls_silent = !device.standing.is_unknown && silent_at.is_some_and(|at| at <= now);
    if !device.standing.is_dirty && now < device.standing.again_at && !falls_silent {
        return next_look(device, silent_at, now);
    }
    device.standing.is_dirty = false;
    device.kept.forget(now);
    let verdict = judge(device, now);
    device.standing.is_unknown = verdict.health == Health::Unknown;
    let mut again_at = changes_at(device, now).unwrap_or(now.plus(STATED_AGAIN_AFTER));
    let change_at = device.standing.take(verdict.health, now);
    // A statement about a silent device would be its newest sign of life in the store.
    let is_silent = silent_at.is_none_or(|at| at <= now);
    let again = if is_silent { Duration::MAX } else { STATED_AGAIN_AFTER };
    let repeat_at = device.standing.stated.map(|stated| stated.at.plus(again));
    let state_at = change_at.or(repeat_at).unwrap_or(now).max(quiet_until);
    let called = if now < quiet_until { None } else { calls(device, &verdict, now) };
    if state_at <= now || called.is_some() {
        let event = state(device, &verdict, called, shelves, now);
        shelves.page(device, &event, now);
        device.pages.take(&event, now);
        made.push(event);
    } else {
        again_at = again_at.min(state_at);
    }
    device.standing.again_at = again_at;
    next_look(device, silent_at, now)
}

/// Returns the first time at which the verdict can change although no evidence does: some of it gets too old.
fn changes_at(device: &Device, now: Timestamp) -> Option<Timestamp> {
    let current = device.current_window(window_at(now));
    let is_beyond = |series: &Series| {
        let newest = series.newest.as_ref().is_some_and(|newest| current.contains(newest.time));
        newest && series.grade != Grade::Fine
    };
    let of_values = device.series.iter().any(is_beyond).then(|| now.plus(LOOK_AGAIN_AFTER));
    let of_events = device.kept.ends(WINDOW).filter(|end| *end >= now).map(|end| end.plus(Duration::from_nanos(2)));
    of_events.chain(of_values).min()
}

fn window_at(now: Timestamp) -> Window {
    Window::ending_at(now.plus(Duration::from_nanos(1)), WINDOW)
}

fn next_look(device: &Device, silent_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let again_at = device.standing.again_at;
    silent_at.filter(|at| *at > now && !device.standing.is_unknown).map_or(again_at, |at| at.min(again_at))
}

/// Returns the first time at which a device that sends nothing more counts as silent.
fn silent_at(device: &Device) -> Option<Timestamp> {
    let allowed = health::allowed_silence(device.rhythm());
    Some(device.arrival?.received.plus(allowed).plus(Duration::from_nanos(1)))
}

/// Takes a hole, after the arrivals have been moved behind it: a device that is not silent yet gets no statement that nothing
/// is known of it, though all values are older than the window.
pub(in crate::judge) fn skip(device: &mut Device) {
    let silent_at = silent_at(device);
    let standing = &mut device.standing;
    standing.pending = silent_at.map(|at| (Health::Unknown, at)).filter(|_| !standing.is_unknown);
}

pub(in crate::judge) fn judge(device: &Device, now: Timestamp) -> Verdict {
    let window = window_at(now);
    let latest = device.latest(window);
    let newest_event = device.kept.events.iter().map(|record| record.event.timestamp).max();
    health::judge(&Evidence {
        window,
        latest: &latest,
        earlier: &[],
        events: &device.kept.events,
        events_cut_off: false,
        last_seen: device.arrival.map(|arrival| arrival.measured).max(newest_event),
        arrival: device.arrival,
        rhythm: device.rhythm(),
        decisions: &device.kept.decisions,
    })
}

/// States a verdict: a change, the same once more, or a value that has become critical and calls a person.
fn state(
    device: &mut Device,
    verdict: &Verdict,
    called: Option<&HealthReason>,
    shelves: &Shelves,
    now: Timestamp,
) -> Event {
    let before = device.standing.stated;
    let changed = device.standing.pending.take();
    let since = match (changed, before) {
        (Some((_, since)), _) => since,
        (None, Some(stated)) => stated.since,
        (None, None) => now,
    };
    if changed.is_some() && before.is_some() {
        device.standing.changes.push(now);
    }
    let from = before.map_or(verdict.health, |stated| stated.health);
    device.standing.stated = Some(Stated { health: verdict.health, since, at: now });
    let with = called.and_then(|reason| shelves.paged_beside(device, &[Family::of(&reason.metric)], now));
    let criticality = match (called, with) {
        (None, _) => 3,
        (Some(_), Some(_)) => 6,
        (Some(_), None) => 8,
    };
    let mut labels = device.labels_of_event();
    let mut label = |key: &str, value: String| labels.insert(key.to_owned(), value);
    label("from", from.name().to_owned());
    label("to", verdict.health.name().to_owned());
    label("since", since.to_string());
    if let Some(with) = with {
        label("with", with.to_string());
    }
    if let Some(score) = verdict.score {
        label("score", score.to_string());
    }
    let reason = called.or(verdict.reasons.first().filter(|reason| reason.health != Health::Ok));
    if let Some(HealthReason { metric, advice, .. }) = reason {
        label("why", metric.clone());
        if let Some(advice) = advice {
            label("advice", advice.to_string());
        }
    }
    let reason = reason.map_or("no finding", |reason| reason.why.as_str());
    let finding = Finding {
        event_type: HEALTH_CHANGED,
        criticality,
        device: &device.name,
        at: now,
        subject: verdict.health.name(),
        message: format!("{} since {since}: {reason}", verdict.health.name()),
        labels,
    };
    finding.into_event()
}

/// Returns the value that calls a person: it has become critical, no event has reported it, and nothing has called for a
/// day. Others that are critical as well hide it not. A fleet has counters beyond their limits from the beginning, which
/// health names and nobody need be woken for.
fn calls<'v>(device: &mut Device, verdict: &'v Verdict, now: Timestamp) -> Option<&'v HealthReason> {
    // Counters of drives are judged beside other drives and their own history, which predicts failures.
    let is_counter = |metric: &str| fleet::is_read(metric) && !fleet::is_temperature(metric);
    let is_beyond = |reason: &&HealthReason| reason.health == Health::Critical && reason.limit.is_some();
    let beyond = verdict.reasons.iter().filter(is_beyond).filter(|reason| !is_counter(&reason.metric));
    let critical: Vec<&HealthReason> = beyond.take(MAX_CRITICAL).collect();
    let names = critical.iter().map(|reason| reason.metric.clone()).collect();
    let known = std::mem::replace(&mut device.standing.critical, names);
    let is_open_at_place = device.kept.events.iter().map(|record| &record.event).any(|event| {
        let counts = |reason: &HealthReason| *reason.metric == *event.event_type && reason.health != Health::Ok;
        is_of_place(event) && verdict.reasons.iter().any(counts)
    });
    if is_open_at_place || device.pages.stands(now) {
        return None;
    }
    let is_new =
        |reason: &&HealthReason| !known.contains(&reason.metric) && !device.pages.has(&reason.metric, PAGED_FOR, now);
    critical.into_iter().find(is_new)
}
