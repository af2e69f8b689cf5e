//! System under test: real NATS servers, a real store, and each role as a separate process, with a proxy on each link
//! between them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use spindle_store::{InfluxSettings, Store};
use spindle_testkit::{FakeClocks, InfluxOptions, InfluxServer, NatsServer, free_port};
use tokio::time::{Instant, sleep};

use super::backup::Backup;
use super::disk::Disk;
use super::messages::PANIC_TOKEN;
use super::proxy::Proxy;
use super::{NatsKind, Options, StoreKind};
use crate::harness::nats::{Address, jetstream};
use crate::harness::process::{Recipe, Role};

/// Size of a disk: base, and per value or event. Several times the need; only the contents use memory.
const DISK_BYTES: (u64, u64) = (1 << 30, 500);
/// Environment variable: debug builds of the writer panic on a message that contains its value.
const PANIC_VARIABLE: &str = "SPINDLE_TEST_PANIC_AT";
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Roles in a fixed order. Two writers share the work.
pub(super) const ROLES: [&str; 5] = ["writer-1", "writer-2", "reader", "daemon", "client"];
const DAEMON: usize = 3;
/// Number of roles that use the store.
const STORE_USERS: usize = 3;
/// Streams as Spindle creates them; with three replicas they must exist before it starts.
const STREAMS: [(&str, &str); 3] =
    [("METRICS", "events.metrics"), ("EVENTS", "events.event"), ("DEADLETTER", "deadletter.>")];

/// Link between two processes.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) proxy: Proxy,
}

/// Owner of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskOf {
    Nats,
    Store,
}

/// All processes. Dropping the system stops them.
#[derive(Debug)]
pub(super) struct System {
    pub(super) kind: StoreKind,
    pub(super) roles: Vec<Arc<Role>>,
    pub(super) links: Vec<Link>,
    pub(super) clocks: Option<FakeClocks>,
    /// Backup of the InfluxDB's data, if that is the store.
    pub(super) backup: Option<Backup>,
    /// The program is a debug build, so messages can make the writers panic.
    pub(super) has_failpoints: bool,
    nats: Mutex<Vec<NatsServer>>,
    influx: Option<Mutex<InfluxServer>>,
    /// Address of NATS for the harness, past every proxy.
    pub(super) nats_address: Address,
    /// Address of NATS for the publisher, through its proxy.
    pub(super) publisher_address: Address,
    data_dir: PathBuf,
    // Dropped after the servers on them.
    disks: Vec<(DiskOf, Disk)>,
}

impl System {
    pub(super) async fn start(options: &Options, folder: &Path, with_disks: bool) -> Result<Self> {
        let mut disks = Vec::new();
        if with_disks {
            disks.push((DiskOf::Nats, Disk::make(folder, "disk-of-nats", disk_bytes(options))?));
            disks.push((DiskOf::Store, Disk::make(folder, "disk-of-store", disk_bytes(options))?));
        }
        let data_dir_of = |of: DiskOf, name: &str| {
            let disk = disks.iter().find(|(owner, _)| *owner == of);
            disk.map_or_else(|| folder.join(name), |(_, disk)| disk.folder().join("data"))
        };
        let (nats_dir, store_dir) = (data_dir_of(DiskOf::Nats, "nats"), data_dir_of(DiskOf::Store, "store"));
        let nats = match options.nats {
            NatsKind::Single => vec![single(nats_dir)?],
            NatsKind::Cluster => NatsServer::start_cluster(|node| spindle_testkit::Options {
                store_dir: Some(nats_dir.join(format!("node-{node}"))),
                sync_always: true,
                ..spindle_testkit::Options::default()
            })?,
        };
        let nats_ports: Vec<u16> = nats.iter().map(NatsServer::port).collect();
        let nats_address = Address::new(nats_ports.clone());
        if nats.len() > 1 {
            make_replicated_streams(&nats_address, stream_bytes(options)).await?;
        }
        let influx = match options.store {
            StoreKind::Embedded => None,
            StoreKind::Influxdb => Some(InfluxServer::start_with(InfluxOptions {
                data_dir: Some(store_dir.clone()),
                ..InfluxOptions::default()
            })?),
        };
        let backup = influx.is_some().then(|| Backup::new(store_dir.clone(), folder));
        let data_dir = if influx.is_some() { folder.join("data") } else { store_dir };
        fs::create_dir_all(&data_dir)?;
        let clocks = options.wants("clock").then(|| FakeClocks::find(folder)).transpose()?.flatten();
        let mut system = Self {
            kind: options.store,
            roles: Vec::new(),
            links: Vec::new(),
            clocks,
            backup,
            has_failpoints: options.wants("panic") && has_failpoints(&options.program()?),
            nats: Mutex::new(nats),
            influx: influx.map(Mutex::new),
            publisher_address: nats_address.clone(),
            nats_address,
            data_dir,
            disks,
        };
        system.make_links(&nats_ports).await?;
        system.make_roles(options, folder, &nats_ports)?;
        for role in &system.roles {
            role.start()?;
        }
        system.wait_until_ready().await?;
        Ok(system)
    }

    /// Starts the proxies. Links to a cluster have none: its clients choose among three servers.
    async fn make_links(&mut self, nats_ports: &[u16]) -> Result<()> {
        if let [port] = nats_ports {
            for name in ROLES.iter().chain(&["publisher"]) {
                self.links.push(Link { name: format!("{name} to nats"), proxy: Proxy::start(*port).await? });
            }
            let publisher = self.links.last().context("no link of the publisher")?;
            self.publisher_address = Address::new(vec![publisher.proxy.port()]);
        }
        let Some(port) = self.influx_port() else { return Ok(()) };
        for name in &ROLES[..STORE_USERS] {
            self.links.push(Link { name: format!("{name} to store"), proxy: Proxy::start(port).await? });
        }
        Ok(())
    }

    fn link_port(&self, name: &str) -> Option<u16> {
        self.links.iter().find(|link| link.name == name).map(|link| link.proxy.port())
    }

    fn make_roles(&mut self, options: &Options, folder: &Path, nats_ports: &[u16]) -> Result<()> {
        let all = nats_ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        for (index, name) in ROLES.iter().enumerate() {
            let nats = self
                .link_port(&format!("{name} to nats"))
                .map_or(all.clone(), |port| format!("nats://127.0.0.1:{port}"));
            let mut variables = vec![
                ("NATS_URL".to_owned(), nats),
                ("SPINDLE_DATA_DIR".to_owned(), self.data_dir.display().to_string()),
                ("SPINDLE_SIMULATED_PAST".to_owned(), "0".to_owned()),
                ("SPINDLE_CLIENT_LOG".to_owned(), folder.join("client.ndjson").display().to_string()),
            ];
            if self.influx.is_some() {
                let port =
                    self.link_port(&format!("{name} to store")).or_else(|| self.influx_port()).unwrap_or_default();
                variables.push(("INFLUXDB_HOST".to_owned(), format!("http://127.0.0.1:{port}")));
            }
            for stream in ["METRICS", "EVENTS"] {
                variables.push((format!("SPINDLE_{stream}_BYTES"), stream_bytes(options).to_string()));
            }
            if self.has_failpoints {
                variables.push((PANIC_VARIABLE.to_owned(), PANIC_TOKEN.to_owned()));
            }
            variables.extend(self.clocks.iter().flat_map(|clocks| clocks.variables(name)));
            let arguments: &[&str] = match *name {
                "writer-1" | "writer-2" => &["writer"],
                "daemon" => &["daemon", "--source", "simulate", "--devices", "20", "--interval", "1s"],
                "client" => &["client", "--interval", "2s"],
                other => &[other],
            };
            let arguments = arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .chain(["--store".to_owned(), self.kind.as_str().to_owned()]);
            let recipe = Recipe {
                name: (*name).to_owned(),
                program: options.program()?,
                arguments: arguments.collect(),
                variables,
                log: folder.join(format!("{name}.log")),
                health_port: free_port()?,
            };
            ensure!(index == self.roles.len(), "roles out of order");
            self.roles.push(Arc::new(Role::new(recipe)));
        }
        Ok(())
    }

    /// Waits until every role is ready.
    pub(super) async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        for role in &self.roles {
            while !super::watch::is_ready(role.recipe.health_port).await {
                if Instant::now() > deadline {
                    let log = fs::read_to_string(&role.recipe.log).unwrap_or_default();
                    let tail: Vec<&str> = log.lines().rev().take(12).collect();
                    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                    bail!("{} is not ready after {START_TIMEOUT:?}; the end of its log:\n{tail}", role.recipe.name);
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    pub(super) fn disk(&self, of: DiskOf) -> Option<&Disk> {
        self.disks.iter().find(|(owner, _)| *owner == of).map(|(_, disk)| disk)
    }

    pub(super) fn daemon(&self) -> &Role {
        &self.roles[DAEMON]
    }

    /// NATS servers. Their calls block: use `block_in_place`.
    pub(super) fn nats(&self) -> MutexGuard<'_, Vec<NatsServer>> {
        self.nats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// InfluxDB, if that is the store. Its calls block as well.
    pub(super) fn influx(&self) -> Option<MutexGuard<'_, InfluxServer>> {
        self.influx.as_ref().map(|influx| influx.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Saves the servers' logs beside those of the roles.
    pub(super) fn keep_servers_logs(&self, folder: &Path) {
        let nats = self.nats().iter().map(NatsServer::log_tail).collect::<Vec<_>>().join("\n");
        let influx = self.influx().map(|influx| influx.log()).unwrap_or_default();
        // A log that cannot be saved does not affect the verdict.
        let _ = fs::write(folder.join("nats.log"), nats);
        let _ = fs::write(folder.join("influx.log"), influx);
    }

    fn influx_port(&self) -> Option<u16> {
        self.influx()?.url().rsplit(':').next()?.parse().ok()
    }

    /// Opens the store, past every proxy.
    pub(super) async fn store(&self) -> Result<Store> {
        let Some(host) = self.influx().map(|influx| influx.url()) else {
            return Ok(Store::open_embedded(&self.data_dir.join("spindle.db")).await?);
        };
        let settings = InfluxSettings { host, database: "spindle".to_owned(), ..InfluxSettings::default() };
        Ok(Store::open_influx(settings)?)
    }
}

fn disk_bytes(options: &Options) -> u64 {
    DISK_BYTES.0 + DISK_BYTES.1 * options.messages * options.values
}

/// Returns a limit more than twice as large as all messages: a stream is trimmed once it is half full, and the writers
/// restore from its contents.
fn stream_bytes(options: &Options) -> u64 {
    3 * disk_bytes(options)
}

/// Returns true if the program has the failpoints of debug builds.
fn has_failpoints(program: &Path) -> bool {
    let found = Command::new("grep").args(["-q", "-a", "-F", PANIC_VARIABLE]).arg(program).status();
    found.is_ok_and(|status| status.success())
}

fn single(store_dir: PathBuf) -> Result<NatsServer> {
    NatsServer::start_with(spindle_testkit::Options {
        store_dir: Some(store_dir),
        sync_always: true,
        ..spindle_testkit::Options::default()
    })
}

async fn make_replicated_streams(address: &Address, max_bytes: u64) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    for (name, subject) in STREAMS {
        let window_s: u64 = if name == "METRICS" { 120 } else { 3600 };
        let config = json!({
            "name": name, "subjects": [subject], "storage": "file", "retention": "limits", "discard": "new",
            "num_replicas": 3, "max_bytes": max_bytes, "max_msgs": -1, "max_age": 0, "max_msg_size": -1,
            "max_consumers": -1, "duplicate_window": window_s * 1_000_000_000,
        });
        // Refused until the three servers have elected a leader.
        while let Err(error) = jetstream(address, &format!("STREAM.CREATE.{name}"), &config).await {
            ensure!(Instant::now() < deadline, "the cluster does not create stream {name}: {error:#}");
            sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}
