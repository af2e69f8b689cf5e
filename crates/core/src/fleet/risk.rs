//! Weights: what each piece of evidence adds to the risk of a drive.

use super::history::{DriveHistory, Track};
use super::models::{Models, Rarity};
use super::signals::{N_SIGNALS, Observed, SIGNALS};

/// Days over which a rise counts: a drive seldom lasts longer once its counters move.
pub(super) const RISE_DAYS: i64 = 14;
/// Part of the rarity that counts if the value was there when the drive was first seen: it may have lived with it.
const STANDING_WEIGHT: f64 = 1.0;
/// Temperature in °C from which on heat counts, and nats per degree above it.
const WARM_CELSIUS: f64 = 35.0;
const NATS_PER_DEGREE: f64 = 0.05;
/// Largest contribution of heat: it makes a failure likelier and is none.
const MAX_HEAT: f64 = 1.5;

/// Evidence of one signal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// Index of the signal.
    pub(super) signal: usize,
    pub(super) metric: &'static str,
    pub(super) value: f64,
    pub(super) rarity: Rarity,
    /// Rise in [`RISE_DAYS`].
    pub(super) rise: f64,
    /// Nats.
    pub(super) points: f64,
}

/// All evidence on a drive.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) signals: Vec<Term>,
    /// Signals that are not understood, with the reason.
    pub(super) unclear: Vec<(usize, String)>,
    /// `true` if at least one signal was understood, now or before.
    pub(super) is_understood: bool,
    /// Failure rate of the model over the fleet's.
    pub(super) relative_rate: f64,
    pub(super) temperature: Option<f64>,
    /// Nats for the temperature.
    pub(super) heat: f64,
}

impl Terms {
    /// Weighs the history of a drive, whose newest values are in it already. A signal that is absent or not understood
    /// keeps its last known value: silence does not heal.
    pub(super) fn weigh(
        drive: &DriveHistory,
        models: &Models,
        observed: &[Observed; N_SIGNALS],
        temperature: Option<f64>,
        day: i64,
    ) -> Self {
        let mut terms = Self {
            signals: Vec::new(),
            unclear: Vec::new(),
            is_understood: drive.tracks.iter().any(Option::is_some),
            relative_rate: models.relative_failure_rate(drive.model),
            temperature,
            heat: temperature.map_or(0.0, heat),
        };
        for (index, observed) in observed.iter().enumerate() {
            if let Observed::Unclear(reason) = observed {
                terms.unclear.push((index, reason.clone()));
            }
            if let Some(track) = &drive.tracks[index]
                && (track.value() > 0.0 || track.first > 0.0)
            {
                let metric = match observed {
                    Observed::Value(_, metric) => metric,
                    Observed::Absent | Observed::Unclear(_) => SIGNALS[index].metrics[0],
                };
                let rarity = models.rarity(drive.model, index, track.value());
                terms.signals.push(term(index, metric, track, rarity, day));
            }
        }
        terms
    }

    /// Returns the sum of the evidence in nats; below 0 for a model that fails less than the fleet.
    pub(super) fn risk(&self) -> f64 {
        let of_signals: f64 = self.signals.iter().map(|term| term.points).sum();
        of_signals + self.heat + self.relative_rate.ln()
    }
}

fn term(signal: usize, metric: &'static str, track: &Track, rarity: Rarity, day: i64) -> Term {
    let value = track.value();
    let rise = (value - track.on(day - RISE_DAYS)).max(0.0);
    let standing = if value > 0.0 { -rarity.share.ln() } else { 0.0 };
    let points = SIGNALS[signal].weight * (STANDING_WEIGHT * standing + rise.ln_1p());
    Term { signal, metric, value, rarity, rise, points }
}

fn heat(celsius: f64) -> f64 {
    ((celsius - WARM_CELSIUS) * NATS_PER_DEGREE).clamp(0.0, MAX_HEAT)
}
