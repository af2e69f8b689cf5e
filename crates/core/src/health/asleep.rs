//! Drives in standby: neither healthy nor failing, since reading them would wake them.

use super::{Finding, Health, HealthReason};
use crate::records::LatestSample;
use crate::smart::SMART_STANDBY;

/// Returns `true` if the newest reading left the drive in standby.
pub fn is_asleep(latest: &[LatestSample]) -> bool {
    latest.iter().any(|sample| sample.metric_type.as_str() == SMART_STANDBY && sample.value >= 1.0)
}

/// Gives the lack of judged values its reason if the drive is in standby.
pub(super) fn explain((health, reason): Finding, latest: &[LatestSample]) -> Finding {
    if health != Health::Unknown || !is_asleep(latest) {
        return (health, reason);
    }
    let why = "asleep: in standby, so it was not read; nothing is known of its health until it spins up".to_owned();
    let time = latest.iter().find(|sample| sample.metric_type.as_str() == SMART_STANDBY).map(|sample| sample.time);
    (health, HealthReason { value: Some(1.0), ..HealthReason::without_value(SMART_STANDBY, time, why) })
}
