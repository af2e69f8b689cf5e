//! System tests: the real program on a real nats-server, as users run it and with failures around it.

#![allow(clippy::unwrap_used, reason = "a test fails at the first unexpected result")]

mod access;
mod addresses;
mod answers;
mod apart;
mod audit;
mod backlog;
mod check;
mod client;
mod clocks;
mod dead_letters_http;
mod decisions;
mod decisions_http;
mod detect;
mod detector;
mod detector_faults;
mod dlq;
mod faults;
mod fleet;
mod harness;
mod http;
mod in_flight;
mod influxdb;
mod judge;
mod judge_peers;
mod judgement;
mod memory;
mod mistakes;
mod page;
mod past;
mod pipeline;
mod pipeline_history;
mod poison;
mod private;
mod rig;
mod rights;
mod rights_of_page;
mod rights_of_web;
mod roles;
mod shared_restore;
mod signals;
mod smart;
mod start_lines;
mod stopping;
mod streams;
// The options of `script` differ elsewhere.
#[cfg(target_os = "linux")]
mod top;
mod truth_of_writes;
mod undrained;
mod upgrade;
