//! Numbers of readings (`seq` on the wire): how a sender gives them, and what a set of stored ones says.
//!
//! A sender counts what it sends of a device. Which numbers are missing in the store, and which are there
//! twice, is then a question that anyone can ask; "at least once" is no longer a matter of belief.
//!
//! A `seq` has two parts: `seq = run * 2^24 + number`. Within a *run* the numbers follow each other; between two runs
//! nothing is expected. A sender that counts plainly from 0 or 1 is in run 0. Spindle's daemon begins a run
//! when it does not know where it left off, one for metrics and one for events, see [`numbering`].
//!
//! A run is judged from the smallest to the largest number that was seen: before the first one and after the
//! last one nothing is known, so nothing is claimed.

mod seq_times;
pub mod sequencer;
mod tally;

use crate::timestamp::Timestamp;

pub use seq_times::SeqTimes;
pub use tally::{Duplicate, EpochFindings, MAX_LISTED, Missing, PointKind, Points, Tally};

/// Bits of a `seq` that count; those above name the run.
pub const NUMBER_BITS: u32 = 24;
/// Numbers in one run.
pub const SEQUENCES_PER_EPOCH: u64 = 1 << NUMBER_BITS;

/// The run of a `seq`.
pub fn epoch_of(seq: u64) -> u64 {
    seq >> NUMBER_BITS
}

/// The number of a `seq` within its run.
pub fn number_of(seq: u64) -> u64 {
    seq % SEQUENCES_PER_EPOCH
}

/// The `seq` of a number in a run; the inverse of [`epoch_of`] and [`number_of`].
fn seq_of(run: u64, number: u64) -> u64 {
    (run << NUMBER_BITS) | number
}

/// Takes the numbers of stored points, one after the other, in no order.
pub trait SeqVisitor: Send + 'static {
    /// A stored point of this time has this `seq`.
    fn visit(&mut self, seq: u64, time: Timestamp);
}
