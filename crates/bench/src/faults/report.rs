//! The figures of a round, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
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

/// Everything that a round has to say.
pub(super) struct Report {
    seed: u64,
    store: &'static str,
    is_cluster: bool,
    n_messages: u64,
    pub(super) took: Duration,
    flow: Duration,
    drained: Duration,
    verdict: Verdict,
    /// `None` if the program cannot be asked.
    audit: Option<Audit>,
    recoveries: BTreeMap<String, Recoveries>,
    n_faults: usize,
    counts: Vec<(&'static str, u64)>,
    /// In KiB.
    memory: BTreeMap<String, u64>,
    /// Ends that nobody ordered, by role.
    ended_by_themselves: BTreeMap<String, u64>,
}

/// How long one kind of fault took to be got over, in seconds, sorted.
#[derive(Default)]
struct Recoveries {
    stored: Vec<f64>,
    ready: Vec<f64>,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "a report is about everything")]
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
            store: options.store.word(),
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
                ("sent again by the publisher", count(&ledger.n_sent_again)),
                ("refused by NATS and sent again", count(&ledger.n_refused)),
                ("connections of the publisher", count(&ledger.n_connections)),
                ("connections cut", system.links.iter().map(|link| link.proxy.n_cut()).sum()),
                ("redelivered to the writers", watch.n_redelivered()),
                ("writes to the store tried again", watch.n_retries()),
                ("points that the store lost", watch.n_lost_points()),
                ("messages restored", watch.n_restored()),
                ("messages trimmed from the streams", n_trimmed),
                ("starts of roles", system.roles.iter().map(|role| count(&role.n_starts)).sum()),
            ],
            memory: watch.peak_kib(),
            ended_by_themselves: system
                .roles
                .iter()
                .map(|role| (role.recipe.name.clone(), count(&role.n_ended_by_itself)))
                .filter(|(_, n_ended)| *n_ended > 0)
                .collect(),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_good()
    }

    pub(super) fn text(&self) -> String {
        let Verdict { n_values, n_events, n_critical_events, n_dead_letters, n_panics, n_not_acked, .. } = self.verdict;
        let mut text = String::new();
        let mut line = |words: String| {
            let _ = writeln!(text, "{words}");
        };
        line(format!(
            "seed {}, store {}, {}",
            self.seed,
            self.store,
            if self.is_cluster { "three NATS servers" } else { "one NATS server" }
        ));
        line(format!(
            "{} messages: {n_values} values, {n_events} events ({n_critical_events} critical), {n_dead_letters} dead letters ({n_panics} of panics); {n_not_acked} not acknowledged",
            self.n_messages
        ));
        line(format!(
            "{} faults; {:.1} s of flow, {:.1} s until everything was stored, {:.1} s in all; {:.0} values/s over the flow",
            self.n_faults,
            self.flow.as_secs_f64(),
            self.drained.as_secs_f64(),
            self.took.as_secs_f64(),
            n_values as f64 / self.flow.as_secs_f64()
        ));
        line(format!(
            "{:<24} {:>4}  until something is stored, s       until every role is ready, s",
            "recovery after", "n"
        ));
        line(format!(
            "{:<24} {:>4} {:>7} {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7} {:>7}",
            "", "", "min", "median", "p95", "max", "min", "median", "p95", "max"
        ));
        for (group, times) in &self.recoveries {
            let [stored, ready] = [&times.stored, &times.ready]
                .map(|times| [0.0, 0.5, 0.95, 1.0].map(|share| format!("{:>7.2}", quantile(times, share))).join(" "));
            line(format!("{group:<24} {:>4} {stored}  {ready}", times.stored.len()));
        }
        for (name, count) in &self.counts {
            line(format!("{name}: {count}"));
        }
        for (role, kib) in &self.memory {
            line(format!("most memory of {role}: {:.1} MiB", *kib as f64 / 1024.0));
        }
        for (role, n_ended) in &self.ended_by_themselves {
            line(format!("{role} ended by itself and was started again: {n_ended} times"));
        }
        match &self.audit {
            None => line("audit_gaps: this program does not know the question".to_owned()),
            Some(Audit { n_numbers, n_complete, not_complete, n_complete_of_daemon, not_complete_of_daemon }) => {
                line(format!(
                    "audit_gaps: {n_numbers} numbers, {n_complete} devices complete, {} not; of the daemon's {n_complete_of_daemon} complete, {} not",
                    not_complete.len(),
                    not_complete_of_daemon.len()
                ));
                not_complete_of_daemon.iter().for_each(|words| line(format!("  {words}")));
            }
        }
        let Verdict { n_lost, n_doubled, n_changed, n_never_sent, .. } = self.verdict;
        line(format!("lost {n_lost}, doubled {n_doubled}, changed {n_changed}, never sent {n_never_sent}"));
        for finding in &self.verdict.findings {
            line(format!("  {finding}"));
        }
        line(if self.is_good() { "GOOD" } else { "NOT GOOD" }.to_owned());
        text.trim_end().to_owned()
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
            "counts": counts, "peak_memory_kib": self.memory, "ended_by_themselves": self.ended_by_themselves,
        })
    }
}

/// Of a sorted list: the smallest value that at least this share does not exceed.
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
