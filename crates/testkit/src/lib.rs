//! Starts the real servers that Spindle's tests need, and waits for states instead of sleeping.
//!
//! There must never be a fake NATS here: redelivery, acks and duplicates are exactly where the bugs of a pipeline are.
//! A missing server is an error that names the remedy; a test never skips itself for that reason.
//!
//! InfluxDB 2 and 3 are not packaged, so [`InfluxFacade`] serves their HTTP interfaces in front of a real InfluxDB 1,
//! and cuts, delays or refuses on request.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let mut nats = spindle_testkit::NatsServer::start()?;
//! println!("connect to {}", nats.url());
//! nats.kill(); // SIGKILL, as in a crash
//! nats.restart()?; // same port, same store
//! # Ok(())
//! # }
//! ```

mod disk;
mod fake_clocks;
mod influx;
mod influx_facade;
mod nats;
mod probe;
mod program;
mod skip;
mod wait;

pub use disk::SmallDisk;
pub use fake_clocks::FakeClocks;
pub use influx::{InfluxOptions, InfluxServer};
pub use influx_facade::{FacadeOptions, Fault, Generation, InfluxFacade, Request, Right};
pub use nats::{NatsServer, Options};
pub use program::{Program, Version};
pub use skip::{missing_tool, not_checked};
pub use wait::{free_port, wait_until};
