//! `spindle health`: queries the readiness of a running role, for the health checks of containers, which have no
//! curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::Secret;
use crate::outcome::Outcome;
use crate::output;

/// Limit for the process to respond: longer than its own limit for its store.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Queries the process at `address` and prints its response. A process that does not respond is not ready.
pub(crate) fn run(address: Result<SocketAddr>, token: Option<&Secret>) -> Result<Outcome> {
    let (address, response) = match address.and_then(|address| Ok((address, readiness(address, token)?))) {
        Ok(responded) => responded,
        Err(error) => {
            output::message(&format!("not ready: {error:#}"));
            return Ok(Outcome::NotGood);
        }
    };
    let (head, body) = response.split_once("\r\n\r\n").with_context(|| format!("{address} is not an HTTP server"))?;
    output::data(format!("{}\n", body.trim_end()).as_bytes())?;
    let is_ready = head.split_whitespace().nth(1) == Some("200");
    Ok(if is_ready { Outcome::Good } else { Outcome::NotGood })
}

/// Returns the response of `address` to `GET /readyz`, head and body.
fn readiness(address: SocketAddr, token: Option<&Secret>) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| {
        format!("nothing answers on {address}: is the role running, with the same SPINDLE_HEALTH (or --http)?")
    })?;
    let mut response = String::new();
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {}\r\n", token.expose()));
    stream
        .set_read_timeout(Some(TIMEOUT))
        .and_then(|()| stream.write_all(format!("GET /readyz HTTP/1.0\r\n{authorization}\r\n").as_bytes()))
        .and_then(|()| stream.read_to_string(&mut response))
        .with_context(|| format!("{address} does not answer in time"))?;
    Ok(response)
}
