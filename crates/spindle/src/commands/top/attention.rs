//! The list of what needs attention: incidents worst first, and devices that are part of none. One row a cause.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use spindle_core::Timestamp;

use super::answers::Incident;
use super::fleet::{Fleet, State};
use super::words;

/// Row of the list; its texts are escaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: State,
    pub(super) is_acknowledged: bool,
    pub(super) title: String,
    pub(super) place: String,
    n_devices: usize,
    pub(super) since: Option<Timestamp>,
    pub(super) reason: String,
    pub(super) advice: Option<String>,
}

/// Returns the rows, worst first. `incidents`: open or acknowledged.
pub(super) fn rows(fleet: &Fleet, incidents: &[Incident]) -> Vec<Row> {
    let covered: HashSet<&str> = incidents.iter().flat_map(|each| each.devices.iter().map(String::as_str)).collect();
    let mut rows: Vec<Row> = incidents.iter().map(|incident| of_incident(fleet, incident)).collect();
    let mut others: BTreeMap<(State, &str), Vec<usize>> = BTreeMap::new();
    for index in fleet.needy() {
        if !covered.contains(fleet.device(index)) {
            let state = fleet.state(index);
            let is_by_place = matches!(state, State::Silent | State::Unknown);
            let place = group(fleet, index).filter(|_| is_by_place);
            others.entry((state, place.unwrap_or(fleet.device(index)))).or_default().push(index);
        }
    }
    rows.extend(others.into_values().map(|members| of_devices(fleet, &members)));
    rows.sort_by_key(|row| (row.state, row.is_acknowledged, Reverse(row.n_devices), row.since));
    rows
}

fn group(fleet: &Fleet, index: usize) -> Option<&str> {
    fleet.label(index, "enclosure").or_else(|| fleet.label(index, "host"))
}

fn of_incident(fleet: &Fleet, incident: &Incident) -> Row {
    let place = words::place(&incident.place);
    let name = words::name(&incident.source_device);
    let noun = || fleet.find(&incident.source_device).map_or("device", |index| fleet.noun(index));
    let (title, place) = match incident.devices.len() {
        0 | 1 => (name, place),
        n => (if place.is_empty() { name } else { place }, words::counted(n, noun())),
    };
    Row {
        state: if incident.health == "critical" { State::Critical } else { State::Warning },
        is_acknowledged: incident.state == "acknowledged",
        title,
        place,
        n_devices: incident.devices.len(),
        since: Some(incident.since),
        reason: words::reason(incident.reasons.first().map_or(&incident.cause, |reason| &reason.why)),
        advice: incident.advice.as_deref().map(plain),
    }
}

fn of_devices(fleet: &Fleet, members: &[usize]) -> Row {
    let first = members.first().copied().unwrap_or_default();
    let trouble = fleet.trouble(first).cloned().unwrap_or_default();
    let known = members.iter().filter_map(|index| fleet.trouble(*index)?.since).min();
    let heard = || fleet.heard_seconds(first).map(|seconds| fleet.until.minus(Duration::from_secs(seconds)));
    let is_silent = fleet.state(first) == State::Silent;
    let (title, place) = match members {
        [_] | [] => (words::name(fleet.device(first)), fleet.place(first)),
        _ => {
            let place = words::name(group(fleet, first).unwrap_or(""));
            let names: Vec<_> = members.iter().take(2).map(|index| words::name(fleet.device(*index))).collect();
            (format!("{place}, {} {}", members.len(), words::plural(fleet.noun(first))), names.join(", "))
        }
    };
    Row {
        state: fleet.state(first),
        is_acknowledged: trouble.acknowledged,
        title,
        place,
        n_devices: members.len(),
        since: known.or_else(|| if is_silent { heard() } else { None }),
        reason: words::reason(&trouble.reason),
        advice: trouble.advice.as_deref().map(plain),
    }
}

/// Returns an advice without its full stop: it stands alone.
fn plain(advice: &str) -> String {
    words::capital(&words::name(advice.strip_suffix('.').unwrap_or(advice)))
}

#[cfg(test)]
mod tests {
    use super::super::test_data::{Given, fleet_of, incident, ok};
    use super::*;

    #[test]
    fn incidents_come_worst_first_and_silent_devices_of_one_place_are_one_row() {
        let silent = |name: &str| Given { enclosure: "e1", ..Given::new(name, "silent") };
        let devices = [
            vec![silent("s1"), silent("s2"), Given::new("w", "warning"), Given::new("c", "critical")],
            vec![Given::new("alone", "warning")],
            ok(2),
        ];
        let fleet = fleet_of(&devices.concat());
        let incidents = [
            incident("w", "warning", &[], "2026-11-30T09:00:00Z"),
            incident("c", "critical", &[("enclosure", "e2"), ("bay", "17")], "2026-11-30T02:14:00Z"),
        ];
        let rows = rows(&fleet, &incidents);
        let said: Vec<_> = rows.iter().map(|row| (row.state, row.title.as_str(), row.place.as_str())).collect();
        let expected = [
            (State::Critical, "c", "e2, bay 17"),
            (State::Warning, "alone", ""),
            (State::Warning, "w", ""),
            (State::Silent, "e1, 2 drives", "s1, s2"),
        ];
        assert_eq!(said, expected);
        assert_eq!((rows[0].advice.as_deref(), rows[1].reason.as_str()), (Some("Replace the drive"), "because"));
        // The time of its newest values, for want of a better one.
        assert_eq!(rows[3].since, Timestamp::parse("2026-11-30T09:41:19Z").ok());
    }

    #[test]
    fn an_incident_of_several_devices_is_named_by_its_place() {
        let mut many = incident("d1", "warning", &[("enclosure", "e3")], "2026-11-30T09:00:00Z");
        many.devices = ["d1", "d2", "d3"].map(str::to_owned).to_vec();
        let rows = rows(&fleet_of(&[Given::new("d1", "warning")]), &[many]);
        assert_eq!((rows[0].title.as_str(), rows[0].place.as_str()), ("e3", "three drives"));
    }
}
