//! The real program on a real nats-server: what a user does to it, and what goes wrong around it.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as expected")]

mod access;
mod answers;
mod apart;
mod audit;
mod backlog;
mod check;
mod client;
mod dlq;
mod faults;
mod harness;
mod http;
mod in_flight;
mod influxdb;
mod last_guard;
mod mistakes;
mod pipeline;
mod rights;
mod roles;
mod stopping;
