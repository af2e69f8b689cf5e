//! Faults to groups with one cause.
//!
//! - Faults of one device that overlap, or follow each other within [`TOGETHER_WITHIN`], if their kinds are related: a
//!   failure after its prediction is one incident with a history.
//! - Faults of devices of one enclosure that start within [`TOGETHER_WITHIN`] of each other, if their kinds are related.
//!   Wear is each drive's own, so predictions do not join across devices.
//! - Slowness while the enclosure is away, and heat while one of its fans has stopped, at any time in between.

use std::collections::BTreeMap;

use super::fault::{DeviceFault, Family};
use crate::cohort::TOGETHER_WITHIN;
use crate::name::DeviceName;
use crate::timestamp::Timestamp;

/// Sets of faults, joined pair by pair.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }
}

/// Groups faults, which come in order of their start.
pub(super) fn group<'f, 'a>(
    faults: &'f [DeviceFault<'a>],
    enclosure: impl Fn(&DeviceName) -> Option<&'a str>,
) -> Vec<Vec<&'f DeviceFault<'a>>> {
    let mut sets = Sets((0..faults.len()).collect());
    let mut by_device: BTreeMap<&DeviceName, Vec<usize>> = BTreeMap::new();
    let mut by_enclosure: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, fault) in faults.iter().enumerate() {
        by_device.entry(fault.device).or_default().push(index);
        if let Some(enclosure) = enclosure(fault.device) {
            by_enclosure.entry(enclosure).or_default().push(index);
        }
    }
    for of_device in by_device.values() {
        join(faults, of_device, &mut sets, end, on_one_device);
    }
    for of_enclosure in by_enclosure.values() {
        join(faults, of_enclosure, &mut sets, |fault| fault.opened, in_one_enclosure);
        join(
            faults,
            of_enclosure,
            &mut sets,
            |fault| if fault.explains() { end(fault) } else { fault.opened },
            explains,
        );
    }
    let mut groups: BTreeMap<usize, Vec<&DeviceFault<'a>>> = BTreeMap::new();
    for (index, fault) in faults.iter().enumerate() {
        groups.entry(sets.root(index)).or_default().push(fault);
    }
    groups.into_values().collect()
}

/// Joins each fault with related earlier ones that reach to its start. Of each kind, the one that reaches furthest is
/// enough: the others are joined with it, or reach no further than a start that was joined.
fn join(
    faults: &[DeviceFault<'_>],
    indices: &[usize],
    sets: &mut Sets,
    reach: impl Fn(&DeviceFault<'_>) -> Timestamp,
    is_related: impl Fn(&DeviceFault<'_>, &DeviceFault<'_>) -> bool,
) {
    let mut furthest: BTreeMap<(Family<'_>, bool), usize> = BTreeMap::new();
    for &index in indices {
        let fault = &faults[index];
        for &earlier in furthest.values() {
            let is_reached = reach(&faults[earlier]).plus(TOGETHER_WITHIN) >= fault.opened;
            if is_reached && is_related(&faults[earlier], fault) {
                sets.join(earlier, index);
            }
        }
        let held = furthest.entry((fault.family, fault.explains())).or_insert(index);
        if reach(fault) >= reach(&faults[*held]) {
            *held = index;
        }
    }
}

fn end(fault: &DeviceFault<'_>) -> Timestamp {
    fault.closed.unwrap_or(Timestamp::from_ns(i64::MAX))
}

fn on_one_device(one: &DeviceFault<'_>, other: &DeviceFault<'_>) -> bool {
    use Family::{Away, Corrupt, Failed, Slow, Worn};
    let is_of_drive = |family| matches!(family, Failed | Worn | Slow | Corrupt);
    let is_with_away = |family| matches!(family, Away | Failed | Slow);
    one.family == other.family
        || is_of_drive(one.family) && is_of_drive(other.family)
        || is_with_away(one.family) && is_with_away(other.family)
}

fn in_one_enclosure(one: &DeviceFault<'_>, other: &DeviceFault<'_>) -> bool {
    use Family::{Away, Failed, Slow, Worn};
    let is_of_enclosure = |family| matches!(family, Away | Failed | Slow);
    one.family == other.family && one.family != Worn || is_of_enclosure(one.family) && is_of_enclosure(other.family)
}

/// Returns `true` if an earlier fault of an enclosure explains a later one of its devices.
fn explains(earlier: &DeviceFault<'_>, later: &DeviceFault<'_>) -> bool {
    match earlier.family {
        Family::Away => matches!(later.family, Family::Away | Family::Slow),
        Family::Hot => earlier.explains() && later.family == Family::Hot,
        Family::Failed | Family::Worn | Family::Slow | Family::Corrupt | Family::Other(_) => false,
    }
}
