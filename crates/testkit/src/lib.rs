//! Starts the real servers that Spindle's tests need, and waits for states instead of sleeping.
//!
//! There is no stand-in for NATS here and there must never be one: redelivery, acks and duplicates
//! are exactly where a pipeline's bugs are. A missing server is an error that names the remedy; a
//! test never skips itself because of it.
//!
//! InfluxDB 2 and 3 come in no package, so [`InfluxFacade`] speaks their HTTP in front of a real InfluxDB 1,
//! and breaks it off, delays or refuses where a test says so.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let mut nats = spindle_testkit::NatsServer::start()?;
//! println!("connect to {}", nats.url());
//! nats.kill(); // SIGKILL, as a power cut would
//! nats.restart()?; // same port, same store
//! # Ok(())
//! # }
//! ```

mod disk;
mod influx;
mod influx_facade;
mod nats;
mod probe;
mod program;
mod wait;

pub use disk::SmallDisk;
pub use influx::{InfluxOptions, InfluxServer};
pub use influx_facade::{FacadeOptions, Fault, Generation, InfluxFacade, Request, Right};
pub use nats::{NatsServer, Options};
pub use program::{Program, Version};
pub use wait::{free_port, wait_until};
