//! Commands that do one thing and end. They print results to stdout and everything else to stderr, and run no role.

pub(crate) mod check;
pub(crate) mod decide;
pub(crate) mod detect;
pub(crate) mod dlq;
pub(crate) mod health;
pub(crate) mod judge;
pub(crate) mod query;
pub(crate) mod top;
