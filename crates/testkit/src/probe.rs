//! Probes of a starting server over plain sockets and files.
//!
//! Every failure means "not yet": while a server starts, refused connections and half-written files are normal.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Timeout for a busy machine; a healthy server on the loopback address answers in a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the monitoring address of the server with process id `pid` from its ports file, `<program>_<pid>.ports`. The
/// pid matters: a killed server leaves its file behind.
pub(crate) fn monitoring_address(ports_dir: &Path, pid: u32) -> Option<String> {
    let suffix = format!("_{pid}.ports");
    let file = fs::read_dir(ports_dir)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().ends_with(&suffix))?;
    // Not written atomically: a file that does not parse is not complete yet.
    let ports: Value = serde_json::from_slice(&fs::read(file.path()).ok()?).ok()?;
    let url = ports["monitoring"][0].as_str()?;
    Some(url.strip_prefix("http://")?.to_owned())
}

/// Returns true if the server on `port` greets clients and has JetStream.
pub(crate) fn greets_with_jetstream(port: u16) -> bool {
    let greeting = || -> Option<Value> {
        let mut line = String::new();
        BufReader::new(connect(SocketAddr::from(([127, 0, 0, 1], port)))?).read_line(&mut line).ok()?;
        serde_json::from_str(line.strip_prefix("INFO ")?.trim()).ok()
    };
    greeting().is_some_and(|info| info["jetstream"] == true)
}

/// Returns true if `/healthz` reports full recovery, including streams and consumers.
pub(crate) fn is_healthy(monitoring: &str) -> bool {
    get(monitoring, "/healthz").is_some_and(|body| body["status"] == "ok")
}

/// Returns the JSON body of a 200. HTTP/1.0, so that the body ends with the connection.
fn get(address: &str, path: &str) -> Option<Value> {
    let mut stream = connect(address.parse().ok()?)?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split_whitespace().nth(1) != Some("200") {
        return None;
    }
    serde_json::from_str(body).ok()
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    Some(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_ports_file_and_a_stale_one_are_not_yet() {
        let dir = tempfile::tempdir().unwrap();
        let whole = r#"{"nats":["nats://127.0.0.1:1"],"monitoring":["http://127.0.0.1:44789"]}"#;
        fs::write(dir.path().join("nats-server_7.ports"), whole).unwrap();
        fs::write(dir.path().join("nats-server_17.ports"), &whole[..40]).unwrap();
        assert_eq!(monitoring_address(dir.path(), 17), None);
        assert_eq!(monitoring_address(dir.path(), 8), None);
        assert_eq!(monitoring_address(dir.path(), 7).as_deref(), Some("127.0.0.1:44789"));
    }
}
