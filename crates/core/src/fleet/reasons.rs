//! Verdict and its reasons, from the evidence.

use crate::advice::{self, Finding};
use crate::health::Health;
use crate::timestamp::Timestamp;

use super::history::DriveHistory;
use super::risk::{CRITICAL_RISK, RISE_DAYS, Term, Terms, WARNING_RISK};
use super::signals::SIGNALS;
use super::{DriveReason, DriveVerdict};

/// Least part of the risk, in nats, that is worth a reason.
const MIN_POINTS: f64 = 0.5;
/// Share of a model's drives with as much, below which a value is worth a reason although it adds no risk.
const RARE_SHARE: f64 = 0.02;
/// Failure rate over the fleet's from which on the model is a reason.
const FAILING_MODEL: f64 = 3.0;
/// Days for which the replacement of a drive is mentioned.
const REPLACED_DAYS: i64 = 7;

/// Returns the verdict on a drive of which nothing is known.
pub(super) fn nothing() -> DriveVerdict {
    DriveVerdict { risk: 0.0, score: None, health: Health::Unknown, reasons: Vec::new(), advice: None }
}

/// Builds the verdict.
pub(super) fn verdict(terms: &Terms, drive: &DriveHistory, absent_days: i64, day: i64) -> DriveVerdict {
    let risk = terms.risk();
    let is_worth = |term: &&Term| term.points >= MIN_POINTS || term.rarity.share <= RARE_SHARE;
    let mut reasons: Vec<DriveReason> =
        terms.signals.iter().filter(is_worth).map(|term| of_signal(term, drive, day)).collect();
    if terms.heat >= MIN_POINTS {
        reasons.push(plain(Finding::Hot, "", terms.temperature, terms.heat));
    }
    if terms.relative_rate >= FAILING_MODEL {
        let expected = format!("fails {:.1} times as often as the fleet", terms.relative_rate);
        reasons.push(DriveReason { expected, ..plain(Finding::FailingModel, "", None, terms.relative_rate.ln()) });
    }
    reasons.sort_by(|one, other| other.points.total_cmp(&one.points));
    for (signal, reason) in &terms.unclear {
        let metric = SIGNALS[*signal].metrics[0];
        reasons.push(DriveReason { expected: reason.clone(), ..plain(Finding::NotUnderstood, metric, None, 0.0) });
    }
    if let Some(on) = drive.replaced_on.filter(|on| day - on <= REPLACED_DAYS) {
        reasons.push(DriveReason { since: Some(Timestamp::of_day(on)), ..plain(Finding::Replaced, "", None, 0.0) });
    }
    if absent_days > 0 {
        let trend = format!("no data for {absent_days} days before this");
        reasons.push(DriveReason { trend, ..plain(Finding::Silent, "", None, 0.0) });
    }
    let health = match risk {
        risk if risk >= CRITICAL_RISK => Health::Critical,
        // Known before, but no longer reported: silence hides a warning.
        _ if !terms.is_understood => Health::Unknown,
        risk if risk >= WARNING_RISK => Health::Warning,
        _ if !terms.unclear.is_empty() => Health::Unknown,
        _ => Health::Ok,
    };
    let advice = reasons.first().map(|reason| advice::for_finding(reason.finding).sentence);
    let score = (health != Health::Unknown).then(|| score(risk));
    DriveVerdict { risk, score, health, reasons, advice }
}

fn of_signal(term: &Term, drive: &DriveHistory, day: i64) -> DriveReason {
    let track = drive.tracks[term.signal].as_ref();
    let risen_on = track.and_then(|track| track.first_rise_after(day - RISE_DAYS));
    let trend = match risen_on {
        Some(since) if term.rise > 0.0 => format!("rose by {} in {} h", term.rise, 24 * (day - since + 1)),
        Some(_) | None => {
            let since = Timestamp::of_day((day - RISE_DAYS).max(drive.first_day)).to_string();
            format!("unchanged since {}", since.split('T').next().unwrap_or_default())
        }
    };
    let expected = match term.rarity.n_drives {
        n_drives if n_drives > 0.0 && term.rarity.n_as_much == 0.0 => {
            format!("less on each of the {n_drives} other drives of this model")
        }
        n_drives if n_drives > 0.0 => {
            let share = 100.0 * term.rarity.n_as_much / n_drives;
            format!("as much on {share:.2} % of the {n_drives} other drives of this model")
        }
        _ => "0, with no other drive of this model known".to_owned(),
    };
    let since = Some(Timestamp::of_day(risen_on.unwrap_or(drive.first_day)));
    let finding = SIGNALS[term.signal].finding;
    DriveReason { expected, trend, since, ..plain(finding, term.metric, Some(term.value), term.points) }
}

fn plain(finding: Finding, metric: &'static str, value: Option<f64>, points: f64) -> DriveReason {
    DriveReason { finding, metric, value, points, expected: String::new(), trend: String::new(), since: None }
}

/// Returns a score that agrees with the health: from 40 on without a critical verdict, from 75 on without a warning.
fn score(risk: f64) -> u8 {
    let score = match risk {
        risk if risk < WARNING_RISK => 100.0 - 25.0 * risk.max(0.0) / WARNING_RISK,
        risk if risk < CRITICAL_RISK => 75.0 - 35.0 * (risk - WARNING_RISK) / (CRITICAL_RISK - WARNING_RISK),
        _ => 39.0 * CRITICAL_RISK / risk,
    };
    score.ceil() as u8
}
