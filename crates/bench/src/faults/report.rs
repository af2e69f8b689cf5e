//! Report of a round, as text and as JSON.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::Options;
use super::audit::Audit;
use super::inflict::Outcome;
use super::publish::Ledger;
use super::system::System;
use super::verdict::Verdict;
use super::watch::Watch;

/// Results of a round.
pub(super) struct Report {
    seed: u64,
    store: &'static str,
    is_cluster: bool,
    n_messages: u64,
    pub(super) took: Duration,
    flow: Duration,
    drained: Duration,
    verdict: Verdict,
    /// `None` if the program does not support the query.
    audit: Option<Audit>,
    recoveries: BTreeMap<String, Recoveries>,
    n_faults: usize,
    counts: Vec<(&'static str, u64)>,
    /// Peak memory by role, in KiB.
    memory: BTreeMap<String, u64>,
    /// Ends that the harness did not cause, by role.
    unexpected_ends: BTreeMap<String, u64>,
}

/// Recovery times after one group of faults, in seconds, sorted.
#[derive(Default)]
struct Recoveries {
    stored: Vec<f64>,
    ready: Vec<f64>,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "a report covers everything")]
    pub(super) fn new(
        options: &Options,
        outcomes: Vec<Outcome>,
        verdict: Verdict,
        audit: Option<Audit>,
        ledger: &Ledger,
        watch: &Watch,
        system: &System,
        [flow, drained]: [Duration; 2],
        n_trimmed: u64,
    ) -> Self {
        let mut recoveries: BTreeMap<String, Recoveries> = BTreeMap::new();
        for outcome in &outcomes {
            for group in [outcome.group.clone(), "all".to_owned()] {
                let times = recoveries.entry(group).or_default();
                times.stored.push(outcome.recovery.stored.as_secs_f64());
                times.ready.push(outcome.recovery.ready.as_secs_f64());
            }
        }
        for times in recoveries.values_mut() {
            times.stored.sort_by(f64::total_cmp);
            times.ready.sort_by(f64::total_cmp);
        }
        let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        Self {
            seed: options.seed,
            store: options.store.as_str(),
            is_cluster: options.nats == super::NatsKind::Cluster,
            n_messages: options.messages,
            took: Duration::ZERO,
            flow,
            drained,
            verdict,
            audit,
            n_faults: outcomes.len(),
            recoveries,
            counts: vec![
                ("acknowledged", count(&ledger.n_acked)),
                ("acknowledged as duplicates", count(&ledger.n_duplicate)),
                ("resent by the publisher", count(&ledger.n_resent)),
                ("refused by NATS and resent", count(&ledger.n_refused)),
                ("connections of the publisher", count(&ledger.n_connections)),
                ("connections cut", system.links.iter().map(|link| link.proxy.n_cut()).sum()),
                ("redelivered to the writers", watch.n_redelivered()),
                ("store writes retried", watch.n_retries()),
                ("points lost by the store", watch.n_lost_points()),
                ("messages restored", watch.n_restored()),
                ("messages trimmed from the streams", n_trimmed),
                ("starts of roles", system.roles.iter().map(|role| count(&role.n_starts)).sum()),
            ],
            memory: watch.peak_kib(),
            unexpected_ends: system
                .roles
                .iter()
                .map(|role| (role.recipe.name.clone(), count(&role.n_unexpected_ends)))
                .filter(|(_, n_ended)| *n_ended > 0)
                .collect(),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_good()
    }

    pub(super) fn text(&self) -> String {
        let mut lines = self.head_lines();
        lines.extend(self.recovery_lines());
        lines.extend(self.counts.iter().map(|(name, count)| format!("{name}: {count}")));
        let peaks = self.memory.iter();
        lines.extend(peaks.map(|(role, kib)| format!("peak memory of {role}: {:.1} MiB", *kib as f64 / 1024.0)));
        let ends = self.unexpected_ends.iter();
        lines.extend(ends.map(|(role, n_ends)| format!("{role} ended unexpectedly and was restarted: {n_ends} times")));
        lines.extend(self.audit_lines());
        let Verdict { n_lost, n_doubled, n_changed, n_never_sent, .. } = self.verdict;
        lines.push(format!("lost {n_lost}, doubled {n_doubled}, changed {n_changed}, never sent {n_never_sent}"));
        lines.extend(self.verdict.findings.iter().map(|finding| format!("  {finding}")));
        lines.push(if self.is_good() { "GOOD" } else { "NOT GOOD" }.to_owned());
        lines.join("\n")
    }

    fn head_lines(&self) -> Vec<String> {
        let Verdict { n_values, n_events, n_critical_events, n_dead_letters, n_panics, n_not_acked, .. } = self.verdict;
        let servers = if self.is_cluster { "three NATS servers" } else { "one NATS server" };
        let [flow_s, drained_s, took_s] = [self.flow, self.drained, self.took].map(|time| time.as_secs_f64());
        vec![
            format!("seed {}, store {}, {servers}", self.seed, self.store),
            format!(
                "{} messages: {n_values} values, {n_events} events ({n_critical_events} critical), {n_dead_letters} dead letters ({n_panics} of panics); {n_not_acked} not acknowledged",
                self.n_messages
            ),
            format!(
                "{} faults; {flow_s:.1} s of flow, {drained_s:.1} s until everything was stored, {took_s:.1} s in all; {:.0} values/s over the flow",
                self.n_faults,
                n_values as f64 / flow_s
            ),
        ]
    }

    fn recovery_lines(&self) -> Vec<String> {
        let quantiles = ["min", "median", "p95", "max"].map(|name| format!("{name:>7}")).join(" ");
        let mut lines = vec![
            format!(
                "{:<24} {:>4}  until something is stored, s       until every role is ready, s",
                "recovery after", "n"
            ),
            format!("{:<24} {:>4} {quantiles}  {quantiles}", "", ""),
        ];
        for (group, times) in &self.recoveries {
            let [stored, ready] = [&times.stored, &times.ready]
                .map(|times| [0.0, 0.5, 0.95, 1.0].map(|share| format!("{:>7.2}", quantile(times, share))).join(" "));
            lines.push(format!("{group:<24} {:>4} {stored}  {ready}", times.stored.len()));
        }
        lines
    }

    fn audit_lines(&self) -> Vec<String> {
        let Some(audit) = &self.audit else { return vec!["audit_gaps: not supported by this program".to_owned()] };
        let Audit { n_numbers, n_complete, not_complete, n_complete_of_daemon, not_complete_of_daemon } = audit;
        let mut lines = vec![format!(
            "audit_gaps: {n_numbers} numbers, {n_complete} devices complete, {} not; of the daemon's {n_complete_of_daemon} complete, {} not",
            not_complete.len(),
            not_complete_of_daemon.len()
        )];
        lines.extend(not_complete_of_daemon.iter().map(|device| format!("  {device}")));
        lines
    }

    pub(super) fn json(&self) -> Value {
        let verdict = &self.verdict;
        let recoveries: BTreeMap<&str, Value> = self
            .recoveries
            .iter()
            .map(|(group, times)| {
                let [stored, ready] = [&times.stored, &times.ready].map(|times| {
                    json!({ "min": quantile(times, 0.0), "median": quantile(times, 0.5), "p95": quantile(times, 0.95), "max": quantile(times, 1.0) })
                });
                (group.as_str(), json!({ "n": times.stored.len(), "stored_s": stored, "ready_s": ready }))
            })
            .collect();
        let counts: BTreeMap<&str, u64> = self.counts.iter().copied().collect();
        json!({
            "good": self.is_good(), "seed": self.seed, "store": self.store, "cluster": self.is_cluster,
            "messages": self.n_messages, "values": verdict.n_values, "events": verdict.n_events,
            "critical_events": verdict.n_critical_events, "dead_letters": verdict.n_dead_letters, "panics": verdict.n_panics,
            "not_acknowledged": verdict.n_not_acked, "faults": self.n_faults,
            "flow_s": self.flow.as_secs_f64(), "drained_s": self.drained.as_secs_f64(), "took_s": self.took.as_secs_f64(),
            "lost": verdict.n_lost, "doubled": verdict.n_doubled, "changed": verdict.n_changed,
            "never_sent": verdict.n_never_sent, "findings": verdict.findings, "recovery": recoveries,
            "audit": self.audit.as_ref().map(|audit| json!({
                "numbers": audit.n_numbers, "complete": audit.n_complete, "not_complete": audit.not_complete,
                "complete_of_daemon": audit.n_complete_of_daemon, "not_complete_of_daemon": audit.not_complete_of_daemon,
            })),
            "counts": counts, "peak_memory_kib": self.memory, "unexpected_ends": self.unexpected_ends,
        })
    }
}

/// Returns the smallest value of a sorted list that at least this share does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let times: Vec<f64> = (1..=20).map(f64::from).collect();
        let check = |share, expect: f64| assert_eq!(quantile(&times, share).to_bits(), expect.to_bits(), "{share}");
        check(0.0, 1.0);
        check(0.5, 10.0);
        check(0.95, 19.0);
        check(1.0, 20.0);
        assert_eq!(quantile(&[3.5], 0.95).to_bits(), 3.5_f64.to_bits());
    }
}
