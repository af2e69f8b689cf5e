//! Events that the detector publishes: notes, findings with the events that end them, and the history of verdicts.

use uuid::Builder;

use crate::event_id::EventId;
use crate::identity::IdentityDigest;
use crate::name::{DeviceName, EventType};
use crate::timestamp::Timestamp;
use crate::wire::{Criticality, Event, Labels};

/// Note about one series, with the labels `metric`, `value`, `expected_low`, `expected_high` and `score`.
pub const METRIC_ANOMALY: &str = "MetricAnomaly";
/// Notes about several metrics of a device, or about several devices of an enclosure, at the same time.
pub const ANOMALIES_AGREE: &str = "AnomaliesAgree";
/// End of [`ANOMALIES_AGREE`].
pub const ANOMALIES_ENDED: &str = "AnomaliesEnded";
/// Device slower than its peers.
pub const DEVICE_SLOW: &str = "DeviceSlow";
/// End of [`DEVICE_SLOW`].
pub const DEVICE_SLOW_ENDED: &str = "DeviceSlowEnded";
/// Drive that is about to fail by its history and that of its model.
pub const FAILURE_PREDICTED: &str = "FailurePredicted";
/// Drive that is likelier to fail than others.
pub const FAILURE_RISK_RAISED: &str = "FailureRiskRaised";
/// End of [`FAILURE_PREDICTED`] and [`FAILURE_RISK_RAISED`].
pub const FAILURE_PREDICTION_ENDED: &str = "FailurePredictionEnded";
/// Change of the verdict on a device, with the labels `from`, `to`, `since`, `score` and `why`; once a day the verdict
/// as it is.
pub const HEALTH_CHANGED: &str = "HealthChanged";

/// Returns `true` for an event type of the detector.
pub fn is_own(event_type: &str) -> bool {
    [
        METRIC_ANOMALY,
        ANOMALIES_AGREE,
        ANOMALIES_ENDED,
        DEVICE_SLOW,
        DEVICE_SLOW_ENDED,
        FAILURE_PREDICTED,
        FAILURE_RISK_RAISED,
        FAILURE_PREDICTION_ENDED,
        HEALTH_CHANGED,
    ]
    .contains(&event_type)
}

/// Content of an event of the detector.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding<'a> {
    pub(super) event_type: &'static str,
    pub(super) criticality: u8,
    pub(super) device: &'a DeviceName,
    /// Time of the evidence, which dates the event too.
    pub(super) at: Timestamp,
    /// Difference between findings of one type, device and time: the metric, for a note.
    pub(super) subject: &'a str,
    pub(super) message: String,
    pub(super) labels: Labels,
}

impl Finding<'_> {
    /// Returns the event. Its id follows from type, device, subject and time, so a finding that is made again after a
    /// crash is the same event.
    pub(super) fn into_event(self) -> Event {
        let Self { event_type, criticality, device, at, subject, message, labels } = self;
        let digest = IdentityDigest::of(&[
            b"detector",
            event_type.as_bytes(),
            device.as_bytes(),
            subject.as_bytes(),
            &at.as_ns().to_be_bytes(),
        ]);
        Event {
            id: EventId::from(Builder::from_custom_bytes(digest.bytes()).into_uuid()),
            criticality: Criticality::new(u64::from(criticality)).unwrap_or(Criticality::MIN),
            timestamp: at,
            source_device: device.clone(),
            event_type: EventType::new(event_type).expect("a short printable constant is a name"),
            event_message: Some(message),
            seq: None,
            labels: Some(Box::new(labels)),
        }
    }
}
