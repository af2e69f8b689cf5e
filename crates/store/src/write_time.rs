//! Time of a write, and whether the age of points may be judged by it.

use std::time::Duration;

use spindle_core::Timestamp;

/// Largest difference of two clocks that agree. Kerberos uses the same: far above the error of synchronized clocks, and
/// far below any retention.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// Time of a write. A [`Timestamp`] is that of a machine whose clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteTime {
    /// Arrival of the batch, by this machine's clock.
    pub received: Timestamp,
    /// The earliest of several clocks that disagree, and `received` while they agree. A point is beyond the retention
    /// only if it is by this one.
    pub earliest: Timestamp,
    /// The clocks disagree.
    pub is_disputed: bool,
    /// Time noted as the arrival, for a simulated past.
    pub as_of: Option<Timestamp>,
}

impl From<Timestamp> for WriteTime {
    fn from(received: Timestamp) -> Self {
        Self { received, earliest: received, is_disputed: false, as_of: None }
    }
}

impl WriteTime {
    /// Returns the moment of a machine with the clock `own`, beside other clocks.
    pub fn of(own: Timestamp, others: impl IntoIterator<Item = Timestamp>) -> Self {
        others.into_iter().fold(own.into(), Self::beside)
    }

    /// Takes in one more clock.
    #[must_use]
    pub(crate) fn beside(self, clock: Timestamp) -> Self {
        match do_agree(self.received, clock) {
            true => self,
            false => Self { earliest: self.earliest.min(clock), is_disputed: true, ..self },
        }
    }
}

/// Returns whether two readings of clocks, taken at once, are as close as synchronized clocks are.
pub fn do_agree(one: Timestamp, other: Timestamp) -> bool {
    u128::from(one.as_ns().abs_diff(other.as_ns())) <= CLOCK_TOLERANCE.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_clock_judges_while_they_disagree() {
        let at = |minutes: i64| Timestamp::from_seconds(minutes * 60);
        let moment = |earliest, is_disputed| WriteTime { earliest: at(earliest), is_disputed, ..at(100).into() };
        for (others, earliest, is_disputed) in [
            (vec![], 100, false),
            (vec![95, 105], 100, false),
            (vec![94], 94, true),
            (vec![106], 100, true),
            (vec![0, 94, 200, 100], 0, true),
        ] {
            assert_eq!(
                WriteTime::of(at(100), others.iter().copied().map(at)),
                moment(earliest, is_disputed),
                "{others:?}"
            );
        }
        let ends = WriteTime::of(Timestamp::from_ns(i64::MIN), [Timestamp::from_ns(i64::MAX)]);
        assert!(ends.is_disputed && ends.earliest.as_ns() == i64::MIN);
    }
}
