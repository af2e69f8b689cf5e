//! Dead letters: messages that could not be stored, with every original byte and the reason.
//!
//! A dead letter is kept before its original is terminated. It leaves the stream only when its replay is acknowledged
//! or an operator drops it, and is never modified. A full stream refuses new dead letters; their originals then stay
//! in their streams, unacknowledged.

mod head;
mod header;
mod keep;
mod list;
mod newest;
mod read;
mod removal;
mod replay;

pub use head::{DeadLetterFilter, DeadLetterHead, Part};
pub use keep::NewDeadLetter;
pub use list::DeadLetterPages;
pub use newest::NewestDeadLetters;
pub use read::DeadLetter;
pub use replay::{Replayed, Replayer};
