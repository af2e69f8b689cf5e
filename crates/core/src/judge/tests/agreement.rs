//! Notes that agree, and load that explains them.

use super::*;

/// Three days of a device with a load, minute by minute; the last hours as `change` makes them: factors of load, latency
/// and temperature.
fn device(judge: &mut FleetJudge, name: &str, change: [f64; 3]) {
    for i in 0..4_400 {
        let [load, latency, celsius] = if i >= 4_320 { change } else { [1.0; 3] };
        let noise = |k: i64| noise(10 * i + k);
        let enclosure = [("enclosure", "shelf"), ("serial", name)];
        for (metric_type, value) in [
            ("IOPs", load * (100.0 + 10.0 * noise(1))),
            ("Latency", latency * (5.0 + noise(2))),
            ("nvme_temperature", celsius * (30.0 + noise(3))),
        ] {
            judge.metric(&labelled(metric(name, metric_type, minute(i), value), &enclosure), minute(i));
        }
    }
}

/// Events that rest on notes: a device beside its own past makes some of the same type.
fn of_notes<'a>(events: &'a [Event], event_type: &str) -> Vec<&'a Event> {
    of_type(events, event_type).into_iter().filter(|event| !label(event, "families").is_empty()).collect()
}

fn agreed(change: [f64; 3]) -> Vec<Event> {
    let mut judge = FleetJudge::default();
    device(&mut judge, "d", change);
    judge.advance(minute(6_000));
    judge.take()
}

#[test]
fn latency_and_temperature_that_rise_alone_call_a_person_once_and_end() {
    let events = agreed([1.0, 4.0, 1.5]);
    let agree = of_notes(&events, events::ANOMALIES_AGREE);
    assert_eq!((agree.len(), n_pages(&events)), (1, 1), "{events:?}");
    assert_eq!((label(agree[0], "families"), agree[0].criticality.level()), ("latency,temperature", 7));
    assert!((minute(4_320)..minute(4_330)).contains(&agree[0].timestamp));
    assert!(!of_type(&events, events::ANOMALIES_ENDED).is_empty());
}

#[test]
fn load_is_no_illness() {
    for change in [[4.0, 4.0, 1.5], [4.0, 1.0, 1.0], [1.0, 1.8, 1.0], [0.2, 0.3, 0.8]] {
        let events = agreed(change);
        assert_eq!(of_notes(&events, events::ANOMALIES_AGREE).len(), 0, "{change:?}");
    }
}

#[test]
fn most_devices_of_an_enclosure_are_one_page_that_names_it() {
    let mut judge = FleetJudge::default();
    for i in 0..4_400 {
        for disk in 0..4 {
            let celsius = if i >= 4_320 { 15.0 } else { 0.0 };
            let value = 30.0 + celsius + noise(10 * i + disk);
            let name = format!("disk{disk}");
            let metric = metric(&name, "nvme_temperature", minute(i), value);
            judge.metric(&labelled(metric, &[("enclosure", "shelf")]), minute(i));
        }
    }
    let events = judge.take();
    let agree = of_type(&events, events::ANOMALIES_AGREE);
    assert_eq!((agree.len(), n_pages(&events)), (1, 1), "{agree:?}");
    assert_eq!((label(agree[0], "enclosure"), label(agree[0], "n_devices")), ("shelf", "3"));
    assert_eq!(label(agree[0], "devices").split(',').count(), 3);
}
