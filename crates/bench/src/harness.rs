//! Tools of the harnesses: real processes, a NATS client of its own, HTTP requests, and random numbers from a seed.

pub(crate) mod http;
pub(crate) mod nats;
pub(crate) mod process;
pub(crate) mod random;
