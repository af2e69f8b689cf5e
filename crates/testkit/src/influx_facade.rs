//! InfluxDB 2.7 or 3 Core as its clients see it over HTTP, in front of a real InfluxDB 1 that keeps the points
//! and answers the queries. Neither of the two can be had as a package, so this is how the exchange with
//! them is tested; what it answers follows their sources, never what our client happens to like.
//!
//! - `http`: requests and answers.
//! - `fault`: what goes wrong when a test wants it to.
//! - `lines`: line protocol as the two read it.
//! - `query`: InfluxQL with each one's dialect.
//! - `v2`, `v3`: paths, credentials, words of errors.
//!
//! Left out: the first set-up, Basic credentials, version 1 paths of version 2, Flux, SQL, all but JSON as a
//! query's answer.

mod fault;
mod http;
mod lines;
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
use lines::Kind;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 2.7
    V2,
    /// 3 Core
    V3,
}

/// What a token of version 2 may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See the organization.
    ReadOrg,
    /// Make buckets.
    CreateBuckets,
    /// See and read the bucket.
    ReadBucket,
    /// Write the bucket, its retention and its mappings.
    WriteBucket,
}

/// What a test may want to be different.
#[derive(Clone, Debug)]
pub struct FacadeOptions {
    /// The version it says it is; version 3 differs before 3.7 and before 3.10. Empty: the newest.
    pub release: String,
    /// The token it wants. `None`: a version 3 that asks nobody.
    pub token: Option<String>,
    /// What the token may not do (version 2).
    pub lacks: Vec<Right>,
    /// The version's header is taken away, as some proxies do.
    pub hides_version: bool,
    /// A bucket is its own mapping, as since version 2.4.
    pub maps_buckets: bool,
    /// Largest body, packed or not. Version 2 has no limit of its own, a proxy before it may have.
    pub max_body_bytes: usize,
    /// Most files that one query may read (version 3); a file holds ten minutes.
    pub max_files: usize,
    /// Most databases (version 3).
    pub max_databases: usize,
}

impl Default for FacadeOptions {
    fn default() -> FacadeOptions {
        FacadeOptions {
            release: String::new(),
            token: Some(InfluxFacade::TOKEN.to_owned()),
            lacks: Vec::new(),
            hides_version: false,
            maps_buckets: true,
            max_body_bytes: 10 << 20,
            max_files: 432,
            max_databases: 5,
        }
    }
}

/// A running facade with its InfluxDB 1. Dropping it ends both.
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
    /// By the client's port.
    connections: Mutex<BTreeMap<u16, TcpStream>>,
    is_stopping: AtomicBool,
}

/// What InfluxDB 1 cannot know of the other two.
#[derive(Debug, Default)]
struct State {
    lacks: Vec<Right>,
    databases: BTreeMap<String, Database>,
    n_made: u64,
}

#[derive(Debug, Default)]
struct Database {
    /// The bucket's.
    id: String,
    /// 0: for ever.
    retention_s: u64,
    /// InfluxQL finds it (version 2).
    is_mapped: bool,
    /// Types of columns by table and name (version 3).
    columns: BTreeMap<String, BTreeMap<String, Kind>>,
    /// The files: ten minutes each (version 3).
    files: BTreeSet<i64>,
}

impl InfluxFacade {
    /// The token that it wants unless told otherwise.
    pub const TOKEN: &str = "facade-token-Zm9v";
    /// The only organization (version 2).
    pub const ORG: &str = "fleet-org";

    /// Starts it and the InfluxDB behind it; returns when it answers.
    pub fn start(generation: Generation, mut options: FacadeOptions) -> Result<InfluxFacade> {
        if options.release.is_empty() {
            let newest = match generation {
                Generation::V2 => "v2.7.12",
                Generation::V3 => "3.10.1",
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

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The InfluxDB 1 behind it: what is really stored. Databases have the same names there.
    pub fn server(&self) -> &InfluxServer {
        &self.shared.server
    }

    /// Writes lines (nanoseconds) as a client of this version would, unseen by record and faults.
    pub fn write(&self, database: &str, lines: &str) -> Result<()> {
        let (path, precision) = match self.shared.generation {
            Generation::V2 => ("/api/v2/write", "ns"),
            Generation::V3 => ("/api/v3/write_lp", "nanosecond"),
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
            packing_fault: None,
        };
        let answer = self.shared.answer(&request);
        let words = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 204, "the facade answers {} to a write: {words}", answer.status);
        Ok(())
    }

    /// Every request so far.
    pub fn record(&self) -> Vec<Request> {
        locked(&self.shared.record).clone()
    }

    /// The requests so far to one path.
    pub fn record_of(&self, path: &str) -> Vec<Request> {
        self.record().into_iter().filter(|request| request.path == path).collect()
    }

    /// Lets something go wrong. Of several faults that fit, the one first told is taken.
    pub fn fault(&self, fault: Fault) {
        locked(&self.shared.faults).push(fault);
    }

    /// Nothing more goes wrong.
    pub fn mend(&self) {
        locked(&self.shared.faults).clear();
    }

    /// The token may do everything from now on.
    pub fn grant_all(&self) {
        locked(&self.shared.state).lacks.clear();
    }

    /// Seconds that a database or bucket keeps its points, 0 for ever; `None` if it is not there.
    pub fn retention_s(&self, database: &str) -> Option<u64> {
        locked(&self.shared.state).databases.get(database).map(|found| found.retention_s)
    }

    /// Makes a database or bucket that keeps its points for ever, as an administrator would.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.shared.create(&mut self.shared.state(), name, 0)
    }

    /// Takes a database or bucket away with all that is in it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        locked(&self.shared.state).databases.remove(name);
        self.shared.server.query("", &format!("DROP DATABASE \"{name}\"")).map(drop)
    }
}

impl Drop for InfluxFacade {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees that it shall end.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        for connection in locked(&self.shared.connections).values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        // A thread that still answers shares it: the test may be over before that thread is, and nobody would end it.
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
            // A client that goes away in the middle is none of our business.
            let _ = serve(&shared, &connection);
            // Before the last handle closes: the port may be somebody else's a moment later.
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

/// Makes the close that follows a reset and no orderly end.
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
        };
        // Version 3 does not even say its version to strangers.
        let is_silent = self.generation == Generation::V3 && answer.status == 401;
        if self.options.hides_version || is_silent {
            return answer;
        }
        let build = match self.generation {
            Generation::V2 => "OSS",
            Generation::V3 => "Core",
        };
        answer.with("X-Influxdb-Version", &self.options.release).with("X-Influxdb-Build", build)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Makes a database here and behind.
    fn create(&self, state: &mut State, name: &str, retention_s: u64) -> Result<()> {
        self.server.query("", &format!("CREATE DATABASE \"{name}\""))?;
        state.n_made += 1;
        let id = format!("{:016x}", 0xb0_0000 + state.n_made);
        let is_mapped = self.options.maps_buckets;
        state.databases.insert(name.to_owned(), Database { id, is_mapped, ..Database::default() });
        self.keep(state, name, retention_s)
    }

    /// Sets how long a database keeps its points.
    fn keep(&self, state: &mut State, name: &str, retention_s: u64) -> Result<()> {
        // Nothing is kept for less than an hour: shards of an hour go with every retention.
        let alter = format!("ALTER RETENTION POLICY \"autogen\" ON \"{name}\" DURATION {retention_s}s");
        let shard = if retention_s == 0 { "168h" } else { "1h" };
        self.server.query("", &format!("{alter} SHARD DURATION {shard}"))?;
        if let Some(database) = state.databases.get_mut(name) {
            database.retention_s = retention_s;
        }
        Ok(())
    }

    /// Whether version 3 is older than 3.`minor`.
    fn is_before(&self, minor: u32) -> bool {
        let found = self.options.release.split('.').nth(1).and_then(|text| text.parse::<u32>().ok());
        self.generation == Generation::V3 && found.is_some_and(|found| found < minor)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
