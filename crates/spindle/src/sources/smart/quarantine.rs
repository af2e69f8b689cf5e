//! Patience with a drive that does not answer: it is left alone for 1, 2, 4, … polls, and for as long as a killed
//! process still hangs on it, so that a dying drive costs neither time nor processes without end.

use tokio::process::Child;

/// Most polls that a drive is left alone: 2.7 hours at the default interval.
const MAX_POLLS: u32 = 32;

/// Strikes of one drive, and the polls that it is still left alone.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    n_strikes: u32,
    n_polls_left: u32,
    hanging: Option<Child>,
}

impl Quarantine {
    /// Counts one poll. Returns `true` if the drive may be read in it.
    pub(super) fn is_due(&mut self) -> bool {
        if self.hanging.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            return false;
        }
        self.hanging = None;
        let is_due = self.n_polls_left == 0;
        self.n_polls_left = self.n_polls_left.saturating_sub(1);
        is_due
    }

    /// Adds a failure to answer. Returns the number of polls that the drive is left alone for.
    pub(super) fn add_strike(&mut self, hanging: Option<Child>) -> u32 {
        self.n_polls_left = 2_u32.saturating_pow(self.n_strikes).min(MAX_POLLS);
        self.n_strikes += 1;
        self.hanging = hanging;
        self.n_polls_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strike_doubles_the_wait_up_to_a_bound() {
        let mut quarantine = Quarantine::default();
        assert!(quarantine.is_due() && quarantine.is_due());
        for expected in [1, 2, 4, 8, 16, 32, 32] {
            assert_eq!(quarantine.add_strike(None), expected);
            assert_eq!((0..expected).filter(|_| quarantine.is_due()).count(), 0);
            assert!(quarantine.is_due());
        }
    }
}
