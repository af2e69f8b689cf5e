//! Checks of NATS: the nats-server program, the connection, JetStream, and the three streams.

use std::time::Duration;

use spindle_bus::{
    Bus, BusError, BusErrorKind, Difference, EVENTS_STREAM, FillLevel, Impact, METRICS_STREAM, NatsSettings,
    StreamFill, StreamFinding, StreamHolder, StreamLimits,
};
use spindle_core::redact::without_userinfo;

use super::finding::{Finding, clock_finding};
use crate::config::Config;
use crate::data_dir::run_file::{self, RunFile};
use crate::logging::chain;
use crate::output;
use crate::roles::detector;
use crate::roles::writer::{EVENTS_CONSUMER, METRICS_CONSUMER, fill_reason};
use crate::supervisor;

/// Nobody waits longer for a check; the roles wait for `nats.connect_timeout`.
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Users that deploy/nats/nats-server.conf restricts to replies for the connection of their role.
const ROLES: [&str; 6] = ["daemon", "writer", DETECTOR, "reader", "web", "client"];
/// The user whose consumers are checked as well.
const DETECTOR: &str = "detector";

pub(super) async fn check(config: &Config, running: Option<&RunFile>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.nats.url.is_none() && running.is_none() {
        findings.push(program(config).await);
        findings.push(Finding::ok("streams", "`spindle up` will start nats-server and create them"));
        return findings;
    }
    match run_file::nats_settings(config) {
        Ok(settings) => findings.extend(server(config, settings).await),
        Err(error) => findings.push(Finding::fail("NATS", format!("{error:#}"), "set NATS_URL or --data-dir")),
    }
    findings
}

async fn program(config: &Config) -> Finding {
    match supervisor::nats::version(&config.nats.server).await {
        Ok(version) => Finding::ok("nats-server", format!("{}, {version}", config.nats.server.display())),
        Err(error) => Finding::fail(
            "nats-server",
            format!("{error:#}"),
            "install nats-server 2.10 or later and name it with SPINDLE_NATS_SERVER, or set NATS_URL",
        ),
    }
}

async fn server(config: &Config, mut settings: NatsSettings) -> Vec<Finding> {
    settings.connect_timeout = settings.connect_timeout.min(MAX_CONNECT_TIMEOUT);
    let role = config.nats.user.as_deref().filter(|user| ROLES.contains(user)).unwrap_or("check");
    let bus = match Bus::connect_with_notice(&settings, &format!("spindle-{role}"), |_| {}).await {
        Ok(bus) => bus,
        Err(error) => {
            let remedy = match error.is_transient() {
                true => "start nats-server, or correct NATS_URL",
                false => {
                    "correct NATS_URL and the credentials (NATS_USER and NATS_PASSWORD, NATS_CREDS, NATS_NKEY, NATS_CA, NATS_CERT)"
                }
            };
            return vec![Finding::fail("NATS", chain(error), remedy)];
        }
    };
    let mut findings = vec![Finding::ok("NATS", format!("connected to {}", without_userinfo(&settings.url)))];
    let limits = config.stream_limits();
    let (usage, streams) = tokio::join!(bus.jetstream_usage(), bus.inspect_streams(limits));
    let is_missing = streams.iter().any(|(_, finding)| matches!(finding, Ok(StreamFinding::Missing)));
    findings.push(jetstream(usage, limits, is_missing));
    // Unknown before the streams exist, and to a user who may not look at them, which the streams report.
    let time = bus.server_time().await.ok().flatten();
    findings.extend(time.map(|time| clock_finding("NATS", time)));
    if role == DETECTOR {
        findings.push(detector(&bus).await);
    }
    for (name, mut finding) in streams {
        if let Ok(StreamFinding::Usable { fill, .. }) = &mut finding
            && fill.level() != FillLevel::Roomy
        {
            fill.holder = holder(&bus, name).await;
        }
        findings.push(stream(name, finding));
    }
    findings
}

/// Checks the consumers of the detector, for its user.
async fn detector(bus: &Bus) -> Finding {
    const CHECK: &str = "consumers of the detector";
    for (stream, consumer) in detector::FOLLOWED.into_iter().zip(detector::CONSUMERS) {
        match bus.check_follower(stream, consumer).await {
            Err(error) if error.kind() == BusErrorKind::Configuration => {
                return Finding::fail(
                    CHECK,
                    chain(error),
                    "grant the permissions of the user detector in deploy/nats/nats-server.conf",
                );
            }
            Err(error) => {
                return Finding::fail(CHECK, chain(error), "check that nats-server responds, and check again");
            }
            Ok(()) => {}
        }
    }
    Finding::ok(CHECK, "the user may look them up")
}

/// Returns the consumer that keeps messages from being removed, if there is one and the user may look for it.
async fn holder(bus: &Bus, name: &str) -> Option<StreamHolder> {
    let writer = match name {
        METRICS_STREAM => METRICS_CONSUMER,
        EVENTS_STREAM => EVENTS_CONSUMER,
        _ => return None,
    };
    bus.stream_fill(name, Some(writer)).await.ok()?.holder
}

fn jetstream(usage: Result<(u64, Option<u64>), BusError>, limits: StreamLimits, is_missing: bool) -> Finding {
    const CHECK: &str = "JetStream";
    match usage {
        Ok((_, Some(limit))) if is_missing && limit < limits.total() => Finding::fail(
            CHECK,
            format!("the account may store {}, the streams need {}", size(limit), size(limits.total())),
            "raise the account's limit, or lower nats.metrics_bytes, nats.events_bytes and nats.deadletter_bytes",
        ),
        Ok((used, Some(limit))) => Finding::ok(CHECK, format!("{} of {} used", size(used), size(limit))),
        Ok((used, None)) => Finding::ok(CHECK, format!("{} used", size(used))),
        Err(error) if error.kind() == BusErrorKind::Configuration => Finding::ok(
            CHECK,
            "usage unknown: the user may not publish to '$JS.API.INFO', so the account's limit is not watched",
        ),
        Err(error) => Finding::fail(CHECK, chain(error), "enable JetStream in nats-server (-js)"),
    }
}

fn stream(name: &str, finding: Result<StreamFinding, BusError>) -> Finding {
    let check = format!("stream {name}");
    match finding {
        Ok(StreamFinding::Missing) => {
            Finding::ok(check, "does not exist yet; `spindle up` or the writer will create it")
        }
        Ok(StreamFinding::Usable { fill, differences }) => {
            let level = match fill.level() {
                FillLevel::Roomy => return differing(name, check, contents(&fill), &differences),
                FillLevel::NearlyFull => "nearly full",
                FillLevel::Full => "full, it refuses messages",
            };
            Finding::warn(
                check,
                listed(format!("{level}: {}", contents(&fill)), &differences),
                fill_reason(name, &fill),
            )
        }
        Ok(StreamFinding::Unsafe(error)) => {
            Finding::fail(check, chain(error), format!("correct it with `nats stream edit {name}`, as far as it can"))
        }
        Err(error) if error.kind() == BusErrorKind::Configuration => Finding::warn(
            check,
            chain(error),
            "writer and web need this permission for all three streams, daemon and detector for METRICS and EVENTS, other roles for none",
        ),
        Err(error) => Finding::fail(check, chain(error), "check that JetStream is enabled and has a leader"),
    }
}

/// Returns messages and bytes of a stream, with its limits.
fn contents(fill: &StreamFill) -> String {
    let of = |limit: Option<String>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let by_subject =
        fill.fullest_subject.map(|(messages, limit)| format!(", {messages} of {limit} of the fullest subject"));
    format!(
        "{}{}, {}{}{}",
        output::count(fill.messages, "message"),
        of(fill.max_messages.map(|limit| limit.to_string())),
        size(fill.bytes),
        of(fill.max_bytes.map(size)),
        by_subject.unwrap_or_default()
    )
}

/// A stream that is safe to use: a warning if it works less well than one that Spindle creates.
fn differing(name: &str, check: String, detail: String, differences: &[Difference]) -> Finding {
    let detail = listed(detail, differences);
    match differences.iter().map(|difference| difference.impact).max() {
        None | Some(Impact::Harmless) => Finding::ok(check, detail),
        Some(Impact::Weakens | Impact::Loses) => {
            Finding::warn(check, detail, format!("correct it with `nats stream edit {name}`, unless it is intended"))
        }
    }
}

fn listed(detail: String, differences: &[Difference]) -> String {
    differences.iter().fold(detail, |detail, difference| format!("{detail}; {difference}"))
}

fn size(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        gib => format!("{gib} GiB"),
    }
}
