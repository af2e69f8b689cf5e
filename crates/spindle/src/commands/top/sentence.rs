//! The verdict on a fleet in words, by the grammar of the live page (`web/src/sentence.ts`). Pure.

use spindle_core::Timestamp;

use super::answers::Incident;
use super::fleet::{Fleet, State};
use super::words;

/// Fewest failing devices of one enclosure that the sentence names.
const GROUP_MIN: usize = 3;

/// Sentence with what belongs to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) state: State,
    pub(super) title: String,
    /// Start of the worst state.
    pub(super) since: Option<Timestamp>,
    pub(super) advice: Option<String>,
    /// Everything else, in counts.
    pub(super) rest: String,
}

/// Returns the sentence about a fleet. `incidents`: open or acknowledged, worst first.
pub(super) fn of_fleet(fleet: &Fleet, incidents: &[Incident]) -> Sentence {
    let needy = fleet.needy();
    let of = |state: State| -> Vec<usize> { needy.iter().copied().filter(|at| fleet.state(*at) == state).collect() };
    let [critical, warning, silent, unknown] = [State::Critical, State::Warning, State::Silent, State::Unknown].map(of);
    let are_silent = is_are(silent.len(), "silent");
    let are_unknown = is_are(unknown.len(), "not understood");
    let said = |state: State, title: String, of: &[usize], rest: Vec<Option<String>>| Sentence {
        state,
        title,
        since: of.iter().filter_map(|index| fleet.trouble(*index)?.since).min(),
        advice: advice(fleet, incidents, of),
        rest: joined(rest),
    };
    if !critical.is_empty() {
        let verb = if warning.len() == 1 { "needs" } else { "need" };
        let more = words::counted(warning.len(), "more thing");
        let more = (!warning.is_empty()).then(|| format!("{more} {verb} a look"));
        return said(State::Critical, failing(fleet, &critical), &critical, vec![more, are_silent, are_unknown]);
    }
    if !warning.is_empty() {
        let title = match warning[..] {
            [only] => format!("One thing needs a look: {}", words::name(fleet.device(only))),
            _ => format!("{} devices need a look", words::capital(&words::count(warning.len()))),
        };
        return said(State::Warning, title, &warning, vec![are_silent, are_unknown]);
    }
    if let Some(are_silent) = are_silent {
        return said(State::Silent, words::capital(&are_silent), &silent, vec![are_unknown]);
    }
    if !unknown.is_empty() {
        let title = format!("Nothing is known about {}", words::counted(unknown.len(), "device"));
        return said(State::Unknown, title, &unknown, Vec::new());
    }
    said(State::Ok, all_well(fleet), &[], vec![is_are(fleet.count(State::Asleep), "asleep")])
}

fn all_well(fleet: &Fleet) -> String {
    let noun = fleet.common_noun(0..fleet.len());
    match fleet.len() {
        0 => "No devices yet".to_owned(),
        1 => format!("The only {noun} is well"),
        n => format!("All {} {} are well", words::whole(n as u64), words::plural(noun)),
    }
}

fn failing(fleet: &Fleet, critical: &[usize]) -> String {
    let noun = fleet.common_noun(critical.iter().copied());
    if let [only] = *critical {
        let has_bay = fleet.label(only, "bay").is_some();
        let place = if has_bay { fleet.place(only) } else { words::name(fleet.device(only)) };
        return format!("One {noun} is failing: {place}");
    }
    let start = format!("{} {} are failing", words::capital(&words::count(critical.len())), words::plural(noun));
    match worst_enclosure(fleet, critical) {
        Some((name, n)) if n == critical.len() && n >= GROUP_MIN => format!("{start}, all in {}", words::name(name)),
        Some((name, n)) if n >= GROUP_MIN => format!("{start}, {} of them in {}", words::count(n), words::name(name)),
        Some(_) | None => start,
    }
}

/// Returns the enclosure with the most of some devices and their number; of equal ones that of the worst device.
fn worst_enclosure<'a>(fleet: &'a Fleet, indices: &[usize]) -> Option<(&'a str, usize)> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for name in indices.iter().filter_map(|index| fleet.label(*index, "enclosure")) {
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, n)) => *n += 1,
            None => groups.push((name, 1)),
        }
    }
    groups.into_iter().rev().max_by_key(|(_, n)| *n)
}

/// Returns the advice of the worst incident about one of the devices, else of the worst device.
fn advice(fleet: &Fleet, incidents: &[Incident], indices: &[usize]) -> Option<String> {
    let concerns = |incident: &&Incident| {
        let found = || incident.devices.iter().filter_map(|device| fleet.find(device));
        incident.advice.is_some() && found().any(|index| indices.contains(&index))
    };
    let of_incident = incidents.iter().find(concerns).and_then(|incident| incident.advice.clone());
    of_incident.or_else(|| indices.iter().find_map(|index| fleet.trouble(*index)?.advice.clone()))
}

fn is_are(n: usize, word: &str) -> Option<String> {
    let verb = if n == 1 { "is" } else { "are" };
    (n > 0).then(|| format!("{} {verb} {word}", words::counted(n, "device")))
}

fn joined(parts: Vec<Option<String>>) -> String {
    let present: Vec<String> = parts.into_iter().flatten().collect();
    if present.is_empty() { String::new() } else { words::capital(&present.join("; ")) + "." }
}

#[cfg(test)]
mod tests {
    //! The cases of `web/tests/unit/sentence.test.ts`.

    use super::super::test_data::{Given, fleet_of, ok};
    use super::*;

    fn title(devices: Vec<Given>) -> String {
        of_fleet(&fleet_of(&[devices, ok(3)].concat()), &[]).title
    }

    fn failing(n: usize, enclosure: &'static str) -> Vec<Given> {
        (0..n).map(|index| Given { enclosure, ..Given::new(&format!("{enclosure}-{index}"), "critical") }).collect()
    }

    #[test]
    fn the_sentence_names_the_worst() {
        let placed = Given { enclosure: "enclosure-02", bay: "17", ..Given::new("d1", "critical") };
        assert_eq!(title(vec![placed, Given::new("d2", "warning")]), "One drive is failing: enclosure-02, bay 17");
        assert_eq!(title(vec![Given::new("d1", "critical")]), "One drive is failing: d1");
        assert_eq!(title(vec![Given::new("d1", "warning")]), "One thing needs a look: d1");
        assert_eq!(title(vec![Given::new("d1", "silent"), Given::new("d2", "silent")]), "Two devices are silent");
        assert_eq!(title(vec![Given::new("d1", "unknown")]), "Nothing is known about one device");
        assert_eq!(title(Vec::new()), "All 3 drives are well");
        assert_eq!(of_fleet(&fleet_of(&[]), &[]).title, "No devices yet");
        assert_eq!(of_fleet(&fleet_of(&ok(1)), &[]).title, "The only drive is well");
    }

    #[test]
    fn a_group_with_three_that_fail_is_named() {
        let two_places = [failing(8, "enclosure 110"), failing(38, "")].concat();
        assert_eq!(title(two_places), "46 drives are failing, eight of them in enclosure 110");
        assert_eq!(title(failing(3, "e1")), "Three drives are failing, all in e1");
        assert_eq!(title(failing(2, "e1")), "Two drives are failing");
    }

    #[test]
    fn the_rest_is_counted_and_the_advice_is_that_of_the_worst() {
        let worst = Given {
            advice: Some("Replace the drive."),
            since: Some("2026-11-30T02:14:00Z"),
            ..Given::new("a", "critical")
        };
        let others = [("b", "warning"), ("c", "silent"), ("d", "silent")].map(|(name, state)| Given::new(name, state));
        let said = of_fleet(&fleet_of(&[vec![worst], others.to_vec()].concat()), &[]);
        assert_eq!((said.state, said.advice.as_deref()), (State::Critical, Some("Replace the drive.")));
        assert_eq!(said.rest, "One more thing needs a look; two devices are silent.");
        assert_eq!(said.since, Timestamp::parse("2026-11-30T02:14:00Z").ok());
    }

    #[test]
    fn devices_of_different_kinds_are_devices() {
        let array = Given { class: "StorageArray", ..Given::new("b", "ok") };
        assert_eq!(of_fleet(&fleet_of(&[Given::new("a", "ok"), array]), &[]).title, "All 2 devices are well");
    }

    #[test]
    fn names_are_text() {
        let evil = Given::new("\u{1b}[2Jd\u{202e}1", "critical");
        assert_eq!(title(vec![evil]), "One drive is failing: \\u{1b}[2Jd\\u{202e}1");
    }
}
