//! What a lane knows of its store: it takes writes, or it does not and is tried now and then.
//!
//! While the store takes writes every batch goes to it at once. After a fault one batch at a time tries,
//! with growing pauses, and all others wait; nothing is fetched meanwhile. The first success lets all
//! go on. Each lane has a gate of its own, so that what ails one lane's batches does not hold up the
//! other; a success in one makes the other try at once.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, sleep_until};

const FIRST_RETRY: Duration = Duration::from_millis(100);
/// A server that asks for a longer pause than this is asked again all the same.
const LONGEST_ASKED: Duration = Duration::from_secs(60);
/// How often a lasting fault is said again.
const SAY_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Gate {
    state: watch::Sender<State>,
    /// Held by the batch that tries; who waits comes in the order of asking, so that a batch that alone fails
    /// cannot keep the others from trying.
    trying: Mutex<()>,
    last_retry: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Away {
        /// The pause between the last try and the next.
        pause: Duration,
        /// The server does not want to be asked earlier.
        not_before: Instant,
        next_try: Instant,
        said_at: Instant,
    },
}

/// The right to one write.
pub(super) struct Turn<'a> {
    trying: Option<MutexGuard<'a, ()>>,
}

impl Gate {
    /// `last_retry` is the longest pause between two tries.
    pub(super) fn new(last_retry: Duration) -> Self {
        Self { state: watch::Sender::new(State::Open), trying: Mutex::new(()), last_retry }
    }

    /// Waits until the store takes writes, as far as is known.
    pub(super) async fn open(&self) {
        // An error means that the sender is gone, and it lives in `self`.
        let _ = self.state.subscribe().wait_for(State::is_open).await;
    }

    /// Waits for the right to write.
    pub(super) async fn turn(&self) -> Turn<'_> {
        tokio::select! {
            biased;
            () = self.open() => Turn { trying: None },
            trying = self.time_to_try() => Turn { trying: Some(trying) },
        }
    }

    async fn time_to_try(&self) -> MutexGuard<'_, ()> {
        let trying = self.trying.lock().await;
        let mut state = self.state.subscribe();
        loop {
            let State::Away { next_try, .. } = *state.borrow_and_update() else { return trying };
            tokio::select! {
                () = sleep_until(next_try) => return trying,
                _ = state.changed() => {}
            }
        }
    }

    /// The store took a write. Whether it did not before.
    pub(super) fn worked(&self) -> bool {
        self.state.send_if_modified(|state| {
            let was_away = !state.is_open();
            *state = State::Open;
            was_away
        })
    }

    /// The store did not take a write, and may want to be left alone for a while. Whether to say so: not
    /// each time.
    pub(super) fn failed(&self, turn: &Turn<'_>, asked_pause: Option<Duration>) -> bool {
        let now = Instant::now();
        let asked = asked_pause.unwrap_or_default().min(LONGEST_ASKED);
        let mut is_said = false;
        self.state.send_modify(|state| {
            let (pause, said_at) = match *state {
                State::Open => (FIRST_RETRY, None),
                State::Away { pause, said_at, .. } if turn.trying.is_some() => {
                    ((pause * 2).min(self.last_retry), Some(said_at))
                }
                // Begun before the fault that is known already: it says nothing new.
                State::Away { pause, said_at, .. } => (pause, Some(said_at)),
            };
            is_said = said_at.is_none_or(|said_at| now - said_at > SAY_EVERY);
            let not_before = now + FIRST_RETRY.max(asked);
            *state = State::Away {
                pause,
                not_before,
                next_try: not_before.max(now + jittered(pause)),
                said_at: said_at.filter(|_| !is_said).unwrap_or(now),
            };
        });
        is_said
    }

    /// Somebody else was served: no need to wait for the next try any longer.
    pub(super) fn hurry(&self) {
        self.state.send_if_modified(|state| match state {
            State::Open => false,
            State::Away { not_before, next_try, .. } => {
                let is_earlier = *not_before < *next_try;
                *next_try = (*next_try).min(*not_before);
                is_earlier
            }
        });
    }
}

impl State {
    fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// Between half of it and all of it, so that writers that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let share = uuid::Uuid::new_v4().as_u128() as u32;
    pause / 2 + (pause / 2).mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn fail(gate: &Gate, turn: &Turn<'_>) -> bool {
        gate.failed(turn, None)
    }

    /// Pauses are counted by the paused clock, which jumps to the next timer.
    async fn pause_before_turn(gate: &Gate) -> (Turn<'_>, Duration) {
        let began = Instant::now();
        let turn = gate.turn().await;
        (turn, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_bound_and_begin_anew_after_a_success() {
        let gate = Gate::new(Duration::from_millis(500));
        for _ in 0..2 {
            fail(&gate, &gate.turn().await);
            for longest_ms in [100, 200, 400, 500, 500] {
                let (turn, pause) = pause_before_turn(&gate).await;
                let longest = Duration::from_millis(longest_ms);
                assert!(
                    (longest / 2).max(FIRST_RETRY) <= pause && pause <= longest + Duration::from_millis(1),
                    "{pause:?}"
                );
                fail(&gate, &turn);
            }
            assert!(gate.worked() && !gate.worked());
            assert_eq!(pause_before_turn(&gate).await.1, Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_and_the_others_wait_for_its_success() {
        let gate = Arc::new(Gate::new(Duration::from_secs(1)));
        fail(&gate, &gate.turn().await);
        let probe = gate.turn().await;
        let n_through = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (gate, n_through) = (gate.clone(), n_through.clone());
                tokio::spawn(async move {
                    drop(gate.turn().await);
                    n_through.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(n_through.load(Ordering::Relaxed), 0);
        gate.worked();
        for waiting in waiting {
            waiting.await.unwrap();
        }
        drop(probe);
        gate.open().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_alone_fails_lets_the_next_try() {
        let gate = Arc::new(Gate::new(Duration::from_secs(1)));
        fail(&gate, &gate.turn().await);
        let bad = gate.turn().await;
        let other = tokio::spawn({
            let gate = gate.clone();
            async move {
                let turn = gate.turn().await;
                assert!(turn.trying.is_some());
                gate.worked()
            }
        });
        tokio::task::yield_now().await;
        fail(&gate, &bad);
        drop(bad);
        drop(gate.turn().await);
        assert!(other.await.unwrap(), "the other was served first, and opened the gate");
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_elsewhere_cuts_the_pause_but_not_what_the_server_asked_for() {
        let gate = Gate::new(Duration::from_secs(8));
        for (asked_s, least, most) in
            [(0, FIRST_RETRY, FIRST_RETRY * 2), (5, Duration::from_secs(5), Duration::from_secs(6))]
        {
            for _ in 0..8 {
                let turn = gate.turn().await;
                fail(&gate, &turn);
            }
            let turn = gate.turn().await;
            gate.failed(&turn, Some(Duration::from_secs(asked_s)));
            drop(turn);
            gate.hurry();
            let (turn, pause) = pause_before_turn(&gate).await;
            assert!(least <= pause && pause <= most, "{asked_s}: {pause:?}");
            fail(&gate, &turn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_fault_is_said_now_and_then() {
        let gate = Gate::new(Duration::from_secs(1));
        let (mut n_said, mut n_tries) = (0, 0);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(35) {
            let turn = gate.turn().await;
            n_said += usize::from(fail(&gate, &turn));
            n_tries += 1;
        }
        assert_eq!(n_said, 4);
        assert!(n_tries > 30);
    }
}
