//! Sequence numbers of metrics and events (`seq` on the wire): how a sender assigns them, and what a set of stored
//! ones proves.
//!
//! A sender counts what it sends for each device. Missing and duplicate sequence numbers in the store can then be
//! found by anyone, so "at least once" becomes verifiable.
//!
//! A `seq` has two parts: `seq = epoch * 2^24 + sequence`. Sequences are consecutive within an *epoch*; nothing is
//! expected between two epochs. A sender that counts plainly from 0 or 1 stays in epoch 0. Spindle's daemon begins a
//! new epoch when it does not know where it left off, one for metrics and one for events, see [`sequencer`].
//!
//! An epoch is judged from the smallest to the largest sequence seen: nothing is known before the first and after the
//! last, so nothing is claimed. Seen are the numbers of stored points and, since each was sent, those of values that
//! another value of the same device, metric type and time replaced (see [`crate::identity`]): such a number is missing.

mod seq_times;
pub mod sequencer;
mod tally;

pub use seq_times::{SeqTimes, SeqVisitor};
pub use tally::{Duplicate, EpochFindings, MAX_LISTED, Missing, PointKind, Points, Tally};

/// Bits of a `seq` that hold the sequence; those above hold the epoch.
pub const SEQUENCE_BITS: u32 = 24;
/// Sequences in one epoch.
pub const SEQUENCES_PER_EPOCH: u64 = 1 << SEQUENCE_BITS;

/// Returns the epoch of a `seq`.
pub fn epoch_of(seq: u64) -> u64 {
    seq >> SEQUENCE_BITS
}

/// Returns the sequence of a `seq` within its epoch.
pub fn sequence_of(seq: u64) -> u64 {
    seq % SEQUENCES_PER_EPOCH
}

/// Returns the `seq` of a sequence in an epoch; the inverse of [`epoch_of`] and [`sequence_of`].
fn seq_of(epoch: u64, sequence: u64) -> u64 {
    (epoch << SEQUENCE_BITS) | sequence
}
