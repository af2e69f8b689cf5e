//! Counters of a disk as the kernel prints them, and the difference between two readings
//! (Documentation/admin-guide/iostats.rst of Linux). Each field stands alone: an odd one is absent, the others count.

/// Counters in the order of [`Field`].
const N_FIELDS: usize = 8;

/// One counter that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Reads,
    ReadSectors,
    ReadMs,
    Writes,
    WriteSectors,
    WriteMs,
    /// Time with at least one request in flight.
    BusyMs,
    /// Time multiplied with the number of requests in flight.
    WeightedMs,
}

/// Index of each field in a line of `stat`.
const POSITIONS: [usize; N_FIELDS] = [0, 2, 3, 4, 6, 7, 9, 10];
/// Index of the number of requests in flight, the only field that is not a counter.
const IN_FLIGHT: usize = 8;
/// Fields of the oldest kernels; 4.18 added four for discards, 5.5 two for flushes.
const MIN_FIELDS: usize = 11;

/// Activity of a disk since it appeared, or between two readings; `None` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    values: [Option<u64>; N_FIELDS],
    pub(super) in_flight: Option<u64>,
}

impl Counters {
    /// Parses a line of `stat`. Returns `None` if it is too short to have the fields of a disk.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<Option<u64>> = text.split_ascii_whitespace().map(|field| field.parse().ok()).collect();
        if fields.len() < MIN_FIELDS || fields.iter().all(Option::is_none) {
            return None;
        }
        Some(Self { values: POSITIONS.map(|position| fields[position]), in_flight: fields[IN_FLIGHT] })
    }

    pub(super) fn get(&self, field: Field) -> Option<u64> {
        self.values[field as usize]
    }

    /// Removes a field that turned out to be unknown.
    pub(super) fn forget(&mut self, field: Field) {
        self.values[field as usize] = None;
    }

    /// Returns reads and writes together.
    pub(super) fn requests(&self) -> Option<u64> {
        self.get(Field::Reads)?.checked_add(self.get(Field::Writes)?)
    }

    /// Returns the number of fields that could not be parsed.
    pub(super) fn n_unread(&self) -> usize {
        self.values.iter().filter(|value| value.is_none()).count()
    }

    /// Returns true if no counter has moved since the disk appeared.
    pub(super) fn is_all_zero(&self) -> bool {
        self.values.iter().all(|value| *value == Some(0))
    }

    /// Returns the difference to an earlier reading; a counter that fell is absent. `None` if most of them fell: the
    /// disk was reset, and those that did not fall mean nothing either.
    pub(super) fn since(&self, earlier: &Self) -> Option<Difference> {
        let mut counters = Self { in_flight: self.in_flight.min(earlier.in_flight), ..Self::default() };
        let (mut n_fell, mut n_counting) = (0, 0);
        for (index, value) in counters.values.iter_mut().enumerate() {
            let (Some(before), Some(after)) = (earlier.values[index], self.values[index]) else { continue };
            n_counting += usize::from(before > 0);
            *value = increase(before, after);
            n_fell += usize::from(value.is_none());
        }
        (n_fell == 0 || 2 * n_fell < n_counting).then_some(Difference { counters, n_fell })
    }

    /// Adds the counters of another path to the same disk; a field that either lacks is absent.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = *self;
        for (value, other) in sum.values.iter_mut().zip(other.values) {
            *value = value.zip(other).and_then(|(one, other)| one.checked_add(other));
        }
        sum.in_flight = self.in_flight.zip(other.in_flight).map(|(one, other)| one.saturating_add(other));
        sum
    }
}

/// Difference between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) counters: Counters,
    /// Counters that decreased.
    pub(super) n_fell: usize,
}

/// Returns the increase of a counter. Times are 32 bits wide on every machine, all counters on 32-bit ones: a fall
/// from the upper to the lower half is a wrap. `None` if the counter fell otherwise.
fn increase(before: u64, after: u64) -> Option<u64> {
    if let Some(increase) = after.checked_sub(before) {
        return Some(increase);
    }
    let increase = u32::try_from(after).ok()?.wrapping_sub(u32::try_from(before).ok()?);
    (increase < 1 << 31).then_some(u64::from(increase))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD_KERNEL: &str = "34853 9272 4443722 25111 4257 22345 2044240 5610 0 7516 31214";

    #[test]
    fn lines_of_every_kernel_are_read() {
        let counters = Counters::parse(OLD_KERNEL).unwrap();
        assert_eq!((counters.get(Field::Reads), counters.get(Field::WriteMs)), (Some(34_853), Some(5_610)));
        assert_eq!((counters.get(Field::WeightedMs), counters.in_flight), (Some(31_214), Some(0)));
        for longer in ["29 234888 482 1", "29 234888 482 1 203 9", "29 234888 482 1 203 9 5 5 5"] {
            assert_eq!(Counters::parse(&format!("{OLD_KERNEL} {longer}\n")), Some(counters));
        }
        for text in ["", "1 2 3 4", "1 2 3 4 5 6 7 8 9 10", "a b c d e f g h i j k"] {
            assert_eq!(Counters::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_odd_field_costs_only_itself() {
        for (odd, field) in [("-1 9 9 9 9 9 9 9 9 9 9", Field::Reads), ("9 9 9 9 9 9 9 9 9 9 x", Field::WeightedMs)] {
            let counters = Counters::parse(odd).unwrap();
            assert_eq!((counters.get(field), counters.n_unread()), (None, 1), "{odd}");
        }
        let before = Counters::parse("9 0 9 9 9 0 9 9 0 9 9").unwrap();
        let difference = Counters::parse("10 0 5 10 10 0 10 10 0 10 10").unwrap().since(&before).unwrap();
        assert_eq!((difference.counters.get(Field::ReadSectors), difference.n_fell), (None, 1));
        assert_eq!(difference.counters.get(Field::Writes), Some(1));
    }

    #[test]
    fn wraps_are_increases_and_resets_are_not() {
        assert_eq!(increase(u64::from(u32::MAX) - 9, 5), Some(15));
        assert_eq!(increase(u64::from(u32::MAX) + 9, 5), None, "wider than the counter that would wrap");
        assert_eq!(increase(1_000, 5), None);
        let before = Counters::parse("9000 0 4000000000 9 9000 0 4000000000 9 0 4000000000 9").unwrap();
        let reset = Counters::parse("1 0 8 1 0 0 0 0 0 1 1").unwrap();
        assert_eq!(reset.since(&before), None, "a few that look wrapped do not hide a reset");
    }
}
