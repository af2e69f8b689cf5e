//! Lines for a stream that nobody may drain: the log, and the client's lines for people. A line never waits for the
//! stream: a thread of its own writes. Lines beyond the bound are dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

/// Some two thousand lines: more than a burst, and little enough for every role. As much again is being written.
const MAX_BYTES: usize = 256 << 10;

/// All queues of the process, for [`flush_all`].
static QUEUES: Mutex<Vec<LineQueue>> = Mutex::new(Vec::new());

/// Queue of lines. A clone is a handle to the same.
#[derive(Clone)]
pub(crate) struct LineQueue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Counts the dropped lines.
    dropped: IntCounter,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Lines dropped since the last report.
    n_unreported: u64,
}

impl LineQueue {
    /// Starts the thread that writes to `stream`. Once the stream takes lines again, `report` receives the number of
    /// lines dropped before.
    pub(crate) fn start(
        mut stream: impl Write + Send + 'static,
        dropped: IntCounter,
        report: fn(u64),
    ) -> io::Result<Self> {
        let queue = Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), dropped }));
        let writer = queue.clone();
        let write = move || {
            let mut is_drained = true;
            loop {
                let lines = writer.take();
                // While there is room for the report itself, and at the place of the lines that are missing.
                if is_drained {
                    writer.take_unreported().into_iter().for_each(report);
                }
                is_drained = stream.write_all(&lines).and_then(|()| stream.flush()).is_ok();
                writer.end_write(if is_drained { &[] } else { &lines });
            }
        };
        std::thread::Builder::new().name("lines".to_owned()).spawn(write)?;
        QUEUES.lock().unwrap_or_else(PoisonError::into_inner).push(queue.clone());
        Ok(queue)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > MAX_BYTES {
            self.drop_lines(&mut state, 1);
        } else {
            state.waiting.extend_from_slice(line);
            self.0.changed.notify_all();
        }
    }

    /// Waits for lines and takes all of them.
    fn take(&self) -> Vec<u8> {
        let state = self.state();
        let waited = self.0.changed.wait_while(state, |state| state.waiting.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::take(&mut state.waiting)
    }

    /// Returns the number of lines dropped since the last report, if there are any.
    fn take_unreported(&self) -> Option<u64> {
        Some(std::mem::take(&mut self.state().n_unreported)).filter(|n_lines| *n_lines > 0)
    }

    /// Ends a write that lost these lines.
    fn end_write(&self, lost: &[u8]) {
        let n_lines = lost.iter().filter(|byte| **byte == b'\n').count();
        let mut state = self.state();
        state.is_writing = false;
        self.drop_lines(&mut state, n_lines as u64);
        self.0.changed.notify_all();
    }

    fn drop_lines(&self, state: &mut State, n_lines: u64) {
        state.n_unreported += n_lines;
        self.0.dropped.inc_by(n_lines);
    }

    fn flush_until(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(self.state(), left, is_busy));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues whole lines: each call takes its bytes or drops them.
impl Write for LineQueue {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until all lines are written, at most until `timeout`.
pub(crate) fn flush_all(timeout: Duration) {
    let deadline = Instant::now() + timeout;
    let queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    queues.iter().for_each(|queue| queue.flush_until(deadline));
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn counter() -> IntCounter {
        IntCounter::new("lines", "lines").unwrap()
    }

    #[test]
    fn what_is_drained_arrives_whole_and_in_order() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let dropped = counter();
        let mut queue = LineQueue::start(writer, dropped.clone(), |_| panic!("nothing was dropped")).unwrap();
        for number in 0..100 {
            queue.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        queue.flush_until(Instant::now() + PATIENCE);
        let expected: String = (0..100).map(|number| format!("line {number}\n")).collect();
        let mut arrived = vec![0; expected.len()];
        reader.read_exact(&mut arrived).unwrap();
        assert_eq!(String::from_utf8(arrived).unwrap(), expected);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn an_undrained_stream_holds_nobody_up_and_the_loss_is_counted_and_reported() {
        static REPORTED: AtomicU64 = AtomicU64::new(0);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let dropped = counter();
        let report = |n_lines| {
            REPORTED.fetch_add(n_lines, Ordering::SeqCst);
        };
        let mut queue = LineQueue::start(writer, dropped.clone(), report).unwrap();
        let line = [vec![b'x'; 1023], vec![b'\n']].concat();
        let n_lines = 4 * MAX_BYTES / line.len();
        for _ in 0..n_lines {
            queue.write_all(&line).unwrap();
        }
        assert!(dropped.get() > 0);
        let started = Instant::now();
        queue.flush_until(started + Duration::from_millis(20));
        assert!(started.elapsed() < PATIENCE);
        let n_kept = n_lines - dropped.get() as usize;
        let mut arrived = vec![0; n_kept * line.len()];
        reader.read_exact(&mut arrived).unwrap();
        queue.flush_until(Instant::now() + PATIENCE);
        spindle_testkit::wait_until(PATIENCE, "the report", || REPORTED.load(Ordering::SeqCst) == dropped.get())
            .unwrap();
    }

    #[test]
    fn a_stream_that_fails_is_counted_and_never_reported_to() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let dropped = counter();
        let mut queue = LineQueue::start(writer, dropped.clone(), |_| panic!("nothing was written")).unwrap();
        queue.write_all(b"one\ntwo\n").unwrap();
        queue.flush_until(Instant::now() + PATIENCE);
        assert_eq!(dropped.get(), 2);
    }
}
