//! Types of the events that the detector publishes: notes, findings with the events that end them, and the history of
//! verdicts.

/// Note about one series, with the labels `metric`, `value`, `expected_low`, `expected_high` and `score`.
pub const METRIC_ANOMALY: &str = "MetricAnomaly";
/// Notes about several metrics of a device, or about one metric of several devices of an enclosure, at the same time. The
/// label `families` names the metrics; `devices` and `n_devices` are there for an enclosure only.
pub const ANOMALIES_AGREE: &str = "AnomaliesAgree";
/// End of [`ANOMALIES_AGREE`].
pub const ANOMALIES_ENDED: &str = "AnomaliesEnded";
/// Requests of a device take much longer than in its own past although there are no more of them.
pub const LATENCY_RAISED: &str = "LatencyRaised";
/// End of [`LATENCY_RAISED`].
pub const LATENCY_RAISED_ENDED: &str = "LatencyRaisedEnded";
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
        LATENCY_RAISED,
        LATENCY_RAISED_ENDED,
        DEVICE_SLOW,
        DEVICE_SLOW_ENDED,
        FAILURE_PREDICTED,
        FAILURE_RISK_RAISED,
        FAILURE_PREDICTION_ENDED,
        HEALTH_CHANGED,
    ]
    .contains(&event_type)
}
