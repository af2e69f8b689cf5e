//! Conditions that faults change while the messages are made: the devices' clock, and messages on which the writer
//! panics. Each change is recorded with the message that it began at, so that the judge makes the same messages.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) const NS_PER_SECOND: i64 = 1_000_000_000;

/// Conditions of all devices.
#[derive(Debug, Default)]
pub(super) struct Conditions(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    wanted_offset_ns: Option<i64>,
    /// The first message of each step, and the clock's offset from there.
    clock_steps: Vec<(u64, i64)>,
    n_wanted_panics: u64,
    /// Numbers of the messages that make the writer panic.
    panics: BTreeSet<u64>,
    is_closed: bool,
}

impl Conditions {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock's offset from the next message on.
    pub(super) fn set_clock(&self, offset_ns: i64) {
        self.lock().wanted_offset_ns = Some(offset_ns);
    }

    /// Makes the writer panic on the next `n_messages`.
    pub(super) fn add_panics(&self, n_messages: u64) {
        self.lock().n_wanted_panics += n_messages;
    }

    /// Ends the record: a change that no message has taken up is dropped.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Returns the clock's offset at a message: whole seconds plus the number of the step in nanoseconds, so that no
    /// time occurs twice however the clock is set.
    pub(super) fn clock_offset_ns(&self, number: u64) -> i64 {
        let mut record = self.lock();
        if !record.is_closed
            && let Some(wanted_ns) = record.wanted_offset_ns.take()
        {
            let whole_ns = wanted_ns / NS_PER_SECOND * NS_PER_SECOND;
            let n_steps = record.clock_steps.len() as i64 + 1;
            record.clock_steps.push((number, whole_ns + n_steps));
        }
        let step = record.clock_steps.iter().rev().find(|(from, _)| *from <= number);
        step.map_or(0, |(_, offset_ns)| *offset_ns)
    }

    /// Returns true if the writer must panic on a message.
    pub(super) fn panics_at(&self, number: u64) -> bool {
        let mut record = self.lock();
        if !record.is_closed && record.n_wanted_panics > 0 {
            record.n_wanted_panics -= 1;
            record.panics.insert(number);
        }
        record.panics.contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_after_the_last_message_do_not_reach_the_judge() {
        let conditions = Conditions::default();
        conditions.set_clock(3 * NS_PER_SECOND);
        conditions.add_panics(1);
        let made = |number| (conditions.clock_offset_ns(number), conditions.panics_at(number));
        let first = [made(0), made(1)];
        assert_eq!(first, [(3 * NS_PER_SECOND + 1, true), (3 * NS_PER_SECOND + 1, false)]);
        conditions.set_clock(0);
        conditions.add_panics(5);
        conditions.close();
        assert_eq!([made(0), made(1)], first);
    }
}
