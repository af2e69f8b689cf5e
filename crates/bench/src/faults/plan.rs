//! Plan of faults, derived from the seed alone: kinds, targets, moments, durations.

use std::time::Duration;

use super::proxy::Mode;
use super::system::{DiskOf, ROLES};
use crate::harness::random::Random;

/// Duration of most faults, in seconds.
const LASTS_S: (f64, f64) = (0.2, 5.0);
/// Duration of long pauses and half-open links, in seconds: longer than each of the system's timeouts (three missed
/// pings: 15 s; redelivery: 30 s).
const LONG_S: (f64, f64) = (17.0, 40.0);
/// One in this many of the faults that may be long is.
const LONG_ONE_IN: usize = 6;
/// Shortest plan with long faults.
const LONG_PLAN: Duration = Duration::from_secs(240);
/// Largest clock offset, in either direction.
const MAX_CLOCK_STEP_S: f64 = 2.0 * 86_400.0;

/// Largest number of messages on which one fault makes the writer panic.
const MAX_PANICS: u64 = 6;

/// Process that a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Role(usize),
    /// NATS server by number; 0 unless there is a cluster.
    Nats(usize),
    Store,
}

/// Action of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Act {
    Kill(Target),
    /// Kills a node of the cluster and restarts it without its files.
    Empty(usize),
    Pause(Target),
    Cut(usize, LinkFault),
    Fill(DiskOf),
    RoleClock(usize, i64),
    DeviceClock(i64),
    /// Restarts the store's server with less data than it acknowledged.
    Lose,
    /// Makes the writer panic on this many messages.
    Panic(u64),
}

/// Fault of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LinkFault {
    /// Closes every connection once.
    Now,
    /// Sets a mode for the duration of the fault.
    While(Mode),
}

/// Fault of the plan.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) number: usize,
    /// Time since the start.
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) act: Act,
    /// Name, such as `kill writer-1`.
    pub(super) name: String,
    /// Group for statistics, such as `kill writer`.
    pub(super) group: String,
}

/// Possible targets.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    pub(super) kinds: Vec<&'static str>,
    pub(super) n_nats: usize,
    /// The store is a separate process.
    pub(super) has_store_server: bool,
    pub(super) links: Vec<String>,
    pub(super) disks: Vec<DiskOf>,
    pub(super) role_clocks: bool,
}

/// Targets of a kind, drawn in random order; reshuffled once all have been drawn.
struct Bag {
    kind: &'static str,
    /// Faults of this kind per cycle.
    weight: usize,
    all: Vec<usize>,
    left: Vec<usize>,
}

impl Bag {
    fn take(&mut self, random: &mut Random) -> usize {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            random.shuffle(&mut self.left);
        }
        self.left.pop().unwrap_or_default()
    }
}

/// Makes a plan of `n_faults`, whose starts are `gap` apart on average.
pub(super) fn plan(seed: u64, n_faults: usize, gap: Duration, targets: &Targets) -> Vec<Fault> {
    let mut random = Random::new(seed);
    let mut bags = bags(targets);
    let with_long = gap * n_faults as u32 > LONG_PLAN;
    let mut kinds: Vec<usize> = Vec::new();
    let mut at = Duration::ZERO;
    let mut n_links_hit = 0;
    let faults = (0..n_faults).map_while(|number| {
        if bags.is_empty() {
            return None;
        }
        if kinds.is_empty() {
            kinds = bags.iter().enumerate().flat_map(|(index, bag)| vec![index; bag.weight]).collect();
            random.shuffle(&mut kinds);
        }
        let bag = &mut bags[kinds.pop().unwrap_or_default()];
        let (kind, target) = (bag.kind, bag.take(&mut random));
        let act = act(kind, target, targets, &mut random, &mut n_links_hit);
        let may_be_long = matches!(act, Act::Pause(_) | Act::Cut(_, LinkFault::While(Mode::Stall)));
        let is_long = may_be_long && with_long && random.below(LONG_ONE_IN) == 0;
        let (low, high) = if is_long { LONG_S } else { LASTS_S };
        // Exponential, so that some faults overlap; capped, so that the plan ends in time.
        let pause = -(1.0 - random.unit()).ln();
        at += gap.mul_f64(pause.min(3.0));
        let (name, group) = names(&act, targets);
        Some(Fault { number, at, lasts: Duration::from_secs_f64(random.between(low, high)), act, name, group })
    });
    faults.collect()
}

fn bags(targets: &Targets) -> Vec<Bag> {
    let n_processes = ROLES.len() + targets.n_nats + usize::from(targets.has_store_server);
    let is_cluster = targets.n_nats > 1;
    let n_clocks = 1 + if targets.role_clocks { ROLES.len() } else { 0 };
    let rows = [
        ("kill", 3, n_processes),
        ("pause", 2, n_processes),
        ("cut", 3, targets.links.len()),
        ("disk", 1, targets.disks.len()),
        ("clock", 1, n_clocks),
        ("empty", 1, if is_cluster { targets.n_nats } else { 0 }),
        ("lose", 1, usize::from(targets.has_store_server)),
        ("panic", 1, 1),
    ];
    rows.into_iter()
        .filter(|(kind, _, n_targets)| targets.kinds.contains(kind) && *n_targets > 0)
        .map(|(kind, weight, n_targets)| Bag { kind, weight, all: (0..n_targets).collect(), left: Vec::new() })
        .collect()
}

fn act(kind: &str, target: usize, targets: &Targets, random: &mut Random, n_links_hit: &mut usize) -> Act {
    let process = match target.checked_sub(ROLES.len()) {
        None => Target::Role(target),
        Some(node) if node < targets.n_nats => Target::Nats(node),
        Some(_) => Target::Store,
    };
    match kind {
        "kill" => Act::Kill(process),
        "pause" => Act::Pause(process),
        "empty" => Act::Empty(target),
        "cut" => {
            *n_links_hit += 1;
            Act::Cut(target, link_fault(*n_links_hit, random))
        }
        "disk" => Act::Fill(targets.disks[target]),
        "lose" => Act::Lose,
        "panic" => Act::Panic(1 + random.next() % MAX_PANICS),
        _ => {
            let offset_s = random.between(-MAX_CLOCK_STEP_S, MAX_CLOCK_STEP_S) as i64;
            // The devices' clock comes last, since it works without libfaketime.
            if targets.role_clocks && target < ROLES.len() {
                Act::RoleClock(target, offset_s)
            } else {
                Act::DeviceClock(offset_s)
            }
        }
    }
}

/// Cycles through the faults of a link.
fn link_fault(number: usize, random: &mut Random) -> LinkFault {
    let n_bytes = random.next() % 20_000;
    match number % 6 {
        0 => LinkFault::Now,
        1 => LinkFault::While(Mode::CutRequest(n_bytes)),
        2 => LinkFault::While(Mode::CutResponse(n_bytes % 400)),
        3 => LinkFault::While(Mode::Stall),
        4 => LinkFault::While(Mode::Refuse),
        _ => LinkFault::While(Mode::Delay(Duration::from_millis(20 + n_bytes % 480))),
    }
}

fn names(act: &Act, targets: &Targets) -> (String, String) {
    let process = |target: Target| match target {
        Target::Role(index) => (ROLES[index].to_owned(), ROLES[index].split('-').next().unwrap_or_default().to_owned()),
        Target::Nats(node) if targets.n_nats > 1 => (format!("nats node {node}"), "nats node".to_owned()),
        Target::Nats(_) => ("nats".to_owned(), "nats".to_owned()),
        Target::Store => ("store".to_owned(), "store".to_owned()),
    };
    let both = |verb: &str, (name, group): (String, String)| (format!("{verb} {name}"), format!("{verb} {group}"));
    match act {
        Act::Kill(target) => both("kill", process(*target)),
        Act::Pause(target) => both("pause", process(*target)),
        Act::Empty(node) => (format!("empty nats node {node}"), "empty nats node".to_owned()),
        Act::Fill(disk) => {
            let name = match disk {
                DiskOf::Nats => "full disk nats",
                DiskOf::Store => "full disk store",
            };
            (name.to_owned(), name.to_owned())
        }
        Act::Cut(link, fault) => {
            let mode = match fault {
                LinkFault::Now => "cut".to_owned(),
                LinkFault::While(Mode::CutRequest(n_bytes)) => format!("cut after {n_bytes} bytes of request"),
                LinkFault::While(Mode::CutResponse(n_bytes)) => format!("cut after {n_bytes} bytes of response"),
                LinkFault::While(Mode::Stall) => "half-open".to_owned(),
                LinkFault::While(Mode::Refuse) => "refuse".to_owned(),
                LinkFault::While(Mode::Delay(pause)) => format!("delay {} ms", pause.as_millis()),
                LinkFault::While(Mode::Forward) => "forward".to_owned(),
            };
            let group = mode.split(" after").next().unwrap_or(&mode);
            let group = if group.starts_with("delay") { "delay" } else { group };
            let of = if mode.contains("request") {
                " mid-request"
            } else if mode.contains("response") {
                " mid-response"
            } else {
                ""
            };
            (format!("{mode} {}", targets.links[*link]), format!("link {group}{of}"))
        }
        Act::RoleClock(role, offset_s) => {
            (format!("clock of {} {offset_s:+} s", ROLES[*role]), "clock of role".to_owned())
        }
        Act::DeviceClock(offset_s) => (format!("clock of devices {offset_s:+} s"), "clock of devices".to_owned()),
        Act::Lose => ("lose data of store".to_owned(), "lose data of store".to_owned()),
        Act::Panic(n_messages) => (format!("panic on {n_messages} messages"), "panic".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        Targets {
            kinds: super::super::KINDS.to_vec(),
            n_nats: 1,
            has_store_server: true,
            links: ["writer-1 to nats", "writer-1 to store"].map(str::to_owned).into(),
            disks: vec![DiskOf::Nats, DiskOf::Store],
            role_clocks: true,
        }
    }

    #[test]
    fn the_same_seed_is_the_same_plan_and_another_is_not() {
        let names = |seed| -> Vec<String> {
            plan(seed, 200, Duration::from_secs(4), &targets())
                .iter()
                .map(|fault| format!("{:?} {} {:?}", fault.at, fault.name, fault.lasts))
                .collect()
        };
        assert_eq!(names(3), names(3));
        assert_ne!(names(3), names(4));
    }

    #[test]
    fn a_long_plan_hits_everything() {
        let plan = plan(1, 200, Duration::from_secs(4), &targets());
        assert_eq!(plan.len(), 200);
        for group in [
            "kill writer",
            "kill reader",
            "kill daemon",
            "kill client",
            "kill nats",
            "kill store",
            "pause writer",
            "pause nats",
            "pause store",
            "full disk nats",
            "full disk store",
            "clock of role",
            "clock of devices",
            "lose data of store",
            "panic",
            "link cut",
            "link cut mid-request",
            "link cut mid-response",
            "link half-open",
            "link refuse",
            "link delay",
        ] {
            assert!(plan.iter().any(|fault| fault.group == group), "no '{group}'");
        }
        assert!(plan.iter().any(|fault| fault.lasts > Duration::from_secs(30)), "none longer than every timeout");
        let last = plan.last().map(|fault| fault.at.as_secs()).unwrap_or_default();
        assert!((600..1000).contains(&last), "ends after {last} s");
    }
}
