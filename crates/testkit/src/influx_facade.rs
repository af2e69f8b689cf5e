//! InfluxDB 2.7, 3 Core or openGemini as its clients see it over HTTP, in front of a real InfluxDB 1 that keeps the points
//! and answers the queries. None is available as a package, so the exchange with them is tested here. Responses follow
//! their source code and real servers, never the expectations of our client.
//!
//! - `options`: version and settings.
//! - `http`: requests and responses.
//! - `fault`: failures on request.
//! - `lines`: line protocol as both parse it.
//! - `query`: InfluxQL in the dialect of each.
//! - `v2`, `v3`, `open_gemini`: paths, credentials, error messages.
//! - `lag`: points that queries do not show yet.
//!
//! Not covered: the initial setup, Basic credentials, version 1 paths of version 2, Flux, SQL, query responses other
//! than JSON.

mod fault;
mod http;
mod lag;
mod lines;
mod open_gemini;
mod options;
mod query;
mod v2;
mod v3;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::influx::InfluxServer;
use crate::wait::{Deadline, free_port};
use fault::Act;
pub use fault::Fault;
use http::Answer;
pub use http::Request;
use lag::Hidden;
use lines::Kind;
pub use options::{FacadeOptions, Generation, Right};

/// Length of a shard of a database without a retention period.
const WEEK_S: u64 = 7 * 86_400;

/// Running facade with its InfluxDB 1. Dropping it stops both.
#[derive(Debug)]
pub struct InfluxFacade {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    generation: Generation,
    options: FacadeOptions,
    server: InfluxServer,
    state: Mutex<State>,
    faults: Mutex<Vec<Fault>>,
    record: Mutex<Vec<Request>>,
    /// Open connections by the client's port.
    connections: Mutex<BTreeMap<u16, TcpStream>>,
    is_stopping: AtomicBool,
}

/// State of versions 2 and 3 that InfluxDB 1 cannot hold.
#[derive(Debug, Default)]
struct State {
    lacks: Vec<Right>,
    databases: BTreeMap<String, Database>,
    n_made: u64,
    /// Points that queries do not show yet (openGemini).
    hidden: Hidden,
}

#[derive(Debug, Default)]
struct Database {
    /// Id of the bucket.
    id: String,
    /// 0 keeps everything.
    retention_s: u64,
    /// Copies of each point, and length of a shard (openGemini).
    n_copies: u64,
    shard_s: u64,
    /// Visible to InfluxQL (version 2).
    is_mapped: bool,
    /// Types of columns by table and name (version 3).
    columns: BTreeMap<String, BTreeMap<String, Kind>>,
    /// Files, ten minutes each (version 3).
    files: BTreeSet<i64>,
}

impl InfluxFacade {
    /// Default token.
    pub const TOKEN: &str = "facade-token-Zm9v";
    /// The only organization (version 2).
    pub const ORG: &str = "fleet-org";

    /// Starts the facade and the InfluxDB behind it; returns when it answers.
    pub fn start(generation: Generation, mut options: FacadeOptions) -> Result<InfluxFacade> {
        if options.release.is_empty() {
            let newest = match generation {
                Generation::V2 => "v2.7.12",
                Generation::V3 => "3.10.1",
                Generation::OpenGemini => "",
            };
            options.release = newest.to_owned();
        }
        let port = free_port()?;
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let state = State { lacks: options.lacks.clone(), ..State::default() };
        let shared = Arc::new(Shared {
            generation,
            options,
            server: InfluxServer::start()?,
            state: Mutex::new(state),
            faults: Mutex::default(),
            record: Mutex::default(),
            connections: Mutex::default(),
            is_stopping: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&shared, &listener)
        });
        Ok(InfluxFacade { shared, port, acceptor: Some(acceptor) })
    }

    /// Address of the facade.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// InfluxDB 1 behind the facade, to look at the stored points. Databases have the same names there.
    pub fn server(&self) -> &InfluxServer {
        &self.shared.server
    }

    /// Writes line protocol (nanoseconds) as a client of this version would, bypassing record and faults.
    pub fn write(&self, database: &str, lines: &str) -> Result<()> {
        let (path, precision) = match self.shared.generation {
            Generation::V2 => ("/api/v2/write", "ns"),
            Generation::V3 => ("/api/v3/write_lp", "nanosecond"),
            Generation::OpenGemini => ("/write", "ns"),
        };
        let pairs = [("org", Self::ORG), ("bucket", database), ("db", database), ("precision", precision)];
        let token = self.shared.options.token.as_deref().unwrap_or_default();
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            headers: vec![("authorization".to_owned(), format!("Token {token}"))],
            body: lines.as_bytes().to_vec(),
            size_bytes: lines.len(),
            encoding_error: None,
        };
        let answer = self.shared.answer(&request);
        let message = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 204, "the facade answers {} to a write: {message}", answer.status);
        Ok(())
    }

    /// All requests so far.
    pub fn record(&self) -> Vec<Request> {
        locked(&self.shared.record).clone()
    }

    /// Requests to one path so far.
    pub fn record_of(&self, path: &str) -> Vec<Request> {
        self.record().into_iter().filter(|request| request.path == path).collect()
    }

    /// Adds a fault. If several match a request, the first one added applies.
    pub fn fault(&self, fault: Fault) {
        locked(&self.shared.faults).push(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        locked(&self.shared.faults).clear();
    }

    /// Grants the token all permissions.
    pub fn grant_all(&self) {
        locked(&self.shared.state).lacks.clear();
    }

    /// Retention of a database or bucket, 0 if it keeps everything; `None` if it does not exist.
    pub fn retention_s(&self, database: &str) -> Option<u64> {
        locked(&self.shared.state).databases.get(database).map(|found| found.retention_s)
    }

    /// Creates a database or bucket without a retention period, as an administrator would.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.shared.create(&mut self.shared.state(), name, 0)
    }

    /// Copies of each point of a database (openGemini).
    pub fn n_copies(&self, database: &str) -> Option<u64> {
        locked(&self.shared.state).databases.get(database).map(|found| found.n_copies)
    }

    /// Shows all points to queries at once (openGemini).
    pub fn show_all(&self) -> Result<()> {
        lag::show(&self.shared, None)
    }

    /// Drops a database or bucket with its contents.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let mut state = locked(&self.shared.state);
        state.databases.remove(name);
        lag::forget(&mut state, name);
        drop(state);
        self.shared.server.query("", &format!("DROP DATABASE \"{name}\"")).map(drop)
    }
}

impl Drop for InfluxFacade {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        for connection in locked(&self.shared.connections).values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        // A thread that is still answering shares the server: the test may end before it, and nobody would stop the server.
        self.shared.server.end();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for connection in listener.incoming() {
        if shared.is_stopping.load(Ordering::Relaxed) {
            return;
        }
        let Ok(connection) = connection else { continue };
        let (Ok(copy), Ok(client)) = (connection.try_clone(), connection.peer_addr()) else { continue };
        locked(&shared.connections).insert(client.port(), copy);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A client that disconnects half-way is not an error here.
            let _ = serve(&shared, &connection);
            // Before the last handle closes: afterwards the port may belong to another client.
            locked(&shared.connections).remove(&client.port());
        });
    }
}

fn serve(shared: &Shared, connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection.try_clone()?);
    while let Some(request) = Request::read(&mut reader)? {
        locked(&shared.record).push(request.clone());
        let fault = locked(&shared.faults).iter_mut().find_map(|fault| fault.takes(&request).then(|| fault.clone()));
        let (before, after) = match fault {
            Some(fault) if fault.is_after => (None, Some(fault.act)),
            Some(fault) => (Some(fault.act), None),
            None => (None, None),
        };
        let mut answer = match before {
            Some(Act::Answer(answer)) => answer,
            Some(Act::Reset | Act::Cut) => return reset(connection),
            Some(Act::Delay(by)) => {
                wait(by);
                shared.answer(&request)
            }
            None => shared.answer(&request),
        };
        let is_cut = matches!(after, Some(Act::Cut));
        match after {
            Some(Act::Answer(other)) => answer = other,
            Some(Act::Reset) => return reset(connection),
            Some(Act::Delay(by)) => wait(by),
            Some(Act::Cut) | None => {}
        }
        answer.write(connection, is_cut)?;
        if is_cut {
            connection.shutdown(Shutdown::Both)?;
            return Ok(());
        }
    }
    Ok(())
}

/// Turns the close that follows into a reset.
fn reset(connection: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(connection, Some(Duration::ZERO))?;
    Ok(())
}

fn wait(time: Duration) {
    let until = Deadline::after(time);
    while until.pause() {}
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        let answer = match self.generation {
            Generation::V2 => v2::answer(self, request),
            Generation::V3 => v3::answer(self, request),
            Generation::OpenGemini => open_gemini::answer(self, request),
        };
        // Version 3 hides even its version from unauthenticated clients.
        let is_silent = self.generation == Generation::V3 && answer.status == 401;
        if self.options.hides_version || is_silent {
            return answer;
        }
        let build = match self.generation {
            Generation::V2 => "OSS",
            Generation::V3 => "Core",
            Generation::OpenGemini => {
                return answer.with("X-Geminidb-Version", &self.options.release).with("X-Geminidb-Build", "OSS");
            }
        };
        answer.with("X-Influxdb-Version", &self.options.release).with("X-Influxdb-Build", build)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Creates a database here and in the InfluxDB behind.
    fn create(&self, state: &mut State, name: &str, retention_s: u64) -> Result<()> {
        self.server.query("", &format!("CREATE DATABASE \"{name}\""))?;
        state.n_made += 1;
        let id = format!("{:016x}", 0xb0_0000 + state.n_made);
        let is_mapped = self.options.maps_buckets;
        state
            .databases
            .insert(name.to_owned(), Database { id, is_mapped, n_copies: 1, shard_s: WEEK_S, ..Database::default() });
        self.keep(state, name, retention_s)
    }

    /// Sets the retention of a database.
    fn keep(&self, state: &mut State, name: &str, retention_s: u64) -> Result<()> {
        // The shortest retention is an hour: shards of an hour fit every retention.
        let alter = format!("ALTER RETENTION POLICY \"autogen\" ON \"{name}\" DURATION {retention_s}s");
        let shard = if retention_s == 0 { "168h" } else { "1h" };
        self.server.query("", &format!("{alter} SHARD DURATION {shard}"))?;
        if let Some(database) = state.databases.get_mut(name) {
            database.retention_s = retention_s;
        }
        Ok(())
    }

    /// Returns true for a version 3 before 3.`minor`.
    fn is_before(&self, minor: u32) -> bool {
        let found = self.options.release.split('.').nth(1).and_then(|text| text.parse::<u32>().ok());
        self.generation == Generation::V3 && found.is_some_and(|found| found < minor)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
