//! Exponential backoff with jitter. Pure: the caller draws the random number and does the waiting.

use std::time::Duration;

/// Pauses between attempts, doubled after each up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    pause: Option<Duration>,
}

impl Backoff {
    /// A backoff whose pauses grow from `first` to `max`, before jitter.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, pause: None }
    }

    /// Advances to the next pause and returns it with jitter; `random` as in [`jittered`].
    pub fn next(&mut self, random: f64) -> Duration {
        let pause = self.pause.map_or(self.first, |pause| pause.saturating_mul(2)).min(self.max);
        self.pause = Some(pause);
        jittered(pause, random)
    }

    /// Returns the present pause with jitter, without advancing: for a failure that began before the last one was
    /// counted and therefore proves nothing new.
    pub fn again(&self, random: f64) -> Duration {
        jittered(self.pause.unwrap_or(self.first).min(self.max), random)
    }

    /// Starts over from the first pause.
    pub fn reset(&mut self) {
        self.pause = None;
    }
}

/// Returns between half of `pause` (`random` = 0) and all of it (`random` = 1), so that clients that failed together
/// do not retry together. Anything else counts as 1.
pub fn jittered(pause: Duration, random: f64) -> Duration {
    let share = if (0.0..=1.0).contains(&random) { random } else { 1.0 };
    pause / 2 + (pause / 2).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(ms(100), ms(500));
        for _ in 0..2 {
            assert_eq!(backoff.again(1.0), ms(100));
            let pauses: Vec<_> = (0..5).map(|_| backoff.next(1.0)).collect();
            assert_eq!(pauses, [100, 200, 400, 500, 500].map(ms));
            assert_eq!((backoff.again(0.0), backoff.again(1.0)), (ms(250), ms(500)));
            backoff.reset();
        }
        assert_eq!(Backoff::new(ms(700), ms(500)).next(1.0), ms(500));
    }

    #[test]
    fn jitter_stays_between_half_and_all_of_the_pause() {
        assert_eq!([0.0, 0.5, 1.0].map(|random| jittered(ms(100), random)), [50, 75, 100].map(ms));
        for random in [-1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert_eq!(jittered(ms(100), random), ms(100), "{random}");
        }
        assert!(Backoff::new(Duration::MAX, Duration::MAX).next(1.0) > Duration::MAX / 2);
    }
}
