//! Messages of a simulated past count as received when they tell, so that a device that fell silent in it is silent. A
//! write has one time of arrival: messages of different times are written apart.

use spindle_bus::Delivery;
use spindle_core::Timestamp;

/// Span of the past that is written as one arrival: within it, the clocks of sender and writer agree.
const SPAN_NS: i64 = 240_000_000_000;

/// Splits messages, in their order, into runs that are written with one time of arrival. Those of the present are one run.
pub(super) fn by_arrival(deliveries: Vec<Delivery>) -> Vec<Vec<Delivery>> {
    split(deliveries, Delivery::as_of)
}

fn split<T>(items: Vec<T>, as_of: impl Fn(&T) -> Option<Timestamp>) -> Vec<Vec<T>> {
    let mut runs: Vec<(Option<i64>, Vec<T>)> = Vec::new();
    for item in items {
        let span = as_of(&item).map(|at| at.as_ns().div_euclid(SPAN_NS));
        match runs.last_mut() {
            Some((last, run)) if *last == span => run.push(item),
            _ => runs.push((span, vec![item])),
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_is_one_run_and_the_past_one_for_each_span() {
        let minute = |minutes: i64| Some(Timestamp::from_seconds(minutes * 60));
        let runs = split(vec![None, None, minute(0), minute(3), minute(4), minute(9), None], |at| *at);
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1, 1, 1]);
        assert!(split(Vec::new(), |at: &Option<Timestamp>| *at).is_empty());
    }
}
