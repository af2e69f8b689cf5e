//! Tools of the harnesses: real processes, their clocks, a NATS client of its own, and random numbers from a seed.

pub(crate) mod clock;
pub(crate) mod nats;
pub(crate) mod process;
pub(crate) mod random;
