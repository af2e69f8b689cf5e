//! Rate limit for log lines about something that every message can cause, so that one sender of rubbish does not fill
//! the disk with them. Pure: the caller passes the time.

use std::ops::Sub;
use std::time::Duration;

/// Allows a fixed number of lines per period. `T` is a monotonic time: an `Instant` of std or tokio, or a `Duration`
/// since some start.
#[derive(Clone, Copy, Debug)]
pub struct LogLimit<T> {
    max_lines: u32,
    period: Duration,
    period_start: Option<T>,
    n_lines: u32,
    n_suppressed: u64,
}

impl<T: Copy + PartialOrd + Sub<Output = Duration>> LogLimit<T> {
    /// A limit of `max_lines` lines per `period`.
    pub const fn new(max_lines: u32, period: Duration) -> Self {
        Self { max_lines, period, period_start: None, n_lines: 0, n_suppressed: 0 }
    }

    /// Returns the number of lines suppressed since the last allowed one if a line may be written at `now`, and counts
    /// it; otherwise `None`.
    pub fn allow(&mut self, now: T) -> Option<u64> {
        if self.period_start.is_none_or(|start| now >= start && now - start >= self.period) {
            (self.period_start, self.n_lines) = (Some(now), 0);
        }
        if self.n_lines >= self.max_lines {
            self.n_suppressed = self.n_suppressed.saturating_add(1);
            return None;
        }
        self.n_lines += 1;
        Some(std::mem::take(&mut self.n_suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_written_and_then_how_many_were_not() {
        let seconds = Duration::from_secs;
        let mut limit = LogLimit::new(5, seconds(10));
        for _ in 0..5 {
            assert_eq!(limit.allow(seconds(100)), Some(0));
        }
        for _ in 0..41 {
            assert_eq!(limit.allow(seconds(109)), None);
        }
        assert_eq!(limit.allow(seconds(50)), None, "a clock that steps back starts no new period");
        assert_eq!((limit.allow(seconds(110)), limit.allow(seconds(110))), (Some(42), Some(0)));
    }
}
