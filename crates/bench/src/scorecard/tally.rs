//! Counts of one or more plays.

use std::collections::BTreeMap;

/// Counts over some device-time.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) device_seconds: f64,
    /// Events of the judge by criticality and type.
    pub(super) made: BTreeMap<(Rank, String), Explained>,
    /// Pages that devices sent themselves, by type.
    pub(super) own_pages: BTreeMap<String, u64>,
    pub(super) faults: Vec<FaultScore>,
    pub(super) verdicts: VerdictTimes,
}

/// Weight of an event of the judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Calls a person.
    Page,
    /// Evidence against a device.
    Note,
    /// End of a finding, or a verdict for the record.
    Statement,
}

/// Number of events with and without a fault that explains them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Explained {
    pub(super) by_fault: u64,
    pub(super) by_nothing: u64,
}

/// Fault and what was said about it.
#[derive(Clone, Debug)]
pub(super) struct FaultScore {
    pub(super) kind: &'static str,
    pub(super) is_wear_out: bool,
    /// Time from the first sign to the failure, or to the end of the fault.
    pub(super) seconds: f64,
    /// Time from the first sign to the first page before the failure or the end.
    pub(super) paged_after: Option<f64>,
    /// The same for the first verdict with a reason against the device.
    pub(super) accused_after: Option<f64>,
    /// The same for the first note.
    pub(super) noted_after: Option<f64>,
    pub(super) n_pages: u64,
    pub(super) n_notes: u64,
}

/// Seconds of devices in verdicts, and their changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VerdictTimes {
    /// Without a fault.
    pub(super) sound: f64,
    /// Of these, with an accusation.
    pub(super) sound_accused: f64,
    /// In the second half of wear-out, before the failure.
    pub(super) failing: f64,
    /// Of these, without an accusation.
    pub(super) failing_unaccused: f64,
    /// Changes of verdict without a fault.
    pub(super) n_changes: u64,
}

impl Tally {
    pub(super) fn merge(&mut self, other: Self) {
        let Self { device_seconds, made, own_pages, faults, verdicts } = other;
        self.device_seconds += device_seconds;
        for (key, Explained { by_fault, by_nothing }) in made {
            let sum = self.made.entry(key).or_default();
            sum.by_fault += by_fault;
            sum.by_nothing += by_nothing;
        }
        for (event_type, n) in own_pages {
            *self.own_pages.entry(event_type).or_default() += n;
        }
        self.faults.extend(faults);
        self.verdicts.merge(verdicts);
    }
}

impl VerdictTimes {
    pub(super) fn merge(&mut self, other: Self) {
        let Self { sound, sound_accused, failing, failing_unaccused, n_changes } = other;
        self.sound += sound;
        self.sound_accused += sound_accused;
        self.failing += failing;
        self.failing_unaccused += failing_unaccused;
        self.n_changes += n_changes;
    }
}
