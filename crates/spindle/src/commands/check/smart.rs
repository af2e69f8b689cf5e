//! Check of the source `smart`: the program, the rights, and one reading of every drive.

use std::time::Duration;

use tokio::time::timeout;

use super::finding::Finding;
use crate::clock;
use crate::config::DaemonConfig;
use crate::output;
use crate::sources::host::ProblemKind;
use crate::sources::smart::{Smart, SmartOptions};

const CHECK: &str = "source smart";
/// Longest time for all drives; reading one takes up to two seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Reads the drives once, as the daemon does. A source that reads no drive at all has failed.
pub(super) async fn check(config: &DaemonConfig) -> Vec<Finding> {
    let mut smart = Smart::new(SmartOptions::new(config, "check"));
    if timeout(LIMIT, smart.poll(clock::now())).await.is_err() {
        let detail = format!("reading the drives takes longer than {} s", LIMIT.as_secs());
        return vec![Finding::warn(CHECK, detail, "look for a dying drive in the kernel's log (dmesg)")];
    }
    let (n_read, n_asleep) = smart.counts();
    let n_known = n_read + n_asleep;
    let mut findings = Vec::new();
    if n_known > 0 {
        let asleep = if n_asleep > 0 { format!(", {n_asleep} asleep") } else { String::new() };
        findings.push(Finding::ok(CHECK, format!("{} read{asleep}", output::count(n_read as u64, "drive"))));
    }
    findings.extend(smart.problems().iter().map(|(kind, n_problems, newest)| {
        let check = format!("{CHECK}: {}", kind.as_str());
        let detail = format!("{}; last: {newest}", output::count(n_problems, "time"));
        match remedy(kind) {
            None => Finding::ok(CHECK, newest),
            Some(remedy) if n_known == 0 && kind != ProblemKind::NoDisk => Finding::fail(check, detail, remedy),
            Some(remedy) => Finding::warn(check, detail, remedy),
        }
    }));
    findings
}

/// Returns what to do about a kind of problem; `None` if nothing.
fn remedy(kind: ProblemKind) -> Option<&'static str> {
    match kind {
        ProblemKind::NoProgram => Some("install smartmontools 7.0 or newer, or set SPINDLE_SMARTCTL to its smartctl"),
        ProblemKind::NoRights => Some(
            "run as root, or let SPINDLE_SMARTCTL name a script that runs `sudo smartctl \"$@\"`; in a container add --privileged",
        ),
        ProblemKind::NoDisk => Some("list drives in daemon.smart_devices, or remove the source from daemon.sources"),
        ProblemKind::NoAnswer => Some("look for a dying drive in the kernel's log (dmesg)"),
        kind if kind.is_notice() => None,
        _ => Some("try `smartctl --all` on the drive; daemon.smart_devices takes its type (`smartctl -d`)"),
    }
}
