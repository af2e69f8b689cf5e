//! Claims about the process itself: its start, its outputs, its program file, its clock, its exit codes.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use spindle_testkit::FakeClocks;
use tokio::time::{Instant, sleep};

use super::ledger::Ledger;
use super::rig::{PATIENCE, Rig, ago, copy_program, get, wait_for_readiness, wait_until_ready};
use super::stranger::{FOREIGN, Stranger};
use crate::harness::process::send_signal;
use crate::print;

/// Port of the HTTP server of a running `spindle up`, from its run file.
async fn http_port(rig: &Rig, pid: u32) -> Result<u16> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let run = fs::read(rig.data_dir().join("run.json")).ok();
        let run: Value = run.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if run["pid"] == pid {
            let http = run["http"].as_str().and_then(|http| http.rsplit(':').next()?.parse().ok());
            return http.context("no port in run.json");
        }
        ensure!(Instant::now() < deadline, "spindle up does not come up: {}", rig.log("up"));
        sleep(Duration::from_millis(50)).await;
    }
}

fn last_pid(rig: &Rig) -> u32 {
    rig.roles.last().map_or(0, crate::harness::process::Role::pid)
}

/// While the store refuses, the end of the start does not sound as if all were well.
pub(super) async fn refused_start(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let influx = rig.influx.as_ref().context("a case of InfluxDB")?;
    let port = influx.url().rsplit(':').next().and_then(|port| port.parse().ok()).context("port of InfluxDB")?;
    let stranger = Stranger::start(port).await?;
    stranger.answer(Some(FOREIGN[7 + rig.random.below(3)].clone()));
    let url = stranger.url();
    rig.start(&["up", "--source", "simulate"], &[("INFLUXDB_HOST", &url)])?;
    let http = http_port(rig, last_pid(rig)).await?;
    let red = wait_for_readiness(http, Duration::from_secs(20), |status, _| status == 503).await;
    ledger.holds("readiness", red.as_ref().ok(), "nothing can be stored", red.is_ok());
    stranger.answer(None);
    let green = wait_until_ready(http).await;
    ledger.holds("readiness afterwards", green.as_ref().err(), "stores again", green.is_ok());
    rig.roles.clear();
    std::fs::remove_file(rig.folder.path().join("up.log"))?;
    // Nothing listens there.
    rig.start(&["up", "--source", "simulate"], &[("INFLUXDB_HOST", "http://127.0.0.1:1")])?;
    http_port(rig, last_pid(rig)).await?;
    let (deadline, mut log) = (Instant::now() + PATIENCE, String::new());
    while !log.contains("nothing is stored") && Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
        log = rig.whole_log("up");
    }
    // Beside the lines of the roles, which go on.
    let end = log.rsplit_once("spindle is up").map_or("", |(_, end)| end);
    ledger.holds(
        "end of the start without a store",
        &log,
        "says that nothing is stored",
        end.contains("nothing is stored"),
    );
    Ok(())
}

/// An output that nobody reads stops neither probes nor storage nor Ctrl-C.
pub(super) async fn undrained_output(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    fs::create_dir_all(rig.data_dir())?;
    let (unread, pipe) = rustix::pipe::pipe()?;
    rustix::pipe::fcntl_setpipe_size(&pipe, 4096)?;
    let mut command = Command::new(&rig.program);
    command.args(["up"]).envs(rig.variables(&[("SPINDLE_SOURCES", "simulate"), ("SPINDLE_LOG", "trace")])?);
    let mut child = command.stdin(Stdio::null()).stdout(pipe.try_clone()?).stderr(pipe).spawn()?;
    drop(command);
    let http = http_port(rig, child.id()).await?;
    let bad: Vec<String> = (0..200).map(|n| format!("bad {n}")).collect();
    for _ in 0..5 {
        rig.publish("events.metrics", &bad).await?;
    }
    let healthy = get(http, "/healthz").await;
    ledger.holds("/healthz", healthy.as_ref().map_err(ToString::to_string), "alive", healthy.is_ok());
    let acknowledged = rig.wait_until_acknowledged().await;
    ledger.holds("storage", acknowledged.as_ref().map_err(ToString::to_string), "goes on", acknowledged.is_ok());
    let metrics = get(http, "/metrics").await.map(|(_, body)| body).unwrap_or_default();
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("spindle_log_lines_dropped_total "));
    ledger.holds("dropped lines", dropped, "are counted", dropped.is_some_and(|number| number != "0"));
    send_signal(child.id(), Signal::INT);
    let (began, mut ended) = (Instant::now(), None);
    while ended.is_none() && began.elapsed() < Duration::from_secs(20) {
        ended = child.try_wait()?;
        sleep(Duration::from_millis(50)).await;
    }
    ledger.holds("Ctrl-C", ended, "ends it", ended.is_some());
    if ended.is_none() {
        send_signal(child.id(), Signal::INT);
        sleep(Duration::from_secs(2)).await;
        let second = child.try_wait()?;
        ledger.holds("second Ctrl-C", second, "ends it at once", second.is_some());
    }
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
    drop(unread);
    Ok(())
}

/// After an upgrade in place, the nats-server that dies is restarted.
pub(super) async fn replaced_program(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let installed = rig.folder.path().join("spindle");
    copy_program(&rig.program, &installed)?;
    let mut variables = rig.variables(&[("SPINDLE_SOURCES", "simulate"), ("SPINDLE_NATS_PORT", "0")])?;
    variables.retain(|(name, _)| name != "NATS_URL");
    let log = File::create(rig.folder.path().join("up.log"))?;
    let mut command = Command::new(&installed);
    command.arg("up").env_remove("NATS_URL").envs(variables).stdout(log.try_clone()?).stderr(log);
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let http = http_port(rig, child.id()).await?;
    wait_until_ready(http).await?;
    fs::remove_file(&installed)?;
    if rig.random.below(2) == 0 {
        copy_program(&rig.program, &installed)?;
    }
    for round in 1..=2 {
        send_signal(nats_pid(rig).await?, Signal::KILL);
        wait_for_readiness(http, Duration::from_secs(10), |status, _| status == 503).await.ok();
        let back = wait_for_readiness(http, Duration::from_secs(30), |status, _| status == 200).await;
        ledger.holds(format!("readiness after kill {round} of nats-server"), back.as_ref().err(), "back", back.is_ok());
    }
    send_signal(child.id(), Signal::INT);
    let status = child.wait()?;
    ledger.equal("exit code", status.code(), Some(0));
    Ok(())
}

/// Returns the process id of our nats-server, which empties the file before it writes it.
async fn nats_pid(rig: &Rig) -> Result<u32> {
    let path = rig.data_dir().join("nats/nats-server.pid");
    for _ in 0..100 {
        if let Some(pid) = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(pid);
        }
        sleep(Duration::from_millis(100)).await;
    }
    bail!("no process id in {}", path.display())
}

/// A start with a wrong clock does not keep later starts from working.
pub(super) async fn wrong_clock(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let Some(clocks) = FakeClocks::find(rig.folder.path())? else {
        ensure!(std::env::var("CI").as_deref() != Ok("true"), "libfaketime is missing (Debian: libfaketime)");
        print("    LEFT OUT  libfaketime is missing (Debian: libfaketime)");
        return Ok(());
    };
    const YEAR_S: i64 = 31_557_600;
    for years in [20, 60, 200, -40, 0] {
        let name = format!("up{years}");
        let faked = clocks.variables(&name);
        clocks.set(&name, years * YEAR_S)?;
        let mut more: Vec<(&str, &str)> = faked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if years == 0 {
            more.clear();
        }
        more.extend([("SPINDLE_SOURCES", "simulate"), ("SPINDLE_RETENTION", "24h")]);
        rig.start(&["up"], &more)?;
        let up = http_port(rig, last_pid(rig)).await;
        let log = rig.whole_log("up");
        let year = this_year()? + years;
        ensure!(log.contains(&format!("{year}-")), "the clock was not {years} years off");
        let words = up.as_ref().map_err(ToString::to_string);
        ledger.holds(format!("start with a clock {years} years off"), words, "works", up.is_ok());
        if let Ok(http) = up {
            let said = wait_for_readiness(http, Duration::from_secs(20), |_, text| {
                text.contains("clocks disagree") == (years != 0)
            });
            let said = said.await;
            ledger.holds(
                format!("readiness with a clock {years} years off"),
                said.as_ref().err(),
                "says so",
                said.is_ok(),
            );
        }
        sleep(Duration::from_secs(3)).await;
        // With the right clock, what the last one dated back by 40 years may be old.
        if years != 0 {
            let n_letters = rig.dead_letters().await?.values().sum::<u64>();
            ledger.equal(format!("dead letters with a clock {years} years off"), n_letters, 0);
        }
        if let Some(role) = rig.roles.last() {
            role.stop().await;
        }
    }
    Ok(())
}

fn this_year() -> Result<i64> {
    ago(Duration::ZERO)[..4].parse().context("year")
}

/// Exit codes: 0 good, 1 not found or unhealthy, 2 error.
pub(super) async fn exit_codes(rig: &mut Rig, ledger: &mut Ledger) -> Result<()> {
    let mut expect = |rig: &Rig, arguments: &[&str], more: &[(&str, &str)], code: i32| -> Result<()> {
        let output = rig.run(arguments, more)?;
        ledger.equal(format!("exit code of {}", arguments.join(" ")), output.status.code(), Some(code));
        Ok(())
    };
    let no_nats = [("NATS_URL", "nats://127.0.0.1:1"), ("SPINDLE_NATS_CONNECT_TIMEOUT", "1s")];
    expect(rig, &["query", "devices"], &no_nats, 2)?;
    expect(rig, &["check"], &no_nats, 1)?;
    expect(rig, &["health"], &[("SPINDLE_HEALTH", "127.0.0.1:1")], 1)?;
    expect(rig, &["writer"], &no_nats, 2)?;
    expect(rig, &["up", "--no-such-option"], &[], 2)?;
    expect(rig, &["config"], &[("SPINDLE_RETENTION", "soon")], 2)?;
    expect(rig, &["config"], &[], 0)?;
    rig.start_writer(&[]).await?;
    let reader = rig.start(&["reader"], &[])?;
    wait_until_ready(reader).await?;
    expect(rig, &["query", "device_health", "source_device=nobody"], &[], 1)?;
    expect(rig, &["query", "no_such_query"], &[], 2)?;
    expect(rig, &["query", "devices"], &[], 1)?;
    expect(rig, &["query", "audit_gaps"], &[], 1)?;
    expect(rig, &["dlq", "show", "99"], &[], 1)?;
    Ok(())
}
