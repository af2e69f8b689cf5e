//! Figures of a tally, as a table of Markdown or JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::tally::{FaultScore, Rank, Tally};

const SECONDS_PER_YEAR: f64 = 365.25 * 86_400.0;

/// Scorecard of a fleet.
#[derive(Debug)]
pub(super) struct Report {
    name: String,
    figures: Vec<Figure>,
    /// One row for each kind of fault.
    kinds: Vec<(&'static str, Vec<Figure>)>,
    /// One row for each type of event made.
    events: Vec<(String, Vec<Figure>)>,
}

/// Number with its names in JSON and in the table.
#[derive(Debug)]
struct Figure {
    key: &'static str,
    text: &'static str,
    /// `None` if there was nothing to measure.
    value: Option<f64>,
    digits: usize,
}

const fn figure(key: &'static str, text: &'static str, value: Option<f64>, digits: usize) -> Figure {
    Figure { key, text, value, digits }
}

impl Figure {
    fn shown(&self) -> String {
        self.value.map_or("–".to_owned(), |value| format!("{value:.0$}", self.digits))
    }
}

impl Report {
    pub(super) fn new(name: String, tally: &Tally) -> Self {
        let kinds: BTreeSet<&str> = tally.faults.iter().map(|fault| fault.kind).collect();
        let of_kind = |kind| tally.faults.iter().filter(|fault| fault.kind == kind).collect::<Vec<_>>();
        let kinds = kinds.into_iter().map(|kind| (kind, of_one_kind(&of_kind(kind)))).collect();
        Self { name, figures: of_all(tally), kinds, events: by_event(tally) }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines =
            vec![format!("**{}**", self.name), String::new(), "| figure | |".to_owned(), "|---|---|".to_owned()];
        lines.extend(self.figures.iter().map(|figure| format!("| {} | {} |", figure.text, figure.shown())));
        let kinds: Vec<_> = self.kinds.iter().map(|(kind, row)| ((*kind).to_owned(), row)).collect();
        let events: Vec<_> = self.events.iter().map(|(event, row)| (event.clone(), row)).collect();
        for (title, rows) in [("fault", kinds), ("event made", events)] {
            let Some((_, first)) = rows.first() else { continue };
            lines.push(String::new());
            let heads: Vec<&str> = first.iter().map(|figure| figure.text).collect();
            lines.push(format!("| {title} | {} |", heads.join(" | ")));
            lines.push(format!("|---|{}", "---|".repeat(heads.len())));
            for (name, row) in rows {
                let cells: Vec<String> = row.iter().map(Figure::shown).collect();
                lines.push(format!("| {name} | {} |", cells.join(" | ")));
            }
        }
        lines.push(String::new());
        lines
    }

    pub(super) fn json(&self) -> Value {
        let object = |row: &[Figure]| row.iter().map(|figure| (figure.key.to_owned(), json!(figure.value))).collect();
        let all: serde_json::Map<String, Value> = object(&self.figures);
        let kinds: BTreeMap<&str, serde_json::Map<String, Value>> =
            self.kinds.iter().map(|(kind, row)| (*kind, object(row))).collect();
        let events: BTreeMap<&str, serde_json::Map<String, Value>> =
            self.events.iter().map(|(event, row)| (event.as_str(), object(row))).collect();
        json!({ "fleet": self.name, "all": all, "faults": kinds, "events": events })
    }
}

fn of_all(tally: &Tally) -> Vec<Figure> {
    let years = tally.device_seconds / SECONDS_PER_YEAR;
    let worn: Vec<&FaultScore> = tally.faults.iter().filter(|fault| fault.is_wear_out).collect();
    let mut figures = of_failures(years, &worn);
    figures.extend(of_pages(tally, years, &worn));
    figures.extend(of_verdicts(tally));
    figures
}

fn of_failures(years: f64, worn: &[&FaultScore]) -> Vec<Figure> {
    let (page_leads, page_shares) = leads(worn, |fault| fault.paged_after);
    let (leads_of_verdict, verdict_shares) = leads(worn, |fault| fault.accused_after);
    vec![
        figure("device_years", "device-years", Some(years), 2),
        figure("n_failures", "drives that failed", Some(worn.len() as f64), 0),
        figure("recall_page", "of them paged before", share(worn, |fault| fault.paged_after), 3),
        figure("recall_verdict", "of them accused by health before", share(worn, |fault| fault.accused_after), 3),
        figure("page_lead_hours", "lead of the page, median, hours", quantile(&page_leads, 0.5), 2),
        figure("page_lead_hours_p10", "the same, 10th percentile", quantile(&page_leads, 0.1), 2),
        figure(
            "page_lead_share",
            "lead of the page as a share of the wear-out, median",
            quantile(&page_shares, 0.5),
            2,
        ),
        figure("page_lead_share_p10", "the same, 10th percentile", quantile(&page_shares, 0.1), 2),
        figure("verdict_lead_hours", "lead of the verdict, median, hours", quantile(&leads_of_verdict, 0.5), 2),
        figure("verdict_lead_share", "the same as a share of the wear-out", quantile(&verdict_shares, 0.5), 2),
    ]
}

fn of_pages(tally: &Tally, years: f64, worn: &[&FaultScore]) -> Vec<Figure> {
    let sum = |rank: Rank, explained: bool| {
        let of_rank = tally.made.iter().filter(|((other, _), _)| *other == rank);
        of_rank.map(|(_, counts)| if explained { counts.by_fault } else { counts.by_nothing }).sum::<u64>() as f64
    };
    let (right, wrong) = (sum(Rank::Page, true), sum(Rank::Page, false));
    let n_own = tally.own_pages.values().sum::<u64>() as f64;
    vec![
        figure("pages_precision", "share of pages that a fault explains", ratio(right, right + wrong), 3),
        figure("pages_false_per_year", "pages without a fault per device-year", ratio(wrong, years), 3),
        figure("pages_per_failure", "pages per failing drive", mean(worn, |fault| fault.n_pages), 2),
        figure("pages_per_year", "pages per device-year, all", ratio(right + wrong, years), 2),
        figure("own_pages_per_year", "pages that devices sent themselves per device-year", ratio(n_own, years), 1),
        figure(
            "notes_per_year",
            "notes per device-year",
            ratio(sum(Rank::Note, true) + sum(Rank::Note, false), years),
            1,
        ),
        figure(
            "notes_false_per_year",
            "notes without a fault per device-year",
            ratio(sum(Rank::Note, false), years),
            1,
        ),
    ]
}

fn of_verdicts(tally: &Tally) -> Vec<Figure> {
    let verdicts = &tally.verdicts;
    vec![
        figure(
            "accused_share",
            "sound devices: share of time accused by health",
            ratio(verdicts.sound_accused, verdicts.sound),
            5,
        ),
        figure(
            "changes_per_day",
            "sound devices: changes of verdict per day",
            ratio(verdicts.n_changes as f64, verdicts.sound / 86_400.0),
            3,
        ),
        figure(
            "unaccused_share",
            "second half of wear-out: share of time not accused",
            ratio(verdicts.failing_unaccused, verdicts.failing),
            3,
        ),
    ]
}

fn of_one_kind(faults: &[&FaultScore]) -> Vec<Figure> {
    let delay = |first: fn(&FaultScore) -> Option<f64>| {
        let seconds: Vec<f64> = faults.iter().filter_map(|fault| first(fault)).collect();
        quantile(&seconds, 0.5).map(|seconds| seconds / 60.0)
    };
    let lengths: Vec<f64> = faults.iter().map(|fault| fault.seconds / 60.0).collect();
    vec![
        figure("n", "number", Some(faults.len() as f64), 0),
        figure("minutes", "median minutes", quantile(&lengths, 0.5), 0),
        figure("paged", "paged", share(faults, |fault| fault.paged_after), 3),
        figure("paged_after_minutes", "after, min", delay(|fault| fault.paged_after), 1),
        figure("accused", "accused", share(faults, |fault| fault.accused_after), 3),
        figure("accused_after_minutes", "after, min", delay(|fault| fault.accused_after), 1),
        figure("noted", "noted", share(faults, |fault| fault.noted_after), 3),
        figure("noted_after_minutes", "after, min", delay(|fault| fault.noted_after), 1),
        figure("pages", "pages each", mean(faults, |fault| fault.n_pages), 2),
        figure("notes", "notes each", mean(faults, |fault| fault.n_notes), 1),
    ]
}

fn by_event(tally: &Tally) -> Vec<(String, Vec<Figure>)> {
    let years = tally.device_seconds / SECONDS_PER_YEAR;
    let rows = tally.made.iter().map(|((rank, event_type), counts)| {
        let (by_fault, by_nothing) = (counts.by_fault as f64, counts.by_nothing as f64);
        let name = match rank {
            Rank::Page => format!("{event_type} (page)"),
            Rank::Note | Rank::Statement => event_type.clone(),
        };
        let row = vec![
            figure("by_fault", "in a fault", Some(by_fault), 0),
            figure("by_nothing", "without", Some(by_nothing), 0),
            figure("false_per_year", "without, per device-year", ratio(by_nothing, years), 3),
        ];
        (name, row)
    });
    rows.collect()
}

/// Returns the hours before the failure, and those as shares of the time from the first sign.
fn leads(faults: &[&FaultScore], first: fn(&FaultScore) -> Option<f64>) -> (Vec<f64>, Vec<f64>) {
    let found = faults.iter().filter_map(|fault| Some((fault.seconds - first(fault)?, fault.seconds)));
    found.map(|(lead, seconds)| (lead / 3_600.0, lead / seconds.max(1.0))).unzip()
}

fn share(faults: &[&FaultScore], first: fn(&FaultScore) -> Option<f64>) -> Option<f64> {
    ratio(faults.iter().filter(|fault| first(fault).is_some()).count() as f64, faults.len() as f64)
}

fn mean(faults: &[&FaultScore], count: fn(&FaultScore) -> u64) -> Option<f64> {
    ratio(faults.iter().map(|fault| count(fault)).sum::<u64>() as f64, faults.len() as f64)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Returns the value below which a share of the values lies: the nearest rank.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * (sorted.len().checked_sub(1)? as f64)).round() as usize;
    sorted.get(rank).copied()
}

#[cfg(test)]
mod tests {
    use super::super::tally::Explained;
    use super::*;

    fn worn(seconds: f64, paged_after: Option<f64>) -> FaultScore {
        FaultScore {
            kind: "head wear",
            is_wear_out: true,
            seconds,
            paged_after,
            accused_after: None,
            noted_after: None,
            n_pages: u64::from(paged_after.is_some()),
            n_notes: 2,
        }
    }

    #[test]
    fn figures_follow_from_the_counts() {
        let mut tally = Tally { device_seconds: SECONDS_PER_YEAR / 2.0, ..Tally::default() };
        tally.faults = vec![worn(7_200.0, Some(3_600.0)), worn(3_600.0, Some(0.0)), worn(3_600.0, None)];
        let pages = Explained { by_fault: 2, by_nothing: 1 };
        tally.made.insert((Rank::Page, "DeviceSlow".to_owned()), pages);
        let json = Report::new("x".to_owned(), &tally).json();
        let all = |key: &str| json["all"][key].as_f64().map(|value| (value * 1e3).round() / 1e3);
        assert_eq!(all("recall_page"), Some(0.667));
        assert_eq!((all("page_lead_hours"), all("page_lead_share_p10")), (Some(1.0), Some(0.5)));
        assert_eq!((all("pages_precision"), all("pages_false_per_year")), (Some(0.667), Some(2.0)));
        assert_eq!((all("recall_verdict"), all("verdict_lead_hours")), (Some(0.0), None));
        assert_eq!(json["faults"]["head wear"]["notes"], 2.0);
        assert_eq!(json["events"]["DeviceSlow (page)"]["by_nothing"], 1.0);
    }

    #[test]
    fn quantiles_are_values_at_the_nearest_rank() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!([0.0, 0.1, 0.5, 1.0].map(|share| quantile(&values, share)), [1.0, 1.0, 3.0, 5.0].map(Some));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
